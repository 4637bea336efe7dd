#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The server alone at the ends of what it bears, scaled down: IDLE_WATCHES (300), SLOW_MB (40), CROWD_OBJECTS (3000), HOLLOW_HOSTS
# (20). By hand at full size: IDLE_WATCHES=10000 SLOW_MB=500 CROWD_OBJECTS=150000 HOLLOW_HOSTS=1000 bats tests/e2e/scale.bats

bats_require_minimum_version 1.5.0

setup_file() {
	export BUILD="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}"
	export DIR="$(mktemp -d /tmp/bulkhead-scale-e2e.XXXXXX)"
	ulimit -n "$(ulimit -Hn)"
	for try in 1 2 3 4 5; do
		export PORT=$((20000 + RANDOM % 10000)) URL
		URL="https://127.0.0.1:$PORT"
		"$BUILD/bin/bulkhead-server" --root "$DIR/root" --listen "127.0.0.1:$PORT" --node-name n1 --cluster-cidr 10.0.0.0/8 \
			--service-cidr 172.16.0.0/16 2>>"$DIR/log" 3>&- &
		echo $! >"$DIR/pid"
		for i in $(seq 200); do
			kill -0 "$(cat "$DIR/pid")" 2>/dev/null || break
			[ "$(curl -sk "$URL/readyz")" = ok ] && return 0
			sleep 0.02
		done
	done
	cat "$DIR/log" >&2
	return 1
}

teardown_file() {
	local pid; pid=$(cat "$DIR/pid")
	kill "$pid"
	while grep -qs '^State:.[^Z]' "/proc/$pid/status"; do sleep 0.02; done
	rm -rf "$DIR"
}

# admin METHOD PATH [FILE [CURL-OPTION...]]: the answer's body; its code goes to $DIR/code, its head to $DIR/head.
admin() {
	local data=() method=$1 path=$2
	[ -z "${3:-}" ] || data=(-H "Content-Type: ${TYPE:-application/json}" --data-binary "@$3")
	shift $(($# < 3 ? $# : 3))
	curl -sS -X "$method" --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/admin.crt" --key "$DIR/root/pki/admin.key" \
		-D "$DIR/head" "${data[@]}" "$@" -w '%{stderr}%{http_code}' "$URL$path" 2>"$DIR/code"
}
code() { cat "$DIR/code"; }
limits() { "$BUILD/bench/server-limits" "$1" "$2" "127.0.0.1:$PORT" "$DIR/root/pki" "$(cat "$DIR/pid")"; }
figure() { sed -n "s/.*$1.*/\\1/p" <<<"$output"; }   # what the \(...\) of an expression matches

@test "objects up to 1.5 MB are taken, larger ones refused with 413" {
	object() {   # NAME BYTES
		jq -n --arg n "$1" --argjson b "$2" '{apiVersion:"v1",kind:"PodTemplate",metadata:{name:$n},template:{spec:{containers:
			[{name:"c",image:"i",env:[{name:"A",value:("x" * $b)}]}]}}}' >"$DIR/object"
	}
	object fits 1500000
	admin POST /api/v1/namespaces/default/podtemplates "$DIR/object" >"$DIR/out"
	[ "$(code)" = 201 ]
	admin GET /api/v1/namespaces/default/podtemplates/fits | jq -e '.template.spec.containers[0].env[0].value | length == 1500000'
	for bytes in 1580000 3000000; do
		object large $bytes
		admin POST /api/v1/namespaces/default/podtemplates "$DIR/object" >"$DIR/out"
		[ "$(code)" = 413 ]
		jq -e '.kind == "Status" and .reason == "RequestEntityTooLarge" and .code == 413' "$DIR/out"
	done
	object large 3200000   # more than a body may have
	admin POST /api/v1/namespaces/default/podtemplates "$DIR/object" >"$DIR/out"
	[ "$(code)" = 413 ]
	jq -e '.reason == "RequestEntityTooLarge" and (.message | test("limit is 3145728"))' "$DIR/out"
	jq -n '{template:{metadata:{annotations:{a:("y" * 200000)}}}}' >"$DIR/patch"   # grows past it by a patch
	TYPE=application/merge-patch+json admin PATCH /api/v1/namespaces/default/podtemplates/fits "$DIR/patch" >"$DIR/out"
	[ "$(code)" = 413 ]
	admin DELETE /api/v1/namespaces/default/podtemplates/fits >/dev/null
	[ "$(code)" = 200 ]
}

@test "OpenAPI documents are kept, have an ETag, and change with custom kinds" {
	admin GET /openapi/v2 >"$DIR/v2"
	[ "$(code)" = 200 ]
	etag=$(sed -n 's/^[Ee][Tt]ag: \(.*\)\r$/\1/p' "$DIR/head")
	[ -n "$etag" ]
	admin GET /openapi/v2 "" -H "If-None-Match: $etag" >"$DIR/out"
	[ "$(code)" = 304 ]
	[ ! -s "$DIR/out" ]
	cat >"$DIR/crd" <<-EOF
	{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.scale.example"},"spec":{
	 "group":"scale.example","scope":"Namespaced","names":{"plural":"widgets","kind":"Widget"},"versions":[{"name":"v1","served":true,
	 "storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object"}}}}}]}}
	EOF
	admin POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions "$DIR/crd" >/dev/null
	[ "$(code)" = 201 ]
	for i in $(seq 100); do
		admin GET /openapi/v2 "" -H "If-None-Match: $etag" >"$DIR/out"
		[ "$(code)" = 304 ] || break
		sleep 0.1
	done
	[ "$(code)" = 200 ]
	jq -e '.definitions | has("example.scale.v1.Widget")' "$DIR/out"
	admin GET /openapi/v3/apis/scale.example/v1 | jq -e '.components.schemas'
	admin GET /openapi/v3/apis/none.example/v1 >/dev/null
	[ "$(code)" = 404 ]
}

@test "a watcher that does not read is let go, and nobody notices" {
	run -0 limits slow "${SLOW_MB:-40}"
	echo "$output"
	grep -q "then was told 410 Expired" <<<"$output"
	[ "$(figure 'grew by \([0-9]*\)')" -lt 60 ]   # of any amount of changes
}

@test "idle watches cost memory alone" {
	run -0 limits idle "${IDLE_WATCHES:-300}"
	echo "$output"
	[ "$(figure 's, \(-\?[0-9]*\)[.0-9]* KiB each')" -lt 100 ]
	grep -q "one change: half of them have it" <<<"$output"
}

# Over TLS 1.3 a watch that has nothing to say leaves the HTTP library (src/server/pump.h); the others stay there.
@test "a watch goes on and ends the same way over any protocol" {
	local hows=("--tlsv1.3" "--tls-max 1.2" "--http1.0") watchers=()
	put() { echo "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"$1\"}}" >"$DIR/cm"; admin POST /api/v1/namespaces/default/configmaps "$DIR/cm" >/dev/null; }
	direct() { admin GET /metrics | sed -n 's/^bulkhead_watches_direct //p'; }
	until_direct() { for i in $(seq 600); do [ "$(direct)" = "$1" ] && return; sleep 0.1; done; return 1; }   # N
	twice() { find "/proc/$(cat "$DIR/pid")/fd" -lname 'socket:*' -printf '%l\n' | sort | uniq -d | wc -l; }
	all_have() { for i in $(seq 600); do [ "$(grep -l "\"name\":\"$1\"" "$DIR"/watch.* | wc -l)" = 3 ] && return; sleep 0.1; done; return 1; }
	put early
	until_direct 0
	for i in 0 1 2; do
		# shellcheck disable=SC2086
		admin GET "/api/v1/namespaces/default/configmaps?watch=1" "" -N ${hows[i]} >"$DIR/watch.$i" 3>&- &
		watchers+=($!)
	done
	all_have early
	until_direct 1
	for i in $(seq 300); do [ "$(twice)" -gt 0 ] || break; sleep 0.1; done   # the library lets go of it: long before a timeout
	[ "$(twice)" = 0 ]
	for n in $(seq 20); do put "late-$n"; done
	all_have late-20
	[ "$(direct)" = 1 ]
	pkill -P "$(IFS=,; echo "${watchers[*]}")"   # the clients themselves
	until_direct 0
	for i in 0 1 2; do
		[ "$(grep -o '"name":"late-[0-9]*"' "$DIR/watch.$i" | tr -dc '0-9\n' | tr '\n' ' ')" = "$(seq -s' ' 20) " ]
		# shellcheck disable=SC2086
		run -0 --separate-stderr admin GET "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1" "" ${hows[i]}
		[ "$(code)" = 200 ]
		[ "$(jq -s 'map(.type == "ADDED") | all' <<<"$output")" = true ]
	done
}

@test "many objects are listed in parts, each once" {
	run -0 limits crowd "${CROWD_OBJECTS:-3000}"
	echo "$output"
	[ "$(figure 'list in parts: \([0-9]*\) objects')" = "${CROWD_OBJECTS:-3000}" ]
}

@test "simulated hosts register, run their pods, live and come back" {
	run -0 "$BUILD/bench/server-hollow" --hosts "${HOLLOW_HOSTS:-20}" --pods 5 --seconds 3 "127.0.0.1:$PORT" "$DIR/root/pki" "$(cat "$DIR/pid")"
	echo "$output"
	grep -q "follow again: .* resident" <<<"$output"
	# Every node has a range of addresses that no other has.
	admin GET /api/v1/nodes | jq -e "[.items[].spec.podCIDR] | length == ${HOLLOW_HOSTS:-20} and length == (unique | length)"
	# A node's pods are found by its name, in parts too.
	admin GET '/api/v1/pods?fieldSelector=spec.nodeName%3Dhollow-0' >"$DIR/all"
	jq -e '(.items | length > 0) and all(.items[]; .spec.nodeName == "hollow-0")' "$DIR/all"
	first=$(admin GET '/api/v1/pods?fieldSelector=spec.nodeName%3Dhollow-0&limit=2')
	rest=$(admin GET "/api/v1/pods?fieldSelector=spec.nodeName%3Dhollow-0&continue=$(jq -r .metadata.continue <<<"$first")")
	[ "$(jq -cs '[.[].items[].metadata.name]' <<<"$first $rest")" = "$(jq -c '[.items[].metadata.name]' "$DIR/all")" ]
}
