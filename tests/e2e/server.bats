#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The server alone, over its own API: needs curl and jq, no host, no VM, no root.

setup_file() {
	export BIN="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/bin"
	export DIR="$(mktemp -d /tmp/bulkhead-server-e2e.XXXXXX)"
	start_server
}

teardown_file() {
	stop_server TERM
	[ -z "${KEEP_LOG:-}" ] || cp "$DIR/log" "$KEEP_LOG"
	rm -rf "$DIR"
}

# A free port: the server says at once when it is taken, then the next one is tried.
start_server() {
	for try in 1 2 3 4 5; do
		export PORT=$((20000 + RANDOM % 10000)) URL
		URL="https://127.0.0.1:$PORT"
		"$BIN/bulkhead-server" --root "$DIR/root" --listen "127.0.0.1:$PORT" --node-name n1 2>>"$DIR/log" 3>&- &
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

stop_server() {
	local pid; pid=$(cat "$DIR/pid")
	kill "-$1" "$pid"
	while grep -qs '^State:.[^Z]' "/proc/$pid/status"; do sleep 0.02; done   # a zombie is over; its parent may be another test
}

# as USER METHOD PATH [JSON [CONTENT-TYPE]]: the answer's body; its code goes to $DIR/code.
as() {
	local data=()
	[ $# -ge 4 ] && data=(-H "Content-Type: ${5:-application/json}" -d "$4")
	curl -sS -X "$2" --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/$1.crt" --key "$DIR/root/pki/$1.key" \
		-H "Accept: ${ACCEPT:-application/json}" "${data[@]}" -w '%{stderr}%{http_code}' "$URL$3" 2>"$DIR/code"
}
admin() { as admin "$@"; }
code() { cat "$DIR/code"; }

pod() {   # NAME [extra spec]
	echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\",\"labels\":{\"app\":\"$1\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]${2:+,$2}}}"
}
POD=/api/v1/namespaces/default/pods

node() {   # NAME CPUS
	admin POST /api/v1/nodes "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"$1\"},\"status\":{
		\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],
		\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":1}},
		\"capacity\":{\"cpu\":\"$2\",\"memory\":\"4Gi\",\"pods\":\"110\"},\"allocatable\":{\"cpu\":\"$2\",\"memory\":\"4Gi\",\"pods\":\"110\"},
		\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"KubeletReady\",\"lastHeartbeatTime\":\"2026-01-01T00:00:00Z\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}" >/dev/null
}

# Wait until a jq expression is true of a GET, at most 5 s.
eventually() {   # PATH EXPRESSION
	for i in $(seq 100); do
		admin GET "$1" | jq -e "$2" >/dev/null && return 0
		sleep 0.05
	done
	admin GET "$1" >&2
	return 1
}

@test "without credentials: only health and version" {
	run curl -sk "$URL$POD"
	[ "$(jq -r .code <<<"$output")" = 403 ]
	[ "$(jq -r .message <<<"$output")" = 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default"' ]
	[ "$(curl -sk "$URL/version" | jq -r .gitVersion)" = v1.32.0+bulkhead ]
	[ "$(curl -sk -o /dev/null -w '%{http_code}' "$URL/metrics")" = 403 ]
	[ "$(curl -sk -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer nonsense' "$URL/api")" = 401 ]
}

@test "a certificate of another authority is refused" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$DIR/x.key" -out "$DIR/x.crt" -days 1 \
		-subj /O=system:masters/CN=evil 2>/dev/null
	[ "$(curl -sk --cert "$DIR/x.crt" --key "$DIR/x.key" -o /dev/null -w '%{http_code}' "$URL/api/v1/nodes")" = 401 ]
}

@test "a node may do what nodes do, no more" {
	as node GET /api/v1/pods >/dev/null; [ "$(code)" = 200 ]
	as node DELETE /api/v1/namespaces/default >/dev/null; [ "$(code)" = 403 ]
	as node GET /apis/apps/v1/deployments >/dev/null; [ "$(code)" = 403 ]
}

@test "every cluster has its namespaces, accounts and CA" {
	eventually /api/v1/namespaces '[.items[].metadata.name] == ["default","kube-node-lease","kube-public","kube-system"]'
	eventually /api/v1/serviceaccounts '[.items[] | select(.metadata.name == "default")] | length == 4'
	eventually /api/v1/namespaces/default/configmaps/kube-root-ca.crt '.data["ca.crt"] | startswith("-----BEGIN CERT")'
}

@test "create, get, update, delete; conflicts and what is missing" {
	admin POST $POD "$(pod a)" >"$DIR/out"
	[ "$(code)" = 201 ]
	rv=$(jq -r .metadata.resourceVersion "$DIR/out")
	[ "$(jq -r '.status.phase, .spec.restartPolicy, .spec.serviceAccountName, (.spec.tolerations | length)' "$DIR/out" | xargs)" = "Pending Always default 2" ]
	admin POST $POD "$(pod a)" >"$DIR/out"
	[ "$(code)" = 409 ]; [ "$(jq -r '.reason + ": " + .message' "$DIR/out")" = 'AlreadyExists: pods "a" already exists' ]
	admin GET $POD/none >"$DIR/out"
	[ "$(code)" = 404 ]; [ "$(jq -r .message "$DIR/out")" = 'pods "none" not found' ]

	admin GET $POD/a | jq '.metadata.labels.x = "1"' >"$DIR/a.json"
	admin PUT $POD/a "@$DIR/a.json" | jq -e '.metadata.labels.x == "1"'
	admin PUT $POD/a "@$DIR/a.json" >"$DIR/out"
	[ "$(code)" = 409 ]
	[ "$(jq -r .message "$DIR/out")" = 'Operation cannot be fulfilled on pods "a": the object has been modified; please apply your changes to the latest version and try again' ]

	admin DELETE $POD/a "{\"preconditions\":{\"uid\":\"other\"}}" >/dev/null; [ "$(code)" = 409 ]
	admin DELETE $POD/a >/dev/null; [ "$(code)" = 200 ]
	admin GET $POD/a >/dev/null; [ "$(code)" = 404 ]
}

@test "what is wrong with an object is said" {
	admin POST $POD '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"c"}]}}' >"$DIR/out"
	[ "$(code)" = 422 ]; [[ "$(jq -r .message "$DIR/out")" = *'spec.containers[0].image: Required value'* ]]
	admin POST $POD '{"apiVersion":"v1","kind":"Pod"' >"$DIR/out"; [ "$(code)" = 400 ]
	admin POST $POD '{"apiVersion":"v1","kind":"Node","metadata":{"name":"x"}}' >"$DIR/out"; [ "$(code)" = 400 ]
	admin POST /api/v1/namespaces/none/pods "$(pod a)" >"$DIR/out"
	[ "$(code)" = 404 ]; [ "$(jq -r .message "$DIR/out")" = 'namespaces "none" not found' ]
	admin POST "$POD?fieldValidation=Strict" "$(pod a '"bogus":1')" >"$DIR/out"
	[ "$(code)" = 400 ]; [[ "$(jq -r .message "$DIR/out")" = *'unknown field "spec.bogus"'* ]]
	admin GET "$POD?labelSelector=a%3D%3D%3Db" >/dev/null; [ "$(code)" = 400 ]
	admin GET "$POD?fieldSelector=spec.bogus%3Db" >/dev/null; [ "$(code)" = 400 ]
	admin GET "$POD/%00" >/dev/null; [ "$(code)" = 400 ]
	admin PATCH $POD '{}' >/dev/null; [ "$(code)" = 405 ]
	ACCEPT=text/html admin GET $POD >/dev/null; [ "$(code)" = 406 ]
	admin POST $POD x application/vnd.kubernetes.protobuf >/dev/null; [ "$(code)" != 201 ]
	head -c 4000000 /dev/zero | tr '\0' ' ' >"$DIR/big"
	admin POST $POD "@$DIR/big" >/dev/null; [ "$(code)" = 413 ]
	admin GET /apis/none/v1/things >/dev/null; [ "$(code)" = 404 ]
}

@test "the three patch types" {
	admin POST $POD "$(pod p)" >/dev/null
	admin PATCH $POD/p '{"metadata":{"labels":{"a":"1","app":null}}}' application/merge-patch+json | jq -e '.metadata.labels == {"a":"1"}'
	admin PATCH $POD/p '[{"op":"replace","path":"/metadata/labels/a","value":"2"}]' application/json-patch+json | jq -e '.metadata.labels.a == "2"'
	admin PATCH $POD/p '{"spec":{"containers":[{"name":"c","image":"j"}]}}' application/strategic-merge-patch+json |
		jq -e '.spec.containers | length == 1 and .[0].image == "j"'
	admin PATCH $POD/p '[{"op":"test","path":"/metadata/labels/a","value":"9"}]' application/json-patch+json >/dev/null; [ "$(code)" = 422 ]
	admin PATCH $POD/p '{}' text/plain >/dev/null; [ "$(code)" = 415 ]
	admin PATCH $POD/p/status '{"status":{"phase":"Running"},"spec":{"nodeName":"x"}}' application/merge-patch+json |
		jq -e '.status.phase == "Running" and .spec.nodeName == null'
	rv=$(admin GET $POD/p | jq -r .metadata.resourceVersion)   # nothing changes: no new version
	[ "$(admin PATCH $POD/p '{"metadata":{"labels":{"a":"2"}}}' application/merge-patch+json | jq -r .metadata.resourceVersion)" = "$rv" ]
	admin PATCH "$POD/p?dryRun=All" '{"metadata":{"labels":{"a":"3"}}}' application/merge-patch+json | jq -e '.metadata.labels.a == "3"'
	admin GET $POD/p | jq -e '.metadata.labels.a == "2"'
	admin DELETE $POD/p >/dev/null
}

@test "lists: selectors, pages of one state, tables" {
	for i in 1 2 3 4 5; do admin POST $POD "$(pod l$i)" >/dev/null; done
	admin GET "$POD?labelSelector=app+in+(l1,l3)" | jq -e '[.items[].metadata.name] == ["l1","l3"]'
	admin GET "$POD?fieldSelector=metadata.name%3Dl2" | jq -e '[.items[].metadata.name] == ["l2"]'
	admin GET "$POD?limit=2" >"$DIR/page1"
	[ "$(jq -r '[.items[].metadata.name] | join(" ")' "$DIR/page1")" = "l1 l2" ]
	jq -e '.metadata.remainingItemCount == 3' "$DIR/page1"
	admin DELETE $POD/l3 >/dev/null; admin POST $POD "$(pod l25)" >/dev/null
	admin GET "$POD?limit=2&continue=$(jq -r '.metadata.continue | @uri' "$DIR/page1")" >"$DIR/page2"   # as it was
	[ "$(jq -r '[.items[].metadata.name] | join(" ")' "$DIR/page2")" = "l3 l4" ]
	[ "$(jq -r .metadata.resourceVersion "$DIR/page1")" = "$(jq -r .metadata.resourceVersion "$DIR/page2")" ]
	ACCEPT='application/json;as=Table;v=v1;g=meta.k8s.io' admin GET $POD |
		jq -e '.kind == "Table" and .columnDefinitions[0].name == "Name" and .rows[0].cells[0] == "l1"'
	admin DELETE "$POD?labelSelector=app!%3Dl1" >/dev/null; [ "$(code)" = 200 ]
	admin GET $POD | jq -e '[.items[].metadata.name] == ["l1"]'
	admin DELETE $POD >/dev/null
	admin GET $POD | jq -e '.items == []'
}

@test "a watch sees every change, in order, from where it is told to begin" {
	rv=$(admin GET $POD | jq -r .metadata.resourceVersion)
	admin GET "$POD?watch=1&resourceVersion=$rv&timeoutSeconds=3&labelSelector=app%3Dw" >"$DIR/events" &
	watch=$!
	admin POST $POD "$(pod w)" >/dev/null
	admin POST $POD "$(pod other)" >/dev/null
	admin PATCH $POD/w '{"metadata":{"annotations":{"a":"1"}}}' application/merge-patch+json >/dev/null
	admin PATCH $POD/w '{"metadata":{"labels":{"app":"v"}}}' application/merge-patch+json >/dev/null
	admin DELETE $POD/w >/dev/null; admin DELETE $POD/other >/dev/null
	wait $watch
	[ "$(jq -r .type "$DIR/events" | uniq | xargs)" = "ADDED MODIFIED DELETED" ]
	[ "$(jq -r .object.metadata.name "$DIR/events" | sort -u)" = w ]
	jq -r .object.metadata.resourceVersion "$DIR/events" | sort -nc
	admin GET "$POD?watch=1&resourceVersion=999999999" >/dev/null; [ "$(code)" = 504 ]
}

@test "pods get a node, and the reason when they do not" {
	node n1 2
	admin POST $POD "$(pod s1)" >/dev/null
	eventually $POD/s1 '.spec.nodeName == "n1" and (.status.conditions[] | select(.type == "PodScheduled").status == "True")'
	eventually /api/v1/namespaces/default/events '[.items[] | select(.reason == "Scheduled").message] == ["Successfully assigned default/s1 to n1"]'
	admin POST $POD "$(pod s2 '"nodeSelector":{"a":"b"}')" >/dev/null
	eventually $POD/s2 '.status.conditions[0] | .reason == "Unschedulable" and .message == "0/1 nodes are available: 1 node(s) didn'"'"'t match Pod'"'"'s node affinity/selector."'
	admin PATCH /api/v1/nodes/n1 '{"metadata":{"labels":{"a":"b"}}}' application/merge-patch+json >/dev/null
	eventually $POD/s2 '.spec.nodeName == "n1"'
	admin POST $POD/s2/binding '{"apiVersion":"v1","kind":"Binding","metadata":{"name":"s2"},"target":{"kind":"Node","name":"n2"}}' >/dev/null
	[ "$(code)" = 409 ]
}

@test "a pod on a node ends when its node says so" {
	admin POST $POD "$(pod g)" >/dev/null
	eventually $POD/g '.spec.nodeName == "n1"'
	admin DELETE $POD/g | jq -e '.metadata.deletionTimestamp != null and .metadata.deletionGracePeriodSeconds == 30'
	admin GET $POD/g >/dev/null; [ "$(code)" = 200 ]
	as node DELETE $POD/g '{"gracePeriodSeconds":0}' >/dev/null; [ "$(code)" = 200 ]
	admin GET $POD/g >/dev/null; [ "$(code)" = 404 ]
}

@test "logs and exec of a pod whose node does not answer fail at once" {
	admin GET $POD/s1/log >"$DIR/out"
	[ "$(code)" = 500 ]; [[ "$(jq -r .message "$DIR/out")" = *'dial tcp 127.0.0.1:1: connect: connection refused' ]]
	admin GET "$POD/s1/log?container=none" >"$DIR/out"
	[ "$(code)" = 400 ]; [ "$(jq -r .message "$DIR/out")" = 'container none is not valid for pod s1' ]
	admin POST "$POD/s1/exec?command=ls" >"$DIR/out"; [ "$(code)" = 400 ]
}

@test "finalizers hold an object, namespaces take their contents along" {
	admin POST /api/v1/namespaces '{"metadata":{"name":"gone"}}' >/dev/null; [ "$(code)" = 201 ]
	admin POST /api/v1/namespaces/gone/configmaps '{"metadata":{"name":"c","finalizers":["example.com/f"]}}' >/dev/null
	admin POST /api/v1/namespaces/gone/pods "$(pod q)" >/dev/null
	admin DELETE /api/v1/namespaces/gone | jq -e '.status.phase == "Terminating"'
	eventually /api/v1/namespaces/gone/configmaps '.items | length == 1 and .[0].metadata.deletionTimestamp != null'
	admin POST /api/v1/namespaces/gone/configmaps '{"metadata":{"name":"d"}}' >"$DIR/out"
	[ "$(code)" = 403 ]; [[ "$(jq -r .message "$DIR/out")" = *'because it is being terminated' ]]
	admin PATCH /api/v1/namespaces/gone/configmaps/c '{"metadata":{"finalizers":null}}' application/merge-patch+json >/dev/null
	for i in $(seq 100); do admin GET /api/v1/namespaces/gone >/dev/null; [ "$(code)" = 404 ] && break; sleep 0.05; done
	as node DELETE /api/v1/namespaces/gone/pods/q '{"gracePeriodSeconds":0}' >/dev/null
	for i in $(seq 100); do admin GET /api/v1/namespaces/gone >/dev/null; [ "$(code)" = 404 ] && break; sleep 0.05; done
	[ "$(code)" = 404 ]
}

@test "both groups of events show the same events" {
	admin POST /apis/events.k8s.io/v1/namespaces/default/events '{"metadata":{"name":"e"},"eventTime":"2026-01-01T00:00:00.000000Z",
		"regarding":{"kind":"Pod","name":"s1","namespace":"default"},"reason":"R","note":"N","type":"Normal","action":"A",
		"reportingController":"x/y","reportingInstance":"i"}' >"$DIR/out"
	[ "$(code)" = 201 ]
	admin GET /api/v1/namespaces/default/events/e | jq -e '.apiVersion == "v1" and .message == "N" and .involvedObject.name == "s1"'
	admin GET /apis/events.k8s.io/v1/namespaces/default/events/e | jq -e '.note == "N"'
}

@test "discovery in both forms, and OpenAPI" {
	admin GET /api/v1 | jq -e '[.resources[].name] | contains(["pods","pods/log","nodes/status"])'
	admin GET /apis | jq -e '[.groups[].name] | contains(["apps","coordination.k8s.io"])'
	ACCEPT='application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json' admin GET /apis |
		jq -e '.kind == "APIGroupDiscoveryList" and (.items | length > 5)'
	admin GET /openapi/v3 | jq -e '.paths["api/v1"].serverRelativeURL'
	admin GET /openapi/v2 | jq -e '.definitions["io.k8s.api.core.v1.Pod"]'
}

# bearer TOKEN METHOD PATH [JSON]
bearer() {
	local data=()
	[ $# -ge 4 ] && data=(-H "Content-Type: application/json" -d "$4")
	curl -sS -X "$2" --cacert "$DIR/root/pki/ca.crt" -H "Authorization: Bearer $1" "${data[@]}" -w '%{stderr}%{http_code}' "$URL$3" 2>"$DIR/code"
}
token_of() {   # ACCOUNT [spec fields]: a token of an account in default
	admin POST "/api/v1/namespaces/default/serviceaccounts/$1/token" "{\"spec\":{${2:-}}}" | jq -r .status.token
}
may() {   # TOKEN VERB RESOURCE NAMESPACE: true or false
	bearer "$1" POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews \
		"{\"spec\":{\"resourceAttributes\":{\"verb\":\"$2\",\"resource\":\"$3\",\"namespace\":\"$4\"}}}" | jq .status.allowed
}
BINDINGS=/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings
binding() {   # NAME CLUSTERROLE ACCOUNT
	echo "{\"metadata\":{\"name\":\"$1\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"$2\"},\"subjects\":[{\"kind\":\"ServiceAccount\",\"name\":\"$3\",\"namespace\":\"default\"}]}"
}
account() { admin POST /api/v1/namespaces/default/serviceaccounts "{\"metadata\":{\"name\":\"$1\"}}" >/dev/null; }

@test "large answers are compressed for who asks for that, small ones and watches are not" {
	for i in $(seq 50); do
		admin POST /api/v1/namespaces/default/configmaps "{\"metadata\":{\"name\":\"big$i\"},\"data\":{\"k\":\"$(printf %04000d $i)\"}}" >/dev/null
	done
	asked() {   # PATH [CURL-OPTION...]: the answer's headers in $DIR/head, what was sent as it was sent in $DIR/sent
		curl -sS --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/admin.crt" --key "$DIR/root/pki/admin.key" -D "$DIR/head" \
			-o "$DIR/sent" "${@:2}" "$URL$1"
	}
	local maps=/api/v1/namespaces/default/configmaps
	for path in $maps /openapi/v2; do
		asked $path
		! grep -qi '^content-encoding' "$DIR/head"
		mv "$DIR/sent" "$DIR/plain"
		asked $path -H 'Accept-Encoding: gzip'
		grep -qi '^content-encoding: gzip' "$DIR/head"
		[ $(($(stat -c %s "$DIR/sent") * 4)) -lt "$(stat -c %s "$DIR/plain")" ]
		gzip -dc <"$DIR/sent" | cmp - "$DIR/plain"
	done
	asked "$maps?includeObject=Object" -H 'Accept-Encoding: gzip' -H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1'
	[ "$(gzip -dc <"$DIR/sent" | jq '.rows | length')" -ge 50 ]
	asked "$maps/big1" -H 'Accept-Encoding: gzip'
	[ "$(jq -r .metadata.name "$DIR/sent")" = big1 ]
	asked "$maps" -H 'Accept-Encoding: gzip;q=0'
	[ "$(jq '.items | length' "$DIR/sent")" -ge 50 ]
	asked "$maps?watch=1&timeoutSeconds=1" -H 'Accept-Encoding: gzip'
	[ "$(grep -c ADDED "$DIR/sent")" -ge 50 ]
	admin DELETE "$maps?fieldSelector=metadata.name!=kube-root-ca.crt" >/dev/null
	[ "$(code)" = 200 ]
}

@test "bodies in protobuf" {
	printf 'k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0e\x0a\x04\x0a\x02pb\x12\x06\x0a\x01k\x12\x01v' >"$DIR/cm.pb"
	post() {
		curl -sS --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/admin.crt" --key "$DIR/root/pki/admin.key" \
			-H 'Content-Type: application/vnd.kubernetes.protobuf' --data-binary "@$1" "$URL/api/v1/namespaces/default/configmaps"
	}
	[ "$(post "$DIR/cm.pb" | jq -r .data.k)" = v ]
	[ "$(admin GET /api/v1/namespaces/default/configmaps/pb | jq -c .data)" = '{"k":"v"}' ]
	head -c 30 "$DIR/cm.pb" >"$DIR/cut.pb"
	[ "$(post "$DIR/cut.pb" | jq .code)" = 400 ]
	printf 'k8s\0\x0a\x09\x0a\x02v1\x12\x03Foo' >"$DIR/foo.pb"
	[ "$(post "$DIR/foo.pb" | jq .code)" = 415 ]
}

@test "kubectl's typed commands" {
	local k=/usr/bin/kubectl
	[ -x $k ] || k=${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/clients/kubectl-1.20
	[ -x "$k" ] || skip "no kubectl"
	k="$k --kubeconfig $DIR/root/admin.kubeconfig --server $URL --certificate-authority $DIR/root/pki/ca.crt"
	$k create namespace typed
	$k -n typed create deployment d --image=i --replicas=2 --port=80
	$k -n typed create configmap cm --from-literal=a=b
	$k -n typed create secret generic s --from-literal=x=y
	$k -n typed create serviceaccount sa
	$k -n typed create job j --image=i
	$k -n typed create role r --verb=get --resource=pods
	$k -n typed create service clusterip svc --tcp=80:8080
	$k -n typed run p --image=i --port=80 --env=A=b -- sh -c true
	[ "$($k -n typed get pod p -o jsonpath='{.spec.containers[0].args[*]} {.spec.containers[0].env[0].value}')" = 'sh -c true b' ]
	[ "$($k -n typed get secret s -o jsonpath='{.data.x}')" = eQ== ]
	$k -n typed scale deployment d --replicas=5
	[ "$($k -n typed get deployment d -o jsonpath='{.spec.replicas} {.spec.template.spec.containers[0].ports[0].containerPort}')" = '5 80' ]
	[ "$($k auth can-i create pods)" = yes ]
	[ "$($k auth can-i create pods --as somebody)" = no ] || true   # exits 1
	run $k -n typed get pods --as somebody
	[[ $output == *'User "somebody" cannot list resource "pods"'* ]]
	$k -n typed delete pod p --force --grace-period=0   # no node answers here
	$k delete namespace typed --wait=false
}

@test "scale" {
	local d=/apis/apps/v1/namespaces/default/deployments
	admin POST $d '{"metadata":{"name":"sc"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}' >/dev/null
	[ "$(admin GET $d/sc/scale | jq -c '[.kind,.spec.replicas,.status.selector]')" = '["Scale",2,"a=b"]' ]
	old=$(admin GET $d/sc/scale)
	# The Deployment controller writes the object too: read and write again after a conflict, as clients do.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		now=$(admin PUT $d/sc/scale "$(admin GET $d/sc/scale | jq .spec.replicas=7)" | jq .spec.replicas)
		[ "$now" = 7 ] && break
		sleep 0.1
	done
	[ "$now" = 7 ]
	admin PUT $d/sc/scale "$(jq .spec.replicas=8 <<<"$old")" >/dev/null; [ "$(code)" = 409 ]
	[ "$(admin PATCH $d/sc/scale '{"spec":{"replicas":3}}' application/merge-patch+json | jq .spec.replicas)" = 3 ]
	admin PATCH $d/sc/scale '{"spec":{"replicas":-3}}' application/merge-patch+json >/dev/null; [ "$(code)" = 422 ]
	[ "$(admin GET $d/sc | jq .spec.replicas)" = 3 ]
	admin GET $d/none/scale >/dev/null; [ "$(code)" = 404 ]
}

@test "tokens of service accounts" {
	account tok
	admin POST $POD "$(pod tp '"serviceAccountName":"tok"')" >/dev/null
	uid=$(admin GET $POD/tp | jq -r .metadata.uid)
	plain=$(token_of tok)
	bound=$(token_of tok "\"expirationSeconds\":600,\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"tp\",\"uid\":\"$uid\"}")
	who=$(bearer "$bound" POST /apis/authentication.k8s.io/v1/selfsubjectreviews '{}')
	[ "$(jq -r .status.userInfo.username <<<"$who")" = system:serviceaccount:default:tok ]
	[ "$(jq -c '.status.userInfo.extra["authentication.kubernetes.io/pod-name"]' <<<"$who")" = '["tp"]' ]
	bearer "$plain" GET $POD >/dev/null; [ "$(code)" = 403 ]
	[ "$(bearer "$plain" GET /openid/v1/jwks | jq -r '.keys[0].alg')" = ES256 ]
	[ "$(curl -sk -o /dev/null -w '%{http_code}' "$URL/openid/v1/jwks")" = 403 ]
	review() { admin POST /apis/authentication.k8s.io/v1/tokenreviews "{\"spec\":{\"token\":\"$1\"$2}}" | jq -c .status; }
	[ "$(review "$plain" | jq -r .user.username)" = system:serviceaccount:default:tok ]
	[ "$(review "$plain" ',"audiences":["vault"]' | jq .authenticated)" = null ]
	vault=$(token_of tok '"audiences":["vault"]')
	[ "$(review "$vault" ',"audiences":["vault"]' | jq -c '[.authenticated,.audiences]')" = '[true,["vault"]]' ]
	bearer "$vault" GET /api >/dev/null; [ "$(code)" = 401 ]
	bearer "${plain%?????}AAAAA" GET /api >/dev/null; [ "$(code)" = 401 ]
	admin POST /api/v1/namespaces/default/serviceaccounts/tok/token '{"spec":{"expirationSeconds":5}}' >/dev/null; [ "$(code)" = 422 ]
	admin POST /api/v1/namespaces/default/serviceaccounts/none/token '{}' >/dev/null; [ "$(code)" = 404 ]
	# A token ends with what it was made for.
	admin DELETE $POD/tp '{"gracePeriodSeconds":0}' >/dev/null
	bearer "$bound" GET /api >/dev/null; [ "$(code)" = 401 ]
	bearer "$plain" GET /api >/dev/null; [ "$(code)" = 200 ]
	admin DELETE /api/v1/namespaces/default/serviceaccounts/tok >/dev/null
	bearer "$plain" GET /api >/dev/null; [ "$(code)" = 401 ]
}

@test "a pod gets its account's token volume, unless it says no" {
	account acc
	admin POST $POD "$(pod av '"serviceAccountName":"acc"')" >"$DIR/pod"
	[ "$(jq -c '[.spec.volumes[0].projected.sources[]|keys[0]]' "$DIR/pod")" = '["serviceAccountToken","configMap","downwardAPI"]' ]
	[ "$(jq -r '.spec.containers[0].volumeMounts[0].mountPath' "$DIR/pod")" = /var/run/secrets/kubernetes.io/serviceaccount ]
	[ "$(admin POST $POD "$(pod aw '"automountServiceAccountToken":false')" | jq .spec.volumes)" = null ]
	admin POST $POD "$(pod ax '"serviceAccountName":"nobody"')" >/dev/null; [ "$(code)" = 403 ]
	for p in av aw; do admin DELETE $POD/$p '{"gracePeriodSeconds":0}' >/dev/null; done
}

@test "roles and bindings count at once, and nobody gives what he does not have" {
	account rb
	t=$(token_of rb)
	[ "$(may "$t" list pods default)" = false ]
	admin POST $BINDINGS "$(binding rb admin rb)" >/dev/null; [ "$(code)" = 201 ]
	[ "$(may "$t" list pods default)" = true ]
	[ "$(may "$t" list pods kube-system)" = false ]
	bearer "$t" GET $POD >/dev/null; [ "$(code)" = 200 ]
	bearer "$t" GET /api/v1/nodes >/dev/null; [ "$(code)" = 403 ]
	bearer "$t" POST $BINDINGS "$(binding up cluster-admin rb)" >"$DIR/answer"; [ "$(code)" = 403 ]
	[[ $(jq -r .message "$DIR/answer") == *"attempting to grant RBAC permissions not currently held"* ]]
	bearer "$t" POST $BINDINGS "$(binding ok view rb)" >/dev/null; [ "$(code)" = 201 ]
	[ "$(bearer "$t" POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews '{"spec":{"namespace":"default"}}' | jq '.status.resourceRules|length')" -gt 5 ]
	admin DELETE $BINDINGS/rb >/dev/null; admin DELETE $BINDINGS/ok >/dev/null
	bearer "$t" GET $POD >/dev/null; [ "$(code)" = 403 ]
}

@test "a node reads the secrets of its own pods, and writes its own objects" {
	local s=/api/v1/namespaces/default/secrets
	for n in used unused; do admin POST $s "{\"metadata\":{\"name\":\"$n\"}}" >/dev/null; done
	admin POST $POD "$(pod np '"nodeName":"n1","volumes":[{"name":"v","secret":{"secretName":"used"}}]')" >/dev/null
	as node GET $s/used >/dev/null; [ "$(code)" = 200 ]
	as node GET $s/unused >/dev/null; [ "$(code)" = 403 ]
	as node GET $s >/dev/null; [ "$(code)" = 403 ]
	as node POST /api/v1/nodes '{"metadata":{"name":"n2"}}' >/dev/null; [ "$(code)" = 403 ]
	account nt
	as node POST /api/v1/namespaces/default/serviceaccounts/nt/token '{}' >/dev/null; [ "$(code)" = 403 ]
	uid=$(admin GET $POD/np | jq -r .metadata.uid)
	as node POST /api/v1/namespaces/default/serviceaccounts/default/token "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"np\",\"uid\":\"$uid\"}}}" >/dev/null
	[ "$(code)" = 201 ]
	admin DELETE $POD/np '{"gracePeriodSeconds":0}' >/dev/null
}

# The one that asks for it; watches count only while they send what was there, and nothing that has failed stays counted.
@test "requests under way are counted, whatever becomes of them" {
	under_way() { admin GET /metrics | sed -n 's/^bulkhead_requests //p'; }
	admin GET "$POD?watch=1&timeoutSeconds=4" >/dev/null & watch=$!
	admin GET "$POD?watch=1&timeoutSeconds=4&labelSelector=a%3Db" >/dev/null &
	admin GET /none >/dev/null; [ "$(code)" = 404 ]
	admin POST $POD '{"a":' >/dev/null; [ "$(code)" = 400 ]
	{ head -c 4000000 /dev/zero | as node POST $POD @- >/dev/null; } || true
	for i in $(seq 50); do [ "$(under_way)" != 1 ] || break; sleep 0.1; done
	[ "$(under_way)" = 1 ]
	kill -0 $watch
	wait
	[ "$(under_way)" = 1 ]
}

@test "what was acknowledged is there after SIGKILL" {
	for i in $(seq 20); do admin POST /api/v1/namespaces/default/configmaps "{\"metadata\":{\"name\":\"k$i\"},\"data\":{\"i\":\"$i\"}}" >/dev/null; done
	rv=$(admin GET /api/v1/namespaces/default/configmaps | jq -r .metadata.resourceVersion)
	stop_server KILL
	start_server
	admin GET /api/v1/namespaces/default/configmaps | jq -e "[.items[] | select(.metadata.name | startswith(\"k\")) | select(.data.i)] | length == 20"
	[ "$(admin GET /api/v1/namespaces/default/configmaps | jq -r .metadata.resourceVersion)" -ge "$rv" ]
	admin GET "$POD?watch=1&resourceVersion=1" >"$DIR/out"   # history does not outlive the process
	[ "$(code)" = 410 ]
}

@test "SIGTERM ends it within a second, watches open" {
	admin GET "$POD?watch=1" >/dev/null &
	sleep 0.2
	start=$(date +%s%N)
	stop_server TERM
	[ $((($(date +%s%N) - start) / 1000000)) -lt 1000 ]
	wait
	start_server
}
