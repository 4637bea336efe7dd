# Shared by the end-to-end tests: a cluster of its own under a folder of its own, on loopback, removed at the end.

BIN=${BULKHEAD_BUILD:-$PWD/build}/bin
CLIENTS=${BULKHEAD_BUILD:-$PWD/build}/clients
CACHE=${BULKHEAD_CACHE:-/var/cache/bulkhead}

need() {   # skip (77 in bats' words) when a program is missing
	local p
	for p in "$@"; do command -v "$p" >/dev/null || skip "$p is missing"; done
}

cluster_up() {   # cluster_up NAME [OPTION-OF-UP]...: ROOT, KUBECONFIG, K (kubectl 1.20); UP_UNDER: a program to run it under
	export ROOT TAG
	ROOT=$(mktemp -d "/tmp/bh-$1-XXXXXX")
	${UP_UNDER:-} "$BIN/bulkhead" up --root "$ROOT" "${@:2}" >"$ROOT/up.out" 2>"$ROOT/up.err" || { cat "$ROOT/up.err" "$ROOT"/log/* >&2; return 1; }
	TAG=$(jq -r .tag "$ROOT/cluster.json")
	export KUBECONFIG=$ROOT/admin.kubeconfig
	export K=$CLIENTS/kubectl-1.20
}

cluster_down() {
	"$BIN/bulkhead" down --purge --root "$ROOT" >&2 || return 1
	local left
	left=$(leftovers)
	[ -z "$left" ] || { echo "left behind by the cluster: $left" >&2; return 1; }
}

# What carries this cluster's folder or tag: processes, links, namespaces, mounts, rules, files.
leftovers() {
	{ pgrep -fa "(bulkhead|qemu-system).*$ROOT"
	ip -br link | grep "bkh-$TAG"
	ip netns list 2>/dev/null | grep "^bkh-$TAG"
	grep -F "$ROOT" /proc/mounts
	find /sys/fs/cgroup -type d -name "bulkhead-*$(basename "$ROOT")-*"
	{ nft list tables; iptables-save; } 2>/dev/null | grep "bkh-$TAG"
	ls -d "$ROOT" "/run/bulkhead/clusters/$TAG" 2>/dev/null; } || true
}

image() {   # image NAME: load bulkhead.example/NAME:latest
	local dir=$CACHE/demo/$1
	[ -d "$dir" ] || tools/make-image "$1" "$dir" >&2
	"$BIN/bulkhead" image load "$dir" --name "bulkhead.example/$1:latest" --root "$ROOT"
}

what_happened() {   # for whoever reads a failed test
	$K get pods -o wide
	$K get events --sort-by=.lastTimestamp | tail -8
	tail -n 5 "$ROOT/log/hostd.log" "$ROOT/log/server.log"
} >&2

wait_for() {   # wait_for SECONDS COMMAND...: until it succeeds
	local end=$((SECONDS + $1)); shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "not within time: $*" >&2; "$@" >&2; what_happened; return 1; }
		sleep 0.2
	done
}

phase_is() { [ "$($K get pod "$1" -o jsonpath='{.status.phase}')" = "$2" ]; }
waiting_is() { [ "$($K get pod "$1" -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}')" = "$2" ]; }
ready_is() { [ "$($K get pod "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = "$2" ]; }
ip_of() { $K get pod "$1" -o jsonpath='{.status.podIP}'; }
gone() { ! $K get "$@" >/dev/null 2>&1; }
logs_say() { $K logs "$1" | grep -q "$2"; }
logs_have() { [ "$($K logs "$1" | grep -c "$2")" -ge "$3" ]; }       # POD TEXT LINES
event_says() { $K get events -o jsonpath='{range .items[*]}{.message}{"\n"}{end}' | grep -q "$1"; }
vm() { "$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq -r ".vms[] | select(.pod == \"$1\") | .$2"; }   # POD FIELD
hostd_pid() { pgrep -f "^$BIN/bulkhead-hostd --root $ROOT"; }
pagerd_pid() { pgrep -f "^$BIN/bulkhead-pagerd .*$ROOT"; }

busybox_pod() {   # busybox_pod NAME RESTART_POLICY COMMAND [ANNOTATIONS]: a pod from the busybox image
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1, annotations: {${4:-}}}
	spec:
	  restartPolicy: $2
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "$3"]
	END
}
