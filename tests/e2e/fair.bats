#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A user who floods the server waits for himself. Users together have a little of the time here, so that a small flood is one.

load alone

setup_file() {
	alone_setup fair --user-share 2
	alone_user flood people
	alone_user calm people
	alone_user stranger nobody
	admin POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding",
		"metadata":{"name":"people-view"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},
		"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"people"}]}' >/dev/null
}
teardown_file() { alone_teardown; }

metric() { admin GET /metrics | sed -n "s/^bulkhead_$1 //p"; }

@test "a flood of one user is answered with 429, another one's requests are all served meanwhile" {
	for i in $(seq 20); do
		admin POST /api/v1/namespaces/default/configmaps "{\"metadata\":{\"name\":\"c$i\"},\"data\":{\"k\":\"$(printf %04000d 0)\"}}" >/dev/null
	done
	python3 "$BATS_TEST_DIRNAME/flood.py" "$URL" "$DIR/root/pki" flood 200 8 /api/v1/configmaps >"$DIR/flood" 3>&- &
	eventually '[ "$(metric flow_requests_refused_total)" -gt 0 ]'
	slow=0
	for i in $(seq 10); do
		at=$(date +%s%N)
		as calm GET /api/v1/namespaces/default/configmaps/c1 >/dev/null
		[ "$(code)" = 200 ]
		[ $(($(date +%s%N) - at)) -lt 2000000000 ] || slow=$((slow + 1))
	done
	[ $slow -le 2 ]                                        # who floods waits 5 seconds or more
	admin GET /api/v1/namespaces/default/configmaps/c1 >/dev/null
	[ "$(code)" = 200 ]
	[ "$(metric flow_requests_waiting)" -gt 0 ]
	[ "$(metric flow_users)" = 2 ]
	wait
	[ "$(jq '.["429"] > 0 and .["200"] > 0 and .wrong == [] and (.["0"] // 0) == 0' "$DIR/flood")" = true ]
}

@test "afterwards he is served again, and nothing is left waiting" {
	eventually 'as flood GET /api/v1/namespaces/default/configmaps/c1 >/dev/null && [ "$(code)" = 200 ]'
	eventually '[ "$(metric flow_requests_waiting) $(metric flow_requests_in_flight)" = "0 0" ]'
}

work() { metric flow_work_nanoseconds_total; }

@test "what is forbidden counts: who asks for nothing else is refused with 429 in the end" {
	refused=$(metric flow_requests_refused_total)
	python3 "$BATS_TEST_DIRNAME/flood.py" "$URL" "$DIR/root/pki" stranger 200 8 /api/v1/secrets >"$DIR/flood" 3>&-
	jq -e '.["403"] > 0 and .["429"] > 0 and (.["200"] // 0) == 0 and .wrong == []' "$DIR/flood"
	[ "$(metric flow_requests_refused_total)" -gt "$refused" ]
	eventually 'as stranger GET /api/v1/secrets >/dev/null && [ "$(code)" = 403 ]'
	before=$(work)
	HEADER="Impersonate-User: calm" as stranger GET /api/v1/configmaps >/dev/null
	[ "$(code)" = 403 ]
	eventually '[ "$(work)" -gt "$before" ]'
}

@test "who speaks for others pays for that himself, each of them for what he asks" {
	admin POST /apis/rbac.authorization.k8s.io/v1/clusterroles '{"metadata":{"name":"speaker"},"rules":[{"apiGroups":[""],
		"resources":["users","groups"],"verbs":["impersonate"]}]}' >/dev/null
	admin POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"metadata":{"name":"speaker"},"roleRef":{
		"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"speaker"},"subjects":[{"kind":"User","name":"speaker"}]}' >/dev/null
	alone_user speaker nobody
	refused=$(metric flow_requests_refused_total)
	HEADER="Impersonate-User: calm" as speaker GET /api/v1/configmaps >/dev/null
	[ "$(code)" = 403 ]                                    # calm without his group
	# No other is heard twice, so that none of them has asked for too much.
	FLOOD_AS=other- python3 "$BATS_TEST_DIRNAME/flood.py" "$URL" "$DIR/root/pki" speaker 200 8 /api/v1/configmaps >"$DIR/flood" 3>&-
	jq -e '.["403"] > 0 and .["429"] > 0 and .wrong == []' "$DIR/flood"
	[ "$(metric flow_requests_refused_total)" -gt "$refused" ]
	eventually 'as speaker GET /api/v1/configmaps >/dev/null && [ "$(code)" = 403 ]'
	eventually '[ "$(metric flow_requests_waiting) $(metric flow_requests_in_flight)" = "0 0" ]'
}

@test "requests with bodies wait before their bodies are read, and are served whole" {
	body=$(jq -cn '{kind: "SelfSubjectAccessReview", apiVersion: "authorization.k8s.io/v1", metadata: {annotations: {pad: ("x" * 100000)}},
		spec: {resourceAttributes: {verb: "get", resource: "pods"}}}')
	waited=$(metric flow_requests_waited_total)
	python3 "$BATS_TEST_DIRNAME/flood.py" "$URL" "$DIR/root/pki" flood 40 4 /apis/authorization.k8s.io/v1/selfsubjectaccessreviews "$body" \
		>"$DIR/flood" 3>&-
	jq -e '.["201"] > 0 and (keys - ["201", "429", "wrong"]) == [] and .wrong == []' "$DIR/flood"
	[ "$(metric flow_requests_waited_total)" -gt "$waited" ]
}

@test "what a watch sends at its start counts as much as a list of it, what it sends later does not" {
	eventually 'as calm GET /api/v1/configmaps >/dev/null && [ "$(code)" = 200 ]'
	before=$(work)
	as calm GET /api/v1/configmaps >/dev/null
	eventually '[ "$(metric flow_requests_in_flight)" = 0 ]'
	list=$(($(work) - before)) before=$(work)
	as calm GET "/api/v1/configmaps?watch=1&timeoutSeconds=30" >"$DIR/watch" 3>&- &
	eventually '[ "$(grep -c ADDED "$DIR/watch")" -ge 20 ] && [ "$(metric flow_requests_in_flight)" = 0 ]'
	watch=$(($(work) - before)) before=$(work)
	[ "$watch" -gt 150000 ] && [ "$watch" -gt $((list / 4)) ]
	admin POST /api/v1/namespaces/default/configmaps "{\"metadata\":{\"name\":\"late\"},\"data\":{\"k\":\"$(printf %04000d 0)\"}}" >/dev/null
	eventually 'grep -q "\"name\":\"late\"" "$DIR/watch"'
	[ "$(work)" = "$before" ]
}

@test "administrators and health checks are never made to wait" {
	python3 "$BATS_TEST_DIRNAME/flood.py" "$URL" "$DIR/root/pki" admin 20 2 /api/v1/configmaps >"$DIR/flood" 3>&-
	[ "$(jq 'keys == ["200", "wrong"]' "$DIR/flood")" = true ]
}

@test "a server with waiting requests stops at once" {
	python3 "$BATS_TEST_DIRNAME/flood.py" "$URL" "$DIR/root/pki" flood 150 3 /api/v1/configmaps >"$DIR/flood" 3>&- &
	eventually '[ "$(metric flow_requests_waiting)" -gt 50 ]'
	pid=$(cat "$DIR/pid")
	kill "$pid"
	eventually '! grep -qs "^State:.[^Z]" "/proc/$pid/status"'
	wait
	! grep -q -i -e panic -e assert "$DIR/log"
}
