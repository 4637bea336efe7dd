#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What docs/api.md promises and no other file shows, by kubectl and curl, with nodes that run nothing: no host, no VM, no root.

bats_require_minimum_version 1.5.0
load fakes

setup_file() {
	fakes_setup api n1 n2
	export CLIENTS="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/clients"
	export CM=/api/v1/namespaces/default/configmaps POD=/api/v1/namespaces/default/pods
}
teardown_file() { fakes_teardown; }

# send METHOD PATH [BODY [CONTENT-TYPE]]: the answer in $DIR/answer, its head in $DIR/head, its code in $CODE.
send() {
	local data=()
	[ $# -ge 3 ] && data=(-H "Content-Type: ${4:-application/json}" --data-binary "$3")
	CODE=$(curl -sS -X "$1" --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/${USER_CERT:-admin}.crt" --key "$DIR/root/pki/${USER_CERT:-admin}.key" \
		-H "Accept: ${ACCEPT:-application/json}" "${data[@]}" -D "$DIR/head" -o "$DIR/answer" -w '%{http_code}' "https://127.0.0.1:$PORT$2")
}
want() {   # CODE [JQ-EXPRESSION that is to be true of the answer]
	[ "$CODE" = "$1" ] && { [ $# = 1 ] || jq -e "$2" "$DIR/answer" >/dev/null; } && return 0
	echo "code $CODE, not $1 $2:" >&2
	cat "$DIR/answer" >&2
	return 1
}
cm() { echo "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"$1\",\"labels\":{\"set\":\"${2:-none}\"}},\"data\":{\"k\":\"v\"}}"; }
newest() { curl -s --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/admin.crt" --key "$DIR/root/pki/admin.key" "https://127.0.0.1:$PORT$CM" | jq -r .metadata.resourceVersion; }
clients() { for K in "$CLIENTS"/kubectl-*; do [ -x "$K" ] && export K && "$1"; done; }   # FUNCTION with each kubectl there is

@test "dry run: every verb answers as if it had happened, and nothing has" {
	send POST $CM "$(cm dry dry)"; want 201
	$K run evicted --image=i
	within 10 '[ "$(get pod/evicted .status.phase)" = Running ]'
	before=$(get cm/dry .metadata.resourceVersion)
	send POST "$CM?dryRun=All" "$(cm new)"; want 201 '.metadata.name == "new" and .metadata.uid != null'
	send POST "$CM?dryRun=All" "$(cm dry)"; want 409
	send PUT "$CM/dry?dryRun=All" '{"metadata":{"name":"dry"},"data":{"k":"w"}}'; want 200 '.data.k == "w"'
	send PATCH "$CM/dry?dryRun=All" '{"data":{"k":"w"}}' application/merge-patch+json; want 200 '.data.k == "w"'
	send PATCH "$CM/made?dryRun=All&fieldManager=f" '{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"w"}}' application/apply-patch+yaml; want 201
	send DELETE "$CM/dry?dryRun=All"; want 200
	send DELETE "$CM/dry" '{"dryRun":["All"]}'; want 200 '.status == "Success"'
	send DELETE "$CM?dryRun=All&labelSelector=set=dry"; want 200
	send DELETE "$CM?labelSelector=set=dry" '{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}'; want 200
	send POST "$POD/evicted/eviction" '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"evicted"},"deleteOptions":{"dryRun":["All"]}}'; want 201
	send POST "$POD/evicted/eviction?dryRun=All" '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"evicted"}}'; want 201
	send DELETE "$POD/evicted?dryRun=All"; want 200
	dry() {
		$K delete cm dry --dry-run=server
		$K delete cm -l set=dry --dry-run=server
		$K drain n1 n2 --force --ignore-daemonsets --dry-run=server
		$K apply -f - --dry-run=server <<<"$(cm dry other)"
		$K apply -f - --server-side --dry-run=server --force-conflicts <<<"$(cm dry other)"
		$K label cm dry x=y --dry-run=server
		$K create deployment none --image=i --dry-run=server
		run ! $K get deploy none
	}
	clients dry
	[ "$(get cm/dry .metadata.resourceVersion)" = "$before" ]
	[ -z "$(get pod/evicted .metadata.deletionTimestamp)" ]
	[ "$($K get cm -o name | xargs)" = "configmap/dry configmap/kube-root-ca.crt" ]
	$K delete pod/evicted cm/dry
}

@test "preconditions: only the object and the version that is meant" {
	send POST $CM "$(cm p)"; want 201
	uid=$(jq -r .metadata.uid "$DIR/answer") rv=$(jq -r .metadata.resourceVersion "$DIR/answer")
	send DELETE $CM/p '{"preconditions":{"uid":"other"}}'
	want 409 ".message == \"Operation cannot be fulfilled on ConfigMap \\\"p\\\": the UID in the precondition (other) does not match the UID in record ($uid). The object might have been deleted and then recreated\""
	send DELETE $CM/p '{"preconditions":{"resourceVersion":"1"}}'
	want 409 ".message == \"Operation cannot be fulfilled on ConfigMap \\\"p\\\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ($rv). The object might have been modified\""
	send DELETE $CM/p "{\"preconditions\":{\"uid\":\"$uid\",\"resourceVersion\":\"$rv\"}}"; want 200
}

@test "from client-side apply to server-side apply and back, without a conflict" {
	change() {
		local maps='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"moved"},"data":'
		$K apply -f - <<<"$maps{\"a\":\"1\",\"b\":\"1\"}}"
		$K apply --server-side -f - <<<"$maps{\"a\":\"2\"}}"
		[ "$(get cm/moved .data.a)" = 2 ]
		$K apply -f - <<<"$maps{\"a\":\"3\"}}"
		[ "$(get cm/moved .data.a)" = 3 ]
		$K apply --server-side -f - <<<"$maps{\"a\":\"4\"}}"
		$K patch cm moved --type=merge -p '{"data":{"a":"9"}}'
		run ! $K apply --server-side -f - <<<"$maps{\"a\":\"4\"}}"
		[[ $output == *'Apply failed with 1 conflict: conflict with "kubectl-patch" using v1: .data.a'* ]]
		$K delete cm moved
		$K create cm moved --from-literal=a=1 --from-literal=b=1
		run ! $K apply --server-side -f - <<<"$maps{\"a\":\"2\",\"b\":\"2\"}}"
		[[ $output == *$'Apply failed with 2 conflicts: conflicts with "kubectl-create" using v1:\n- .data.a\n- .data.b'* ]]
		$K apply --server-side --force-conflicts -f - <<<"$maps{\"a\":\"2\",\"b\":\"2\"}}"
		$K delete cm moved
	}
	clients change
	# What newer ones hand over themselves: a field that is left out goes.
	K=$CLIENTS/kubectl-sid
	[ -x "$K" ] || skip "kubectl of sid is not here"
	$K apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"moved"},"data":{"a":"1","b":"1"}}'
	$K apply --server-side -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"moved"},"data":{"a":"2"}}'
	[ "$(get cm/moved .data)" = '{"a":"2"}' ]
	$K delete cm moved
}

@test "managedFields: written by clients as far as they are whole, a subresource's apart" {
	send PATCH "$CM/m?fieldManager=one" "$(cm m)" application/apply-patch+yaml; want 201 '.metadata.managedFields[0].manager == "one"'
	send PATCH "$CM/m" '[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"two"}]' application/json-patch+json
	want 200 '.metadata.managedFields[0].manager == "two"'
	send PATCH "$CM/m" '[{"op":"replace","path":"/metadata/managedFields/0/fieldsV1","value":{"f":{"q":5}}}]' application/json-patch+json
	want 200 '.metadata.managedFields[0].fieldsV1["f:data"]["f:k"] == {}'
	send PATCH "$CM/m" '{"metadata":{"managedFields":[{}]}}' application/merge-patch+json; want 200 '.metadata.managedFields == null'
	send DELETE $CM/m; want 200
	$K create deployment m --image=i
	local d=/apis/apps/v1/namespaces/default/deployments/m
	send PATCH "$d/status?fieldManager=s" '{"apiVersion":"apps/v1","kind":"Deployment","status":{"conditions":[{"type":"X","status":"True"}]}}' \
		application/apply-patch+yaml
	want 200 '.metadata.managedFields[] | select(.manager == "s") | .subresource == "status" and .operation == "Apply"'
	send PATCH "$d/status?fieldManager=t" '{"apiVersion":"apps/v1","kind":"Deployment","status":{"conditions":[{"type":"X","status":"False"}]}}' \
		application/apply-patch+yaml
	want 409 '.message == "Apply failed with 1 conflict: conflict with \"s\" with subresource \"status\": .status.conditions[type=\"X\"].status"'
	$K delete deployment m
}
