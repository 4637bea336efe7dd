#!/usr/bin/env bats
# bulkhead up and down: twice the same, two side by side, objects survive, nothing stays behind.

load lib

setup_file() {
	cluster_up cluster
	image busybox
}

teardown_file() { cluster_down; }

@test "up twice is up once" {
	pid=$(cat "$ROOT/run/supervise.pid")
	"$BIN/bulkhead" up --root "$ROOT"
	[ "$(cat "$ROOT/run/supervise.pid")" = "$pid" ]
	[ "$("$BIN/bulkhead" up --root "$ROOT" -o json | jq -r .alreadyRunning)" = true ]
}

@test "two clusters side by side do not know each other" {
	busybox_pod here Always 'sleep 1000'
	other=$(mktemp -d /tmp/bh-second-XXXXXX)
	"$BIN/bulkhead" up --root "$other"
	"$BIN/bulkhead" image load "$CACHE/demo/busybox" --name bulkhead.example/busybox:latest --root "$other"
	KUBECONFIG=$other/admin.kubeconfig busybox_pod there Always 'sleep 1000'
	wait_for 60 phase_is here Running
	KUBECONFIG=$other/admin.kubeconfig wait_for 60 phase_is there Running
	[ "$($K get pods -o name)" = pod/here ]
	[ "$(KUBECONFIG=$other/admin.kubeconfig $K get pods -o name)" = pod/there ]
	"$BIN/bulkhead" down --purge --root "$other"
	[ ! -e "$other" ]
	[ "$($K exec here -- echo still)" = still ]
}

@test "after down and up the pods run again in new VMs" {
	wait_for 60 phase_is here Running
	before=$($K exec here -- cat /proc/sys/kernel/random/boot_id)
	"$BIN/bulkhead" down --root "$ROOT"
	[ -z "$(pgrep -f "$ROOT" | grep -v "^$$\$" | xargs -r ps -o args= -p | grep -E 'bulkhead-|qemu')" ]
	"$BIN/bulkhead" up --root "$ROOT"
	again() { [ "$($K exec here -- cat /proc/sys/kernel/random/boot_id)" != "$before" ]; }
	wait_for 60 again
	$K delete pod here
}

@test "down twice is down once" {
	"$BIN/bulkhead" down --root "$ROOT"
	"$BIN/bulkhead" down --root "$ROOT"
	"$BIN/bulkhead" up --root "$ROOT"
}

@test "doctor, vm ls, image ls and kubeconfig speak JSON" {
	"$BIN/bulkhead" doctor --root "$ROOT" -o json | jq -e '.ok == true and (.checks | length > 5)'
	"$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq -e '.vms | type == "array"'
	"$BIN/bulkhead" image ls --root "$ROOT" -o json | jq -e '.images[0].refs[0]'
	"$BIN/bulkhead" kubeconfig --root "$ROOT" -o json | jq -e .path
	"$BIN/bulkhead" kubeconfig --root "$ROOT" | grep -q current-context
}

@test "image rm removes what nobody uses and refuses what somebody uses" {
	busybox_pod user Always 'sleep 1000'
	wait_for 60 phase_is user Running
	run "$BIN/bulkhead" image rm bulkhead.example/busybox:latest --root "$ROOT"
	[ "$status" -eq 1 ]
	$K delete pod user
	wait_for 20 bash -c "[ -z \"\$(ls '$ROOT/pods')\" ]"
	"$BIN/bulkhead" image rm bulkhead.example/busybox:latest --root "$ROOT"
	run "$BIN/bulkhead" image rm bulkhead.example/busybox:latest --root "$ROOT"
	[ "$status" -eq 1 ]
}
