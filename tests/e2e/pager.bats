# SPDX-License-Identifier: Apache-2.0
# Pods whose memory is paged: that it comes from pagerd page by page, that pods go on when pagerd, hostd or both are killed
# while they fault, that pages are evicted and come back with the right bytes, that memory is given back, and that a host
# which does not allow paging runs pods all the same. PAGER_KILL_SECONDS: for how long pagerd is killed (6).

load lib

setup_file() {
	need jq
	cluster_up pager --waiting 0
	image busybox
}

teardown_file() { cluster_down; }

teardown() { [ -n "$BATS_TEST_COMPLETED" ] || what_happened; }

grows() { local n; n=$($K logs "$1" | grep -c "$2"); wait_for 60 logs_have "$1" "$2" $((n + $3)); }

pod() {   # pod NAME COMMAND: with /mem, memory of the guest, and /disk
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  restartPolicy: Never
	  terminationGracePeriodSeconds: 1
	  volumes: [{name: mem, emptyDir: {medium: Memory}}, {name: disk, emptyDir: {}}]
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    volumeMounts: [{name: mem, mountPath: /mem}, {name: disk, mountPath: /disk}]
	    command: [sh, -c, "$2"]
	END
}

# Fills memory and the disk with random data over and over and compares; each good round is a line.
worker() {
	pod "$1" "i=0; while :; do i=\$((i + 1)); dd if=/dev/urandom of=/mem/a bs=64k count=64 2>/dev/null; cp /mem/a /disk/b; \
		cp /disk/b /mem/c; cmp /mem/a /mem/c && cmp /mem/a /disk/b || { echo wrong bytes; exit 1; }; echo round \$i; done"
}

@test "a pod's memory is paged" {
	pod quiet 'echo hello; exec sleep 3600'
	wait_for 60 phase_is quiet Running
	[ "$(vm quiet paged)" = true ]
	[ "$(vm quiet faults)" -gt 100 ]
	# of those that loaded a page, how many took how long: mostly below 17 ms, even here
	[ "$(vm quiet 'faultLatency | map(.faults) | add > 100')" = true ]
	[ "$(vm quiet 'faultLatency | (map(select(.belowNs and .belowNs <= 16777216).faults) | add) * 2 > (map(.faults) | add)')" = true ]
	# less than half of what it could have, and pagerd says the same as the kernel
	[ "$(vm quiet residentBytes)" -lt $(($(vm quiet memoryMiB) * 1048576 / 2)) ]
	"$BIN/bulkhead" doctor --root "$ROOT" | grep '^pager .*ok'
}

@test "pods go on when pagerd is killed again and again" {
	worker busy1
	worker busy2
	wait_for 60 logs_have busy1 round 2
	wait_for 60 logs_have busy2 round 2
	local end=$((SECONDS + ${PAGER_KILL_SECONDS:-6})) kills=0 pid
	while [ $SECONDS -lt $end ]; do
		pid=$(pagerd_pid) && kill -KILL "$pid" && kills=$((kills + 1))
		sleep 0.4
	done
	[ $kills -ge 3 ]
	grows busy1 round 2
	grows busy2 round 2
	$K exec quiet -- sh -c 'dd if=/dev/zero of=/mem/z bs=1M count=8 2>/dev/null; echo alive' | grep alive
	! $K logs busy1 | grep wrong
	! $K logs busy2 | grep wrong
}

@test "pods go on when hostd and pagerd are killed together" {
	for i in 1 2 3; do
		kill -KILL "$(hostd_pid)" "$(pagerd_pid)"
		sleep 1
	done
	grows busy1 round 2
	grows busy2 round 2
	wait_for 30 "$BIN/bulkhead" vm ls --root "$ROOT"
	[ "$(vm busy1 paged)" = true ]
	[ "$(vm busy1 state)" = Running ]
	phase_is busy1 Running
}

@test "a pod starts while pagerd is being killed" {
	kill -KILL "$(pagerd_pid)"
	pod meanwhile 'echo hello; exec sleep 3600'
	kill -KILL "$(pagerd_pid)" || true
	wait_for 90 phase_is meanwhile Running
	$K delete pod meanwhile --wait=false
}

@test "a VM that dies in mid-fault is forgotten" {
	local pid
	pid=$(vm busy2 enginePid)
	kill -KILL "$pid"
	wait_for 60 phase_is busy2 Failed
	$K delete pod busy2 --wait=false
	wait_for 60 gone pod busy2
	# nobody holds its memory any more
	! grep -l "busy2" /proc/[0-9]*/cmdline
	[ -n "$(pagerd_pid)" ]
	grows busy1 round 1
}

@test "what a pod frees goes back to the host" {
	local before
	$K exec quiet -- sh -c 'dd if=/dev/urandom of=/mem/big bs=1M count=120 2>/dev/null'
	before=$(vm quiet residentBytes)
	[ "$before" -gt $((120 << 20)) ]
	$K exec quiet -- rm /mem/big /mem/z
	freed() { [ "$(vm quiet residentBytes)" -lt $((before - (80 << 20))) ]; }
	wait_for 60 freed
	$K exec quiet -- sh -c 'dd if=/dev/urandom of=/mem/big bs=1M count=40 2>/dev/null; md5sum </mem/big; rm /mem/big'
}
