#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The audit log: what is written of whom.

load alone

setup_file() {
	export LOG="$(mktemp -d /tmp/bulkhead-auditlog-e2e.XXXXXX)" ACCEPT=
	cat >"$LOG/policy" <<-'END'
	apiVersion: audit.k8s.io/v1
	kind: Policy
	omitStages: [RequestReceived]
	rules:
	- {level: None, users: [quiet]}
	- {level: RequestResponse, resources: [{group: "", resources: [configmaps]}], omitManagedFields: true}
	- {level: Request, verbs: [create, delete]}
	- {level: Metadata, omitStages: [ResponseStarted]}
	END
	alone_setup audit --audit-log "$LOG/audit" --audit-policy "$LOG/policy"
	alone_user eve people
	alone_user quiet system:masters
}
teardown_file() { alone_teardown; rm -rf "$LOG"; }

# The first event that a jq condition selects; waits for it.
event() {
	eventually "[ -n \"\$(jq -c 'select($1)' \"\$LOG/audit\" | head -1)\" ]" && jq -c "select($1)" "$LOG/audit" | head -1
}

@test "who asked for what, whether they were let, and how it ended" {
	as eve GET /api/v1/namespaces/default/pods/p >/dev/null
	[ "$(code)" = 403 ]
	e=$(event '.user.username == "eve"')
	[ "$(jq -r '[.kind, .apiVersion, .level, .stage, .verb, .requestURI] | join(" ")' <<<"$e")" = \
	  "Event audit.k8s.io/v1 Metadata ResponseComplete get /api/v1/namespaces/default/pods/p" ]
	[ "$(jq -c '.user.groups' <<<"$e")" = '["people","system:authenticated"]' ]
	[ "$(jq -c '.sourceIPs' <<<"$e")" = '["127.0.0.1"]' ]
	[ "$(jq -c '.objectRef' <<<"$e")" = '{"resource":"pods","namespace":"default","name":"p","apiVersion":"v1"}' ]
	[ "$(jq -c '[.responseStatus.code, .responseStatus.reason, .responseStatus.status]' <<<"$e")" = '[403,"Forbidden","Failure"]' ]
	[ "$(jq -r '.annotations["authorization.k8s.io/decision"]' <<<"$e")" = forbid ]
	[[ "$(jq -r .userAgent <<<"$e")" == curl/* ]]
	[[ "$(jq -r .auditID <<<"$e")" =~ ^[0-9a-f-]{36}$ ]]
	[[ "$(jq -r .requestReceivedTimestamp <<<"$e")" < "$(jq -r .stageTimestamp <<<"$e")" ]]
}

@test "the binding that allows it is named; an impersonator, too" {
	admin POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding",
		"metadata":{"name":"people-view"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},
		"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"people"}]}' >/dev/null
	as eve GET /api/v1/namespaces/default/pods >/dev/null
	e=$(event '.user.username == "eve" and .verb == "list"')
	[ "$(jq -r '.annotations["authorization.k8s.io/reason"]' <<<"$e")" = \
	  'RBAC: allowed by ClusterRoleBinding "people-view" of ClusterRole "view" to Group "people"' ]
	curl -s --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/admin.crt" --key "$DIR/root/pki/admin.key" -H 'Impersonate-User: zoe' \
		"$URL/api/v1/nodes" >/dev/null
	e=$(event '.impersonatedUser.username == "zoe"')
	[ "$(jq -r '.user.username + " " + .annotations["authorization.k8s.io/decision"]' <<<"$e")" = "kubernetes-admin forbid" ]
	curl -sk -H 'Authorization: Bearer nonsense' "$URL/api/v1/secrets" >/dev/null
	e=$(event '.responseStatus.code == 401')
	[ "$(jq -c .user <<<"$e")" = '{}' ]
}

@test "bodies as the policy says, but a secret's only if it is named" {
	admin POST /api/v1/namespaces/default/configmaps '{"metadata":{"generateName":"cm-"},"data":{"k":"v"}}' >/dev/null
	e=$(event '.objectRef.resource == "configmaps" and .user.username == "kubernetes-admin" and .verb == "create"')
	[ "$(jq -c '[.level, .requestObject.data.k, .responseObject.data.k, .responseObject.metadata.managedFields]' <<<"$e")" = \
	  '["RequestResponse","v","v",null]' ]
	[[ "$(jq -r .objectRef.name <<<"$e")" == cm-* ]]
	admin POST /api/v1/namespaces/default/serviceaccounts "$(printf 'metadata:\n  name: yam\n')" application/yaml >/dev/null
	e=$(event '.objectRef.resource == "serviceaccounts" and .verb == "create"')
	[ "$(jq -c '[.level, .requestObject.metadata.name, .responseObject]' <<<"$e")" = '["Request","yam",null]' ]
	admin POST /api/v1/namespaces/default/secrets '{"metadata":{"name":"s"},"stringData":{"password":"hunter2"}}' >/dev/null
	e=$(event '.objectRef.resource == "secrets" and .verb == "create"')
	[ "$(jq -c '[.level, .requestObject, .objectRef.name]' <<<"$e")" = '["Metadata",null,"s"]' ]
	! grep -q -e hunter2 -e "$(printf hunter2 | base64)" "$LOG/audit"
}

@test "nobody hides behind bytes that JSON cannot hold; who is left out is left out" {
	curl -s --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/eve.crt" --key "$DIR/root/pki/eve.key" -A $'\xff\xfe' \
		"$URL/api/v1/namespaces/default/endpoints?x=%ff" >/dev/null
	e=$(event '.user.username == "eve" and .objectRef.resource == "endpoints"')
	[ "$(jq -r .userAgent <<<"$e")" = '??' ]
	as quiet GET /api/v1/nodes >/dev/null
	admin GET /api/v1/nodes >/dev/null
	event '.objectRef.resource == "nodes" and .user.username == "kubernetes-admin" and .responseStatus.code == 200'
	! grep -q '"quiet"' "$LOG/audit"
	as quiet GET /metrics | grep -q '^bulkhead_audit_events_lost_total 0$'
}

@test "a policy or a file that cannot be used stops the start with a sentence" {
	mkdir "$LOG/none"
	echo '{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Everything}]}' >"$LOG/bad"
	run "$BIN/bulkhead-server" --root "$LOG/none" --audit-log "$LOG/x" --audit-policy "$LOG/bad" --listen 127.0.0.1:1
	[ "$status" = 1 ]
	[[ "$output" == *"audit policy $LOG/bad: rules[0].level: there are None, Metadata, Request and RequestResponse, not \"Everything\""* ]]
	run "$BIN/bulkhead-server" --root "$LOG/none" --audit-log "$LOG/no/x" --listen 127.0.0.1:1
	[[ "$output" == *"audit log $LOG/no/x: No such file or directory"* ]]
	run "$BIN/bulkhead-server" --root "$LOG/none" --audit-policy "$LOG/policy"
	[ "$status" = 2 ]
	[[ "$output" == *"need --audit-log FILE"* ]]
}

@test "a full disk is said and does not stop the server" {
	[ -w /dev/full ] || skip
	alone_teardown
	alone_setup audit --audit-log /dev/full
	for i in 1 2 3; do admin GET /api/v1/nodes >/dev/null; [ "$(code)" = 200 ]; done
	eventually 'grep -q "/dev/full cannot be written: No space left on device" "$DIR/log"'
	eventually '[ "$(admin GET /metrics | sed -n "s/^bulkhead_audit_waiting_bytes //p")" -gt 0 ]'
	[ -c /dev/full ]
}
