# Shared by the end-to-end tests: a cluster of its own under a folder of its own, on loopback, removed at the end.

BIN=${BULKHEAD_BUILD:-$PWD/build}/bin
CLIENTS=${BULKHEAD_BUILD:-$PWD/build}/clients
CACHE=${BULKHEAD_CACHE:-/var/cache/bulkhead}

need() {   # skip (77 in bats' words) when a program is missing
	local p
	for p in "$@"; do command -v "$p" >/dev/null || skip "$p is missing"; done
}

cluster_up() {   # cluster_up NAME: ROOT, KUBECONFIG, K (kubectl 1.20)
	export ROOT
	ROOT=$(mktemp -d "/tmp/bh-$1-XXXXXX")
	snapshot > "$ROOT.before"
	"$BIN/bulkhead" up --root "$ROOT" >"$ROOT/up.out" 2>"$ROOT/up.err" || { cat "$ROOT/up.err" "$ROOT"/log/* >&2; return 1; }
	export KUBECONFIG=$ROOT/admin.kubeconfig
	export K=$CLIENTS/kubectl-1.20
}

cluster_down() {
	"$BIN/bulkhead" down --purge --root "$ROOT" >&2
	local rc=$?
	if ! diff "$ROOT.before" <(snapshot); then
		echo "left behind by the cluster" >&2
		rc=1
	fi
	rm -f "$ROOT.before"
	return $rc
}

# What a cluster must not leave behind: processes, links, namespaces, mounts, rules.
snapshot() {
	{ pgrep -fa "bulkhead-(server|hostd|vmx|pagerd)|qemu-system|bulkhead supervise" | sed 's/^[0-9]* //' | grep -F "${ROOT:-/nowhere}" | sort
	ip -br link | awk '{print $1}' | grep -E '^(bkh|veth|tap)' | sort
	ip netns list 2>/dev/null | grep '^bkh-' | sort
	grep -F "${ROOT:-/nowhere}" /proc/mounts
	{ nft list tables; iptables-save; } 2>/dev/null | grep bkh- | sort; } || true
}

image() {   # image NAME: load bulkhead.example/NAME:latest
	local dir=$CACHE/demo/$1
	[ -d "$dir" ] || tools/make-image "$1" "$dir" >&2
	"$BIN/bulkhead" image load "$dir" --name "bulkhead.example/$1:latest" --root "$ROOT"
}

wait_for() {   # wait_for SECONDS COMMAND...: until it succeeds
	local end=$((SECONDS + $1)); shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "not within time: $*" >&2; "$@" >&2; return 1; }
		sleep 0.2
	done
}

phase_is() { [ "$($K get pod "$1" -o jsonpath='{.status.phase}')" = "$2" ]; }
waiting_is() { [ "$($K get pod "$1" -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}')" = "$2" ]; }
gone() { ! $K get "$@" >/dev/null 2>&1; }

busybox_pod() {   # busybox_pod NAME RESTART_POLICY COMMAND: a pod from the busybox image
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
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
