#!/usr/bin/env bats
# A host whose disk is full: who has to go, what waits, that everything goes on when there is room again.

load lib

setup_file() {
	export ROOT TAG KUBECONFIG K H
	ROOT=$(mktemp -d /tmp/bh-full-XXXXXX)
	H=$ROOT/hosts/1    # what is the host's is on a small disk, the server is not
	truncate -s 300M "$ROOT.img"
	mkfs.ext4 -q -m 0 "$ROOT.img"
	mkdir -p "$H"
	mount -o loop "$ROOT.img" "$H" || { rm -rf "$ROOT" "$ROOT.img"; skip "no loop devices here"; }
	"$BIN/bulkhead" up --root "$ROOT" --hosts 1 --templates off >"$ROOT/up.out" 2>"$ROOT/up.err" || { cat "$ROOT/up.err" "$ROOT"/log/* "$H"/log/* >&2; return 1; }
	TAG=$(jq -r .tag "$ROOT/cluster.json")
	KUBECONFIG=$ROOT/admin.kubeconfig
	K=$CLIENTS/kubectl-1.20
	[ -d "$CACHE/demo/busybox" ] || tools/make-image busybox "$CACHE/demo/busybox" >&2
	"$BIN/bulkhead" image load "$CACHE/demo/busybox" --name bulkhead.example/busybox:latest --root "$H"
}

teardown_file() {
	[ -e "$ROOT.img" ] || return 0
	"$BIN/bulkhead" down --root "$ROOT"
	umount "$H"
	rm -rf "$ROOT" "$ROOT.img"
	[ -z "$(pgrep -fa "(bulkhead|qemu-system).*$ROOT")" ]
}

writer() {   # writer NAME REQUEST MIB
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "dd if=/dev/urandom of=/data bs=1M count=$3 2>/dev/null; sync; echo written; sleep 1000"]
	    resources: {requests: {ephemeral-storage: $2}}
	END
}
condition_is() { [ "$($K get node -o json | jq -r '.items[0].status.conditions[] | select(.type == "DiskPressure") | .status')" = "$1" ]; }
tainted() { $K get node -o json | jq -e '.items[0].spec.taints // [] | any(.key == "node.kubernetes.io/disk-pressure")'; }
written() { $K logs "$1" | grep -q written; }

@test "short of disk: the pod that takes most beyond what it asked for goes, the node says so meanwhile" {
	writer modest 150Mi 60
	writer small 5Mi 20
	writer greedy 5Mi 50
	for p in modest small greedy; do wait_for 90 written $p; done
	# Half of 280 MiB are used, 70 % shall be free: greedy's 50 are not enough, with small's 20 they are.
	echo '{"imageGCHighPercent": 100, "diskAvailablePercent": 70}' > "$H/pressure.json"
	wait_for 60 phase_is greedy Failed
	[ "$($K get pod greedy -o jsonpath='{.status.reason} {.status.message}')" = "Evicted The node was low on resource: ephemeral-storage." ]
	wait_for 60 phase_is small Failed
	wait_for 30 condition_is False
	[ "$(sed -n 's/.*evicting pod=default\/\([a-z]*\):.*/\1/p' "$H/log/hostd.log" | tr '\n' ' ')" = "greedy small " ]
	phase_is modest Running
	$K delete pod greedy small modest
}

@test "a full disk: what runs waits and loses nothing, what starts says why; with room both go on" {
	echo '{"diskAvailablePercent": 0}' > "$H/pressure.json"
	busybox_pod steady Always 'i=0; while :; do i=$((i+1)); echo n $i; dd if=/dev/urandom of=/f bs=64k count=4 2>/dev/null || echo failed; sync; sleep 0.1; done'
	counts() { [ "$($K logs steady | wc -l)" -gt "$1" ]; }
	wait_for 90 counts 5
	dd if=/dev/zero of="$H/filler" bs=64k 2>/dev/null || true
	dd if=/dev/zero of="$H/filler2" bs=4k 2>/dev/null || true
	busybox_pod late Always 'sleep 1000'
	told() { $K describe pod late | grep -qE "FailedCreatePodSandBox.*(the host's disk is full|No space left on device)"; }
	wait_for 60 told
	"$BIN/bulkhead" image load "$CACHE/demo/busybox" --name bulkhead.example/other:latest --root "$H" 2> "$ROOT/load" && false
	grep -q "No space left on device" "$ROOT/load"
	before=$($K logs steady | wc -l)
	rm "$H/filler" "$H/filler2"
	wait_for 90 phase_is late Running
	wait_for 60 counts $((before + 10))
	$K logs steady | awk '$1 != "n" || $2 != NR { print "line " NR " is: " $0; exit 1 }'
	[ "$($K get pod steady -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
	$K exec steady -- sh -c 'echo alive > /g && sync && cat /g' | grep -qx alive
	"$BIN/bulkhead" image load "$CACHE/demo/busybox" --name bulkhead.example/other:latest --root "$H"
	$K delete pod steady late
	nothing() { [ -z "$(ls "$H/pods")" ]; }
	wait_for 30 nothing
}

@test "disk pressure taints the node; it goes with the pressure" {
	echo '{"imageGCHighPercent": 100, "diskAvailablePercent": 100}' > "$H/pressure.json"
	wait_for 60 condition_is True
	wait_for 30 tainted
	busybox_pod elsewhere Always 'sleep 1000'
	unplaced() { $K get pod elsewhere -o json | jq -e '.status.conditions[] | select(.type == "PodScheduled" and .status == "False" and (.message | test("disk-pressure|taint")))'; }
	wait_for 30 unplaced
	rm "$H/pressure.json"
	wait_for 60 condition_is False
	"$BIN/bulkhead" image load "$CACHE/demo/busybox" --name bulkhead.example/busybox:latest --root "$H"    # gone: nobody used it
	wait_for 90 phase_is elsewhere Running
	! tainted
}
