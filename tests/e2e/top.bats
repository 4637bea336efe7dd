#!/usr/bin/env bats
# bulkhead top: the counters of hostd, of the VMs and of pagerd, read from their memory while they work.
load lib.bash

setup_file() {
	need jq nft qemu-system-x86_64 crun curl
	cluster_up top
	image busybox
	busybox_pod io Always 'while :; do dd if=/dev/zero of=/data bs=64k count=64 conv=fsync 2>/dev/null; sleep 0.1; done'
	wait_for 120 phase_is io Running
}

teardown_file() {
	cluster_down
}

top() { "$BIN/bulkhead" top --root "$ROOT" "$@"; }
value() { top -i 0 -o json | jq "[.counters[] | select(.name == \"$1\") | .value] | add"; }   # value NAME
more_than() { [ "$(value "$1")" -gt "$2" ]; }

@test "the counters of pagerd, vmx and hostd are there" {
	top -i 0 -o json >"$BATS_TEST_TMPDIR/out"
	run jq -r '[.counters[].program] | unique | join(" ")' "$BATS_TEST_TMPDIR/out"
	[ "$output" = "hostd pagerd vmx" ]
	[ "$(jq .processes "$BATS_TEST_TMPDIR/out")" = 3 ]
	[ "$(jq .refused "$BATS_TEST_TMPDIR/out")" = 0 ]
	run jq -r '[.counters[] | select(.program == "vmx") | .vm] | unique | join(" ")' "$BATS_TEST_TMPDIR/out"
	[ "$output" = default/io ]
	[ "$(value bulkhead_pod_starts_total)" = 1 ]
	[ "$(value bulkhead_pager_faults_total)" -ge 0 ]
}

@test "what a pod does moves them" {
	local written=$(value bulkhead_disk_written_bytes_total) calls=$(value bulkhead_api_calls_total)
	wait_for 30 more_than bulkhead_disk_written_bytes_total $((written + 4000000))
	local streams=$(value bulkhead_exec_streams_total) sent=$(value bulkhead_stream_sent_bytes_total)
	local vsock=$(value bulkhead_vsock_rx_bytes_total)
	[ "$($K exec io -- dd if=/dev/zero bs=64k count=16 2>/dev/null | wc -c)" = 1048576 ]
	[ "$(value bulkhead_exec_streams_total)" = $((streams + 1)) ]
	more_than bulkhead_stream_sent_bytes_total $((sent + 1048575))
	more_than bulkhead_vsock_rx_bytes_total $((vsock + 1048575))
	wait_for 60 more_than bulkhead_api_calls_total "$calls"
}

@test "a table, with rates, sorted" {
	run top -n 1 -i 1
	[ "$status" = 0 ]
	[[ "${lines[0]}" == PROGRAM*VM*PID*COUNTER*TOTAL*"PER SECOND" ]]
	[[ "${lines[1]}" == vmx*default/io*bulkhead_disk_* ]]
	run top -n 2 -i 0.1 -s name
	[ "$(grep -c ^PROGRAM <<<"$output")" = 2 ]
	[[ "${lines[1]}" == hostd* ]]
	run top -i 0 --all
	[[ "$output" == *pagerd*bulkhead_pager_faults_total* ]]
	for bad in "-n 0" "-n x" "-i -1" "-i x" "-s size" surplus; do
		run top $bad
		[ "$status" = 2 ]
	done
}

@test "the live view on a terminal, until q is pressed" {
	need script
	(sleep 1.5; printf q) | TERM=xterm timeout 60 script -qec "stty rows 24 cols 200; '$BIN/bulkhead' top --root '$ROOT' -i 0.3" \
		/dev/null >"$BATS_TEST_TMPDIR/screen"
	grep -q 'bulkhead top' "$BATS_TEST_TMPDIR/screen"
	grep -q 'VM  *PID  *EXITS  *DISK IO' "$BATS_TEST_TMPDIR/screen"
	grep -q 'default/io' "$BATS_TEST_TMPDIR/screen"
	[ "$(tail -c 8 "$BATS_TEST_TMPDIR/screen")" = $'\e[?1049l' ]   # the terminal is as it was
}

@test "no system call for a counter" {
	need strace
	calls() { strace -f -o "$BATS_TEST_TMPDIR/calls" "$BIN/bulkhead" top --root "$ROOT" -o json "$@" >/dev/null
		grep -vc 'write(1, ' "$BATS_TEST_TMPDIR/calls"; }
	local one=$(calls -n 1 -i 0.01) many=$(calls -n 101 -i 0.01)
	local counters=$(top -i 0 -o json | jq '.counters | length')
	echo "$counters counters, $(((many - one) / 100)) system calls for a look at all of them" >&3
	[ "$counters" -ge 40 ]
	[ $(((many - one) / 100)) -le 20 ]   # the folder, one for each process, waiting
}

@test "hostd's /metrics has the counters of all programs" {
	run curl -sk --cert "$ROOT/pki/kubelet-client.crt" --key "$ROOT/pki/kubelet-client.key" \
		"https://$(jq -r .address "$ROOT/cluster.json"):$(jq -r .kubeletPort "$ROOT/cluster.json")/metrics"
	[ "$status" = 0 ]
	[[ "$output" == *bulkhead_disk_writes_total{program=\"vmx\"*vm=\"default/io\"* ]]
	[[ "$output" == *bulkhead_pager_faults_total{program=\"pagerd\"* ]]
}

# The VM's memory beside what kubectl top shows, by each kubectl; compressed and ballooned memory is in overcommit.bats.
pair() {
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: pair}
	spec:
	  restartPolicy: Never
	  terminationGracePeriodSeconds: 1
	  containers:
	  - {name: a, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}
	  - name: b
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "dd if=/dev/zero of=/dev/shm/twenty bs=1M count=20; sleep 3600"]
	END
	wait_for 120 phase_is pair Running
}

# A pod is the sum of its containers, the VM's memory not among them.
sums() {
	$K get --raw /apis/metrics.k8s.io/v1beta1/namespaces/default/pods/pair |
		jq -e '[.containers[].usage | keys | join(" ")] == ["cpu memory swap", "cpu memory swap"]' || return
	local containers pod
	containers=$($K top pod pair --containers --no-headers | awk '{n++; m += $4} END {print n, m}')
	pod=$($K top pod pair --no-headers | awk '{print $3 + 0}')
	[[ $containers == "2 "* ]] && [ "$pod" -ge 20 ] && [ $((pod - ${containers#2 })) -ge 0 ] && [ $((pod - ${containers#2 })) -le 1 ]
}

# What vm ls says, give or take what working guests do meanwhile; and the node has the sum.
near() {
	local there
	there=$("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq '[.vms[] | select(.pod == "io" or .pod == "pair") | .residentBytes] | add')
	$K get podmetrics io pair --no-headers |
		awk -v there=$((there >> 20)) '{r += $4} END {exit !(NR == 2 && r > there - 40 && r < there + 40)}' || return
	[ "$($K get podmetrics --no-headers | awk '{r += $4} END {print r}')" -le "$($K get nodemetrics --no-headers | awk '{print $4 + 4}')" ]
}

measured() {   # measured KUBECTL
	K=$CLIENTS/$1
	[ -x "$K" ] || skip "$1 is not here"
	$K get pod pair >/dev/null 2>&1 || pair
	for p in io pair; do
		wait_for 120 eval "$K top pod $p --no-headers 2>/dev/null | grep -Eq '^$p +[0-9]+m +[0-9]+Mi *$'"
	done
	wait_for 60 sums
	wait_for 90 near
	for table in pod node; do
		$K get ${table}metrics >"$BATS_TEST_TMPDIR/$table"
		cat "$BATS_TEST_TMPDIR/$table"
		head -1 "$BATS_TEST_TMPDIR/$table" | grep -Eq '^NAME +CPU +MEMORY +RESIDENT +SHARED +COMPRESSED +BALLOONED +WINDOW *$'
	done
	grep -Eq '^io +[0-9]+m +[0-9]+Mi +[1-9][0-9]*Mi +[0-9]+Mi +[0-9]+Mi +[0-9]+Mi +[0-9.]+s *$' "$BATS_TEST_TMPDIR/pod"
	[[ "$($K get podmetrics io -o jsonpath='{.metadata.annotations.bulkhead\.dev/resident}')" =~ ^[1-9][0-9]*Ki$ ]]
	run $K get podmetrics none
	[ "$status" = 1 ]
	[[ $output == *NotFound* ]]
	if [ "$1" = kubectl-sid ]; then
		$K top pod io --show-swap | tee /dev/stderr | grep -Eq '^io +[0-9]+m +[0-9]+Mi +[0-9]+Mi'
		$K top node --show-swap | tee /dev/stderr | grep -q 'SWAP(bytes)'
	fi
}

@test "kubectl 1.20: what a pod's VM holds" { measured kubectl-1.20; }
@test "kubectl 1.32: what a pod's VM holds" { measured kubectl-1.32; }
@test "kubectl 1.36: what a pod's VM holds" { measured kubectl-sid; }

@test "a killed vmx: what it left is recognised and removed" {
	local pid link
	link=$(ls "$ROOT"/run/metrics/vmx@default_io.*.prda)
	pid=${link%.prda} pid=${pid##*.}
	$K delete pod io --wait=false   # else another starts at once
	kill -9 "$pid"
	vanished() { top -i 0 >/dev/null; [ ! -L "$link" ]; }
	wait_for 30 vanished
	[[ "$(top -i 0 --all)" != *" $pid "* ]]
	wait_for 60 gone pod io
}

@test "links that lie, and other things in the folder" {
	ln -s /dev/zero "$ROOT/run/metrics/vmx@default_evil.4242.prda"
	ln -s /proc/1/fd/0 "$ROOT/run/metrics/liar.1.prda"
	echo junk >"$ROOT/run/metrics/junk.77.prda"
	touch "$ROOT/run/metrics/README" "$ROOT/run/metrics/"$'\e[2J.5.prda'
	run top -i 0 --all
	[ "$status" = 0 ]
	[[ "$output" == *hostd* ]]
	[[ "$output" != *evil* && "$output" != *liar* && "$output" != *$'\e'* ]]
	[[ "$output" == *"junk.77.prda is not a link to a region"* ]]
	[ ! -L "$ROOT/run/metrics/vmx@default_evil.4242.prda" ]
	rm -f "$ROOT/run/metrics/"{README,junk.77.prda,liar.1.prda,$'\e[2J.5.prda'}
}

@test "without a cluster it says so" {
	run "$BIN/bulkhead" top --root "$BATS_TEST_TMPDIR/none"
	[ "$status" = 1 ]
	[[ "$output" == *'start one with "bulkhead up"'* ]]
}
