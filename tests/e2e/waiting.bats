#!/usr/bin/env bats
# Clones that wait for a pod: who gets one, what it must not have had, and what becomes of it when something dies.

load lib

setup_file() {
	load lib
	need qemu-system-x86_64 jq skopeo umoci mkfs.erofs
	export BULKHEAD_DIE_FILE=$(mktemp -u /tmp/bh-waiting-die-XXXXXX)   # src/hostd/die.h
	cluster_up waiting --engine qemu --waiting 1
	image busybox >&2
	"$BIN/bulkhead" template build --root "$ROOT" >&2
	busybox_pod first Never 'sleep 1000'      # from now on the template is one that was used lately
	wait_for 120 phase_is first Running
}

teardown_file() {
	load lib
	cluster_down
}

teardown() {
	[ "${BATS_TEST_COMPLETED:-}" = 1 ] || { what_happened; grep -h waiting "$ROOT/log/hostd.log" | tail -5; bh vm ls >&2; } || true
	$K delete pod --all --grace-period=0 --force >/dev/null 2>&1 || true
}

bh() { "$BIN/bulkhead" "$@" --root "$ROOT"; }
start_of() { bh vm ls -o json | jq -r ".vms[] | select(.pod == \"$1\") | .start"; }
waiting() { bh vm ls -o json | jq -r ".waiting[] | $1"; }
one_waits() { [ "$(waiting .state)" = Waiting ]; }
none_waits() { [ -z "$(waiting .state)" ]; }
running() { wait_for 120 phase_is "$1" Running; }
ready() { [ "$(bh template ls -o json | jq -r '.templates[] | select(.vcpus == 1) | .state')" = Ready ]; }
pod_in() { $K exec "$1" -- sh -c "$2"; }
hostd_answers() { bh template ls; }
ended() { ! kill -0 "$1"; }
six_lines() { [ "$($K logs "$1" | wc -l)" = 6 ]; }

hostd_killed() {   # SIGKILL, and wait for the next one
	local was; was=$(hostd_pid)
	kill -9 "$was"
	wait_for 30 hostd_is_not "$was"
	wait_for 30 hostd_answers
}
hostd_is_not() { local now; now=$(hostd_pid) && [ "$now" != "$1" ]; }

again() {   # a hostd that has just started knows of no template that was used lately
	wait_for 120 ready
	busybox_pod again Never 'sleep 1000'
	running again
	wait_for 60 one_waits
	$K delete pod again --grace-period=0 --force
	wait_for 60 gone pod again
}

@test "a pod moves into the clone that waits, and another one is made" {
	wait_for 60 one_waits
	run bh vm ls
	[[ "$output" == *" Waiting "*" waiting "* ]]
	[ "$(bh template ls -o json | jq '[.templates[].waiting] | add')" = 1 ]
	pid=$(waiting .pid) user=$(ps -o uid= -p "$pid")
	busybox_pod moved Never 'echo here; sleep 1000'
	running moved
	[ "$(start_of moved)" = template+waiting ]
	bh vm ls -o json | jq -e ".vms[] | select(.pod == \"moved\") | .pid == $pid and (.stagesMs | has(\"waiting\") and (has(\"template\") or has(\"vm\") | not))"
	$K get pod moved -o json | jq -e '.metadata.annotations["bulkhead.io/start-stages-ms"] | fromjson | has("waiting")'
	# User, folder, counters are the pod's now.
	[ "$(ps -o uid= -p "$pid")" = "$user" ]
	[ "$(jq .vmNumber "$ROOT"/pods/*/state.json | grep -cx "$((user - $(jq -n 700000)))")" = 1 ]
	[ -S "$ROOT/pods/$($K get pod moved -o jsonpath='{.metadata.uid}')/vm/control.sock" ]
	ls "$ROOT/run/metrics/vmx@default_moved.$pid.prda"
	wait_for 60 one_waits
	[ "$(waiting .pid)" != "$pid" ]
	[ "$(ps -o uid= -p "$(waiting .pid)")" != "$user" ]
}

@test "logs, exec, volumes, network and a second image's disk work in it; there is nothing of the rehearsal" {
	wait_for 60 one_waits
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: full}
	spec:
	  terminationGracePeriodSeconds: 1
	  initContainers:
	  - {name: first, image: bulkhead.example/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo from-init > /data/x"],
	     volumeMounts: [{name: data, mountPath: /data}]}
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "mkdir /www; cp /data/x /www/index.html; echo serving; exec httpd -f -p 80 -h /www"]
	    volumeMounts: [{name: data, mountPath: /data}]
	  volumes:
	  - {name: data, emptyDir: {}}
	END
	running full
	[ "$(start_of full)" = template+waiting ]
	wait_for 30 sh -c "$K logs full | grep -q serving"
	ip=$($K get pod full -o jsonpath='{.status.podIP}')
	[ "$(curl -s --max-time 20 "http://$ip/")" = from-init ]
	[ "$(pod_in full 'ls /sys/class/net | sort | xargs')" = "eth0 lo" ]
	[ "$(pod_in full 'ls /sys/block | grep -c ^vd')" = 2 ]
	! pod_in full 'grep -r rehearsal /proc/mounts /proc/self/cgroup'
	[ "$(pod_in full 'dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; sync; stat -c %s /big')" = 67108864 ]
}

@test "pods from clones that waited share no secret" {
	for i in 1 2; do
		wait_for 60 one_waits
		busybox_pod "s$i" Never 'cat /proc/sys/kernel/random/boot_id; head -c 32 /dev/urandom | sha256sum; cat /proc/sys/kernel/random/uuid; cat /sys/class/net/eth0/address; hostname; hostname -i; sleep 1000'
		running "s$i"
		wait_for 30 six_lines "s$i"
		[ "$(start_of "s$i")" = template+waiting ]
		[ "$($K logs "s$i" | sed -n 5p)" = "s$i" ]
		now=$(pod_in "s$i" 'date +%s') here=$(date +%s)
		[ $((here - now)) -lt 30 ] && [ $((now - here)) -lt 5 ]
		# The guest brings no machine id: an image has its own, or none.
		[ -z "$(pod_in "s$i" 'cat /etc/machine-id /var/lib/dbus/machine-id 2>/dev/null')" ]
	done
	for line in 1 2 3 4 5 6; do
		[ "$($K logs s1 | sed -n ${line}p)" != "$($K logs s2 | sed -n ${line}p)" ]
	done
	[ "$(for i in 1 2; do pod_in "s$i" 'head -c 16 /dev/random | md5sum'; done | sort -u | wc -l)" = 2 ]
}

@test "of several at once one moves in, the others are cloned" {
	wait_for 60 one_waits
	for i in 1 2 3; do busybox_pod "many$i" Never 'sleep 1000' & done
	wait
	for i in 1 2 3; do running "many$i"; done
	[ "$(for i in 1 2 3; do start_of "many$i"; done | grep -cx template+waiting)" -ge 1 ]
	[ "$(for i in 1 2 3; do start_of "many$i"; done | grep -c ^template)" = 3 ]
	[ "$(bh vm ls -o json | jq -r '.vms[].pid' | sort | uniq -d)" = "" ]
}

@test "a pod that asks for something else does not get it" {
	wait_for 60 one_waits
	pid=$(waiting .pid)
	busybox_pod plain Never 'sleep 1000' 'bulkhead.dev/start: template'
	running plain
	[ "$(start_of plain)" = template ]
	$K run large --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never \
		--overrides='{"spec":{"containers":[{"name":"large","image":"bulkhead.example/busybox:latest","imagePullPolicy":"IfNotPresent","command":["sleep","1000"],"resources":{"limits":{"ephemeral-storage":"20Gi"}}}]}}'
	running large
	[ "$(start_of large)" = template ]
	[ "$(pod_in large 'df -k / | tail -1' | awk '{print ($2 > 15000000)}')" = 1 ]
	[ "$(waiting .pid)" = "$pid" ]
}

@test "a pod whose disks cannot be handed over leaves the clone that waits alone" {
	wait_for 60 one_waits
	pid=$(waiting .pid)
	$K apply -f - <<-END
	apiVersion: storage.k8s.io/v1
	kind: StorageClass
	metadata: {name: checked}
	provisioner: disk.bulkhead.dev
	parameters: {filters: "checksum"}
	---
	apiVersion: v1
	kind: PersistentVolumeClaim
	metadata: {name: checked}
	spec: {accessModes: [ReadWriteOnce], storageClassName: checked, resources: {requests: {storage: 64Mi}}}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: claims}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - {name: main, image: bulkhead.example/busybox:latest, imagePullPolicy: IfNotPresent, command: [sleep, "1000"],
	     volumeMounts: [{name: data, mountPath: /data}]}
	  volumes: [{name: data, persistentVolumeClaim: {claimName: checked}}]
	END
	running claims
	[ "$(start_of claims)" = template ]
	grep -q "default/claims: it cannot move into a clone that waits: .*only its filter 'checksum' knows" "$ROOT/log/hostd.log"
	[ "$(waiting .pid)" = "$pid" ]
	pod_in claims 'echo kept > /data/x; sync; cat /data/x'
	[ "$($K get pod claims -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
	[ "$(bh vm ls -o json | jq '[.vms[] | select(.pod == "claims")] | length')" = 1 ]
	! grep "default/claims.*virtual machine ended" "$ROOT/log/hostd.log"
	$K delete pod claims --grace-period=0 --force
	$K delete pvc checked
	$K delete storageclass checked
}

@test "a clone that does not answer when a pod moves in is ended, and the pod gets another" {
	wait_for 60 one_waits
	pid=$(waiting .pid)
	kill -STOP "$pid"
	busybox_pod deaf Never 'sleep 1000'
	running deaf
	[ "$(start_of deaf)" = template ]
	grep -q "default/deaf: a clone that waited is not used: " "$ROOT/log/hostd.log"
	wait_for 30 ended "$pid"
	[ "$($K get pod deaf -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
	! grep "default/deaf.*virtual machine ended" "$ROOT/log/hostd.log"
	wait_for 60 one_waits
}

@test "with nothing to do the thread of the clones that wait does not run" {
	wait_for 60 one_waits
	local thread before
	# The first of that name: those that it starts inherit it.
	thread=$(grep -lx bh-waiting "/proc/$(hostd_pid)"/task/*/comm | sort -V | head -1)
	asleep() { before=$(switches); sleep 12; [ "$(switches)" = "$before" ]; }
	switches() { awk '/ctxt_switches/ {n += $2} END {print n}' "${thread%comm}status"; }
	[ "$(switches)" -gt 0 ]
	wait_for 60 asleep        # longer than any time it used to look around in
}

@test "SIGKILL of the VM that waits: another one is made, and the next pod runs" {
	wait_for 60 one_waits
	pid=$(waiting .pid)
	kill -9 "$pid"
	another_waits() { one_waits && [ "$(waiting .pid)" != "$pid" ]; }
	wait_for 60 another_waits   # without a pod that starts
	busybox_pod next Never 'sleep 1000'
	running next
	[[ "$(start_of next)" == template* ]]
	wait_for 60 one_waits
}

@test "SIGKILL of hostd while one waits: it is ended, and the next hostd makes another" {
	wait_for 60 one_waits
	pid=$(waiting .pid)
	engine=$(waiting .enginePid)
	hostd_killed
	wait_for 30 ended "$pid"
	wait_for 30 ended "$engine"
	[ -z "$(ls "$ROOT/waiting")" ]
	again
	# One that does not answer is ended as well.
	pid=$(waiting .pid) engine=$(waiting .enginePid)
	kill -STOP "$pid"
	hostd_killed
	wait_for 30 ended "$pid"
	wait_for 30 ended "$engine"
	again
}

@test "SIGKILL of hostd while a pod moves in: the pod runs, in one VM" {
	for stage in moving moved vm configured; do
		one_waits || again
		pid=$(waiting .pid) was=$(hostd_pid)
		echo "$stage" > "$BULKHEAD_DIE_FILE"
		busybox_pod hit Never 'sleep 1000'
		wait_for 30 hostd_is_not "$was"
		[ ! -e "$BULKHEAD_DIE_FILE" ]
		wait_for 30 hostd_answers
		running hit
		wait_for 60 pod_in hit true
		[ "$($K get pod hit -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
		now=$(bh vm ls -o json | jq -r '.vms[] | select(.pod == "hit") | .pid')
		# With its devices it is the pod's; before, it is no more.
		case $stage in
		moving | moved) [ "$now" != "$pid" ]; wait_for 30 ended "$pid" ;;
		*) [ "$now" = "$pid" ] ;;
		esac
		$K delete pod hit --grace-period=0 --force
		wait_for 60 gone pod hit
	done
}

@test "they go when memory is short, before any pod does" {
	one_waits || again
	pid=$(waiting .pid)
	busybox_pod stays Never 'sleep 1000'
	running stays
	wait_for 60 one_waits
	pid=$(waiting .pid)
	echo '{"memoryAvailableMiB": 100000000}' > "$ROOT/pressure.json"
	wait_for 30 none_waits
	rm "$ROOT/pressure.json"
	wait_for 30 ended "$pid"
	grep -q "waiting: ended .*the host is short of memory" "$ROOT/log/hostd.log"
	phase_is stays Running
}

@test "with --waiting 0 none is made, and other numbers are checked" {
	for bad in x -1 17 ''; do
		run bh up --waiting "$bad"
		[ "$status" = 1 ]
		[[ "$output" == *"a number of clones from 0 to 16"* ]]
	done
	bh down
	[ -z "$(pgrep -f "qemu-system.*-name waiting .*$ROOT")" ]
	bh up --waiting 0
	busybox_pod a Never 'sleep 1000'
	running a
	busybox_pod b Never 'sleep 1000'
	running b
	[ "$(start_of a) $(start_of b)" = "template template" ]
	none_waits
}
