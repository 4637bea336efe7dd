#!/usr/bin/env bats
# The main path, by kubectl of Debian 12: apply, watch, logs, exec, cp, port-forward, exit codes, delete.

load lib

setup_file() {
	cluster_up pod
	image busybox
	image nginx
	$K apply -f examples/web.yaml
	wait_for 90 phase_is web Running
}

teardown_file() { cluster_down; }

@test "the node is Ready and says what it is" {
	run $K get nodes -o wide
	[[ $output == *" Ready "* && $output == *bulkhead://* ]]
}

@test "curl reaches nginx at the pod's address" {
	ip=$($K get pod web -o jsonpath='{.status.podIP}')
	wait_for 20 curl -sf "http://$ip/"
	run curl -s "http://$ip/"
	[[ $output == *nginx* ]]
}

@test "logs come line by line, also with -f, --tail, --timestamps" {
	busybox_pod talk Never 'for i in 1 2 3; do echo line $i; sleep 0.5; done'
	wait_for 60 phase_is talk Succeeded
	[ "$($K logs talk)" = $'line 1\nline 2\nline 3' ]
	[ "$($K logs talk --tail=1)" = "line 3" ]
	[ "$($K logs talk -f)" = $'line 1\nline 2\nline 3' ]
	[[ $($K logs talk --timestamps --tail=1) =~ ^20[0-9-]+T[0-9:.]+Z\ line\ 3$ ]]
	$K delete pod talk --wait=true
}

@test "logs -f follows a running container" {
	busybox_pod ticker Always 'while :; do date +%s; sleep 1; done'
	wait_for 60 phase_is ticker Running
	run timeout 4 $K logs ticker -f
	[ "${#lines[@]}" -ge 3 ]
	$K delete pod ticker
}

@test "exec gives output, exit code and stdin" {
	run $K exec web -- sh -c 'echo out; echo err >&2; exit 7'
	[ "$status" -eq 7 ]
	[[ $output == *out* && $output == *err* ]]
	run bash -c "echo through stdin | $K exec -i web -- cat"
	[ "$output" = "through stdin" ]
	[ "$(head -c 3000000 /dev/zero | $K exec -i web -- wc -c | tr -d ' ')" = 3000000 ]
}

@test "exec of a missing command says so at once" {
	run timeout 20 $K exec web -- no-such-command
	[ "$status" -eq 126 ] || [ "$status" -eq 127 ] || [ "$status" -eq 1 ]
	[[ $output == *"executable file not found"* ]]
}

@test "exec -it has a terminal" {
	run script -qec "$K exec -it web -- sh -c 'tty; stty size'" /dev/null < /dev/null
	[[ $output == *"/dev/pts/"* ]]
}

@test "cp brings a file out and puts one in" {
	$K cp web:/etc/os-release "$BATS_TEST_TMPDIR/os-release"
	grep -q Debian "$BATS_TEST_TMPDIR/os-release"
	head -c 1000000 /dev/urandom > "$BATS_TEST_TMPDIR/blob"
	$K cp "$BATS_TEST_TMPDIR/blob" web:/tmp/blob
	[ "$($K exec web -- sha256sum /tmp/blob | cut -d' ' -f1)" = "$(sha256sum < "$BATS_TEST_TMPDIR/blob" | cut -d' ' -f1)" ]
}

@test "port-forward reaches the pod over vsock" {
	$K port-forward pod/web :80 > "$BATS_TEST_TMPDIR/pf" 2>&1 3>&- &
	pf=$!
	wait_for 10 grep -q Forwarding "$BATS_TEST_TMPDIR/pf"
	port=$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p' "$BATS_TEST_TMPDIR/pf" | head -1)
	for i in 1 2 3 4 5; do curl -sf "http://127.0.0.1:$port/" | grep -q nginx; done
	kill $pf
}

@test "an exit code of 3 is an exit code of 3" {
	$K run once --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never -- sh -c 'exit 3'
	wait_for 60 phase_is once Failed
	[ "$($K get pod once -o jsonpath='{.status.containerStatuses[0].state.terminated.exitCode}')" = 3 ]
	[ "$($K get pod once -o jsonpath='{.status.containerStatuses[0].state.terminated.reason}')" = Error ]
	$K delete pod once
}

group_of() {   # PID CONTROLLER: the folder of its control group
	local at; at=$(awk -v c="$2" '$(NF-2) == "cgroup" && $NF ~ "(^|,)" c "(,|$)" { print $5 }' /proc/self/mountinfo)
	[ -n "$at" ] && echo "$at$(sed -n "s/^[0-9]*:\([^:]*,\)*$2\(,[^:]*\)*://p" "/proc/$1/cgroup")" ||
		echo "$(awk '$(NF-2) == "cgroup2" { print $5 }' /proc/self/mountinfo)$(sed -n 's/^0:://p' "/proc/$1/cgroup")"
}

@test "a VM's processes have limits of their own, which go with it" {
	busybox_pod held Never 'sleep 1000'
	wait_for 60 phase_is held Running
	local vm memory pids cpu pid
	vm=$("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq -c '.vms[] | select(.pod == "held")')
	pid=$(jq .pid <<<"$vm")
	memory=$(group_of "$pid" memory) pids=$(group_of "$pid" pids) cpu=$(group_of "$pid" cpu)
	echo "$vm: $memory $pids $cpu"
	[[ $memory =~ /bulkhead-$(tr / - <<<"${ROOT#/}")-(pods|waiting)-.*-vm$ && $pids == */bulkhead-*-vm && $cpu == */bulkhead-*-vm ]]
	for p in $(jq '.pid, .enginePid' <<<"$vm"); do   # QEMU as well
		[ "$p" = 0 ] || grep -qx "$p" "$pids/cgroup.procs"
	done
	[ "$(cat "$pids/pids.max")" = 256 ]
	# The guest's memory, and QEMU's own.
	[ "$(cat "$memory"/memory.limit_in_bytes "$memory"/memory.max 2>/dev/null)" = $((($(jq .memoryMiB <<<"$vm") + 1280) << 20)) ]
	# The guest's processors, and one for its devices.
	[[ "$(cat "$cpu"/cpu.cfs_quota_us "$cpu"/cpu.max 2>/dev/null)" == "$((($(jq .vcpus <<<"$vm") + 1) * 100000))"* ]]
	$K delete pod held --wait=true
	wait_for 30 eval "[ ! -e '$memory' ] && [ ! -e '$pids' ] && [ ! -e '$cpu' ]"
}

@test "two pods see two kernels, neither the host's" {
	busybox_pod two Always 'sleep 1000'
	wait_for 60 phase_is two Running
	a=$($K exec web -- cat /proc/sys/kernel/random/boot_id)
	b=$($K exec two -- cat /proc/sys/kernel/random/boot_id)
	[ "$a" != "$b" ]
	[ "$a" != "$(cat /proc/sys/kernel/random/boot_id)" ]
	[ "$("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq '.vms | length')" = "$($K get pods --no-headers | grep -c Running)" ]
	$K exec two -- ping -c 1 -W 5 "$($K get pod web -o jsonpath='{.status.podIP}')"
	$K delete pod two
}

waits_because() { $K get pod "$1" -o jsonpath='{.status.containerStatuses[0].state.waiting.message}'; }

event_says() { $K get events --field-selector "involvedObject.name=$1" -o jsonpath='{.items[*].message}' | grep -qF "$2"; }

@test "a missing image backs off with the kubelet's words" {
	$K run noimage --image=127.0.0.1:1/none:latest --restart=Never
	wait_for 30 waiting_is noimage ImagePullBackOff
	[[ $(waits_because noimage) == 'Back-off pulling image "127.0.0.1:1/none:latest": ErrImagePull: '?* ]]
	$K describe pod noimage | grep -q 'Failed to pull image "127.0.0.1:1/none:latest"'
	$K delete pod noimage
}

# In $seen: when the last instance started and ended, as it was when the pod said that it waits so long.
waits_so() {
	seen=$($K get pod crash -o json | jq -r --arg text "back-off $1 restarting failed container=main pod=crash_default($uid)" \
		'.status.containerStatuses[0] | select(.state.waiting.reason == "CrashLoopBackOff" and .state.waiting.message == $text) |
		 .lastState.terminated | (.startedAt | fromdate), (.finishedAt | fromdate)')
	[ -n "$seen" ]
}

@test "a container that fails is restarted with back-off" {   # BACKOFF_STEPS=6 takes six minutes
	local step uid seen ended=0 waited=0
	busybox_pod crash Always 'echo again; exit 1'
	uid=$($K get pod crash -o jsonpath='{.metadata.uid}')
	for step in $(printf '%s\n' 10s:10 20s:20 40s:40 1m20s:80 2m40s:160 5m0s:300 | head -n "${BACKOFF_STEPS:-1}"); do
		wait_for 400 waits_so "${step%:*}"
		local started=${seen%$'\n'*}
		[ "$waited" = 0 ] || echo "started $((started - ended)) s after the end of the one before, for $waited"
		[ $((started - ended)) -ge $((waited - 1)) ]          # times are whole seconds
		ended=${seen#*$'\n'} waited=${step#*:}
	done
	[ "$($K logs crash)" = again ]
	[ "$($K get pod crash -o jsonpath='{.status.containerStatuses[0].restartCount}')" -ge "${BACKOFF_STEPS:-1}" ]
	wait_for 30 event_says crash "Back-off restarting failed container main in pod crash_default($uid)"
	timeout 60 $K delete pod crash --grace-period=600   # nothing runs: neither that nor the back-off is waited for
}

@test "a missing command is reported as a kubelet does" {
	$K run nocommand --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never -- /no/such/program
	wait_for 60 phase_is nocommand Failed
	[ "$($K get pod nocommand -o jsonpath='{.status.containerStatuses[0].state.terminated.reason}')" = StartError ]
	$K delete pod nocommand
}

@test "init containers run first, config maps and secrets arrive" {
	$K create configmap settings --from-literal=color=blue
	$K create secret generic keys --from-literal=token=hunter2
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: full, labels: {app: full}}
	spec:
	  restartPolicy: Never
	  volumes:
	  - {name: data, emptyDir: {}}
	  - {name: settings, configMap: {name: settings}}
	  initContainers:
	  - {name: first, image: bulkhead.example/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, echo made > /data/file],
	     volumeMounts: [{name: data, mountPath: /data}]}
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, 'cat /data/file /settings/color; echo; echo \$TOKEN \$LABEL \$(NAME)']
	    env:
	    - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
	    - {name: LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
	    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
	    volumeMounts: [{name: data, mountPath: /data}, {name: settings, mountPath: /settings}]
	END
	wait_for 60 phase_is full Succeeded
	run $K logs full
	[[ $output == *made*blue* && $output == *"hunter2 full full"* ]]
	$K delete pod full
}

@test "an ephemeral-storage limit and an emptyDir's sizeLimit hold" {
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: limited}
	spec:
	  restartPolicy: Never
	  volumes: [{name: data, emptyDir: {sizeLimit: 8Mi}}]
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    resources: {limits: {ephemeral-storage: 16Mi}}
	    command: [sh, -c, "dd if=/dev/zero of=/fill bs=1M count=40 2>/dev/null || echo layer full; dd if=/dev/zero of=/data/fill bs=1M count=40 2>/dev/null || echo volume full; echo end"]
	    volumeMounts: [{name: data, mountPath: /data}]
	END
	wait_for 60 phase_is limited Succeeded
	[ "$($K logs limited)" = $'layer full\nvolume full\nend' ]
	$K delete pod limited
}

@test "a deleted pod leaves nothing" {
	$K delete pod web
	wait_for 30 gone pod web
	wait_for 10 bash -c "[ \"\$('$BIN/bulkhead' vm ls --root '$ROOT' -o json | jq '.vms | length')\" = 0 ]"
	[ -z "$(ls "$ROOT/pods")" ]
}
