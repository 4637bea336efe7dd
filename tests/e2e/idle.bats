#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A server with objects of many kinds, watches and nothing to do does nothing: no thread of it wakes.

load alone

setup_file() { alone_setup idle; }
teardown_file() { alone_teardown; }

# How often threads went to sleep, and the nanoseconds that they ran.
slept() { cat /proc/"$(cat "$DIR/pid")"/task/*/status | awk '/^voluntary/ { n += $2 } END { print n }'; }
ran() { cat /proc/"$(cat "$DIR/pid")"/task/*/schedstat | awk '{ n += $1 } END { print n }'; }

@test "nothing wakes while nothing happens: objects, watches, controllers, SQLite" {
	local template='"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}'
	local selector='"selector":{"matchLabels":{"a":"b"}}' never='"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}'
	admin POST /apis/apps/v1/namespaces/default/deployments "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":5,$selector,$template}}" >/dev/null
	admin POST /apis/apps/v1/namespaces/default/statefulsets "{\"metadata\":{\"name\":\"s\"},\"spec\":{$selector,$template}}" >/dev/null
	admin POST /apis/batch/v1/namespaces/default/jobs "{\"metadata\":{\"name\":\"j\"},\"spec\":{\"template\":{$never}}}" >/dev/null
	admin POST /apis/batch/v1/namespaces/default/cronjobs \
		"{\"metadata\":{\"name\":\"c\"},\"spec\":{\"schedule\":\"0 0 1 1 *\",\"jobTemplate\":{\"spec\":{\"template\":{$never}}}}}" >/dev/null
	admin POST /api/v1/namespaces/default/services '{"metadata":{"name":"v"},"spec":{"selector":{"a":"b"},"ports":[{"port":80}]}}' >/dev/null
	[ "$(code)" = 201 ]
	for path in /api/v1/pods /api/v1/configmaps /apis/apps/v1/deployments; do
		admin GET "$path?watch=1&allowWatchBookmarks=true" >"$DIR/watch" 3>&- &
	done
	eventually '[ "$(admin GET /api/v1/namespaces/default/pods | jq ".items | length")" = 7 ]'
	# It comes to rest: two seconds without a wake-up ...
	eventually 'now=$(slept); sleep 2; [ "$(slept)" = "$now" ]'
	# ... and stays at rest; what wakes once in a while (a bookmark, a log that is closed) is let pass.
	woke=$(slept) worked=$(ran)
	sleep "${IDLE_SECONDS:-8}"
	woke=$(($(slept) - woke)) worked=$(($(ran) - worked))
	echo "wake-ups: $woke, microseconds of processor: $((worked / 1000))"
	[ $woke -le 6 ]
	[ $worked -le $((${IDLE_SECONDS:-8} * 2000000)) ]      # 0.2 % of a processor
}
