#!/usr/bin/env bats
# SIGKILL of each process: the consequences that docs/architecture.md names, and no others.
# KILL_SECONDS: how long the last test kills at random (default 20). KILL_STAGES: at which stages of a pod's start and end hostd
# is killed (default: some; all: every one).

load lib

setup_file() {
	export BULKHEAD_DIE_FILE=$(mktemp -u /tmp/bh-kill-die-XXXXXX)
	cluster_up kill --waiting 0
	image busybox
	busybox_pod counter Always 'i=0; while :; do i=$((i+1)); echo n $i; sleep 0.1; done'
	busybox_pod other Always 'while :; do sleep 1; done'
	wait_for 90 phase_is counter Running
	wait_for 90 phase_is other Running
}

teardown_file() { cluster_down; }

pid_of() { pgrep -f "bulkhead-$1 --root $ROOT( |\$)" | head -1; }
vm_field() { "$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq -r ".vms[] | select(.pod == \"$1\") | .$2"; }
boot_id() { $K exec "$1" -- cat /proc/sys/kernel/random/boot_id; }
restarts() { $K get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}'; }
new_pid() { local now; now=$(pid_of "$1"); [ -n "$now" ] && [ "$now" != "$2" ]; }
running_again() { [ "$(restarts "$1")" -gt "$2" ] && phase_is "$1" Running && [ "$($K get pod "$1" -o jsonpath='{.status.containerStatuses[0].ready}')" = true ]; }

# Every number once and in order, from the log of the current instance.
log_is_whole() {
	$K logs "$1" | awk '$1 != "n" || $2 != NR { print "line " NR " is: " $0; bad = 1; exit } END { exit bad || NR < 5 }'
}

@test "the server: pods go on, acknowledged objects are there" {
	$K create configmap survives --from-literal=a=b
	before=$(boot_id counter) pid=$(pid_of server)
	kill -9 "$pid"
	wait_for 20 new_pid server "$pid"
	wait_for 20 $K get configmap survives
	[ "$(boot_id counter)" = "$before" ]
	[ "$(restarts counter)" = 0 ]
	$K delete configmap survives
}

@test "hostd: VMs are adopted, no log line is lost or doubled" {
	before=$(boot_id counter) pid=$(pid_of hostd)
	kill -9 "$pid"
	sleep 1
	wait_for 20 new_pid hostd "$pid"
	wait_for 20 boot_id counter
	[ "$(boot_id counter)" = "$before" ]
	[ "$(restarts counter)" = 0 ]
	sleep 2
	wait_for 30 log_is_whole counter
}

@test "hostd while another image is awaited: a container that was told to end for it is started anew, also where none is restarted" {
	local pid round
	busybox_pod swap Never "trap 'sleep 0.7; exit 0' TERM; while :; do sleep 0.1; done"
	wait_for 90 phase_is swap Running
	told() { $K get events -o json | jq -e 'any(.items[]; .message == "Container main definition changed, will be restarted")'; }
	$K set image pod/swap main=127.0.0.1:1/none:latest
	wait_for 30 told
	for round in ends waits; do
		pid=$(pid_of hostd)
		kill -9 "$pid"
		wait_for 20 new_pid hostd "$pid"
		wait_for 60 waiting_is swap ImagePullBackOff
		sleep 2
		phase_is swap Running
	done
	$K set image pod/swap main=bulkhead.example/busybox:latest
	wait_for 60 running_again swap 0
	$K delete pod swap
}

@test "vmx: its pod is restarted in a new VM, the other one goes on" {
	before=$(boot_id counter) other=$(boot_id other) was=$(restarts counter)
	kill -9 "$(vm_field counter pid)"
	wait_for 90 running_again counter "$was"
	[ "$(boot_id counter)" != "$before" ]
	[ "$(boot_id other)" = "$other" ]
	[ "$(restarts other)" = 0 ]
	[ "$($K get pod counter -o jsonpath='{.status.containerStatuses[0].lastState.terminated.exitCode}')" = 137 ]
}

@test "qemu: the same" {
	other=$(boot_id other) was=$(restarts counter) vmx=$(vm_field counter pid)
	kill -9 "$(vm_field counter enginePid)"
	wait_for 90 running_again counter "$was"
	[ "$(boot_id other)" = "$other" ]
	! kill -0 "$vmx"
}

@test "a guest that crashes: the same" {
	$K run crasher --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --privileged -- sleep 1000
	wait_for 60 phase_is crasher Running
	timeout 10 $K exec crasher -- sh -c 'echo c > /proc/sysrq-trigger' || true
	wait_for 90 running_again crasher 0
	$K delete pod crasher --grace-period=0 --force
}

START_STAGES="admitted image saved network disks forked vm agent configured volumes created started running-told"
END_STAGES="stopping stopped vm-killed told deleted vm-ended network-removed disk-removed released"

# What the cluster has of links, namespaces, mounts, pods' folders and VMs.
inventory() {
	ip -br link | awk '{print $1}' | grep -E "bkh-?$TAG" | sort
	ip netns list | awk '{print $1}' | grep "$TAG" | sort
	grep -F "$ROOT" /proc/mounts | awk '{print $2}' | sort
	ls "$ROOT/pods" "$ROOT/net/pods" 2>/dev/null
	pgrep -fa "qemu-system.*-name default/young " | wc -l    # other files' clusters have VMs, too
	nft list ruleset 2>/dev/null | grep -c "$TAG"
}
as_before() { [ "$(inventory)" = "$1" ]; }
only_two() { [ "$(ls "$ROOT/pods" | wc -l)" = 2 ] && [ "$(ls "$ROOT/net/pods" | wc -l)" = 2 ]; }
reached() { [ ! -e "$BULKHEAD_DIE_FILE" ]; }

@test "hostd at each stage of a start and an end: the pod arrives at the right end, nothing is doubled, nothing is left" {
	local before stage
	wait_for 30 only_two                   # what went before may still be on its way out
	before=$(inventory)
	chosen=${KILL_STAGES:-network forked created started vm-killed network-removed}
	[ "$chosen" != all ] || chosen="$START_STAGES $END_STAGES"
	for stage in $chosen; do
		echo "stage $stage" >&2
		case " $START_STAGES " in *" $stage "*) echo "$stage" > "$BULKHEAD_DIE_FILE" ;; esac
		busybox_pod young Always 'echo begun; while :; do sleep 1; done'
		wait_for 60 reached
		wait_for 90 phase_is young Running
		begun() { [ "$($K logs young)" = begun ]; }
		wait_for 30 begun
		[ "$(restarts young)" = 0 ]
		[ "$(pgrep -fc "qemu-system.*-name default/young ")" = 1 ]
		wait_for 20 $K exec young -- true
		case " $END_STAGES " in *" $stage "*) echo "$stage" > "$BULKHEAD_DIE_FILE" ;; esac
		$K delete pod young --wait=false
		wait_for 60 reached
		wait_for 60 gone pod young
		wait_for 30 as_before "$before" || diff <(echo "$before") <(inventory)
	done
}

@test "vmx while its guest boots: the pod starts again at once and says why" {
	busybox_pod early Always 'while :; do sleep 1; done' 'bulkhead.dev/start: boot'    # a clone would be up before it is hit
	vmx() { vm_field early pid | grep -q '[1-9]'; }
	wait_for 30 vmx
	kill -9 "$(vm_field early pid)"
	wait_for 40 phase_is early Running
	$K describe pod early | grep -q 'VM ended while it booted'
	$K delete pod early
}

@test "the supervisor: up brings the cluster back, VMs go on" {
	before=$(boot_id other)
	kill -9 "$(cat "$ROOT/run/supervise.pid")"
	sleep 1
	"$BIN/bulkhead" up --root "$ROOT"
	wait_for 20 boot_id other
	[ "$(boot_id other)" = "$before" ]
}

shoot() { [ "${1:-0}" -gt 1 ] && kill -9 "$1" 2>/dev/null || true; }   # never 0: that is our own process group

@test "at random: in the end everything is as it should be" {
	end=$((SECONDS + ${KILL_SECONDS:-20}))
	while [ $SECONDS -lt $end ]; do
		case $((RANDOM % 4)) in
		0) shoot "$(pid_of server)" ;;
		1) shoot "$(pid_of hostd)" ;;
		2) shoot "$(vm_field counter pid 2>/dev/null)" ;;
		3) shoot "$(vm_field counter enginePid 2>/dev/null)" ;;
		esac
		sleep 0.$((RANDOM % 10))
		sleep $((RANDOM % 3))
	done
	wait_for 60 $K get nodes
	$K delete pod counter --wait=false
	wait_for 60 gone pod counter
	busybox_pod counter Always 'i=0; while :; do i=$((i+1)); echo n $i; sleep 0.1; done'
	wait_for 90 phase_is counter Running
	wait_for 30 boot_id other
	[ "$(restarts other)" = 0 ]
	[ "$("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq '.vms | length')" = 2 ]
	[ "$(pgrep -fc "qemu-system.*-name default/")" -ge 2 ]
	sleep 1
	wait_for 30 log_is_whole counter
}
