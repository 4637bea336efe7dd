# SPDX-License-Identifier: Apache-2.0
# A server with nodes that run nothing (fake_node.py), for tests of what the server does: no host, no VM, no root.

fakes_setup() {   # NAME NODE...
	export BIN="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/bin"
	export DIR="$(mktemp -d "/tmp/bulkhead-$1-e2e.XXXXXX")"
	export K="${KUBECTL:-${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/clients/kubectl-1.20}"
	[ -x "$K" ] || K=kubectl
	command -v "$K" >/dev/null || skip "kubectl is missing"
	export KUBECONFIG="$DIR/root/admin.kubeconfig" HOME="$DIR"
	shift
	fakes_start "$@"
}

fakes_teardown() {
	[ -z "${KEEP_LOG:-}" ] || cp "$DIR/log" "$KEEP_LOG"
	local pid
	for pid in $(cat "$DIR"/*.pid); do kill "$pid"; done
	for pid in $(cat "$DIR"/*.pid); do while grep -qs '^State:.[^Z]' "/proc/$pid/status"; do sleep 0.02; done; done
	rm -rf "$DIR"
}

fakes_start() {   # NODE...: a node is NAME[=CPUS[,LABEL=VALUE...]]
	for try in 1 2 3 4 5; do
		export PORT=$((20000 + RANDOM % 10000))
		rm -rf "$DIR/root"
		"$BIN/bulkhead-server" --root "$DIR/root" --listen "127.0.0.1:$PORT" --node-name "${1%%=*}" 2>>"$DIR/log" 3>&- &
		echo $! >"$DIR/server.pid"
		for i in $(seq 200); do
			kill -0 "$(cat "$DIR/server.pid")" 2>/dev/null || break
			[ "$(curl -sk "https://127.0.0.1:$PORT/readyz")" = ok ] && fakes_nodes "$@" && return 0
			sleep 0.02
		done
	done
	cat "$DIR/log" >&2
	return 1
}

fakes_nodes() {
	local node
	for node; do
		python3 "$BATS_TEST_DIRNAME/fake_node.py" "https://127.0.0.1:$PORT" "$DIR/root/pki" "$node" 3>&- &
		echo $! >"$DIR/${node%%=*}.pid"
	done
}

within() {   # within SECONDS SHELL-EXPRESSION
	local end=$((SECONDS + 3 * $1))     # the machine may be busy
	until eval "$2" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "not within 3 * $1 s: $2" >&2; $K get all,ep -o wide >&2; return 1; }
		sleep 0.1
	done
}

get() { $K get "$1" -o jsonpath="{$2}"; }
pods() { $K get pods -l "$1" --no-headers -o custom-columns=N:.metadata.name 2>/dev/null | sort | xargs; }
