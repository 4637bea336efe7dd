#!/usr/bin/env bats
# What a container may and may not do, and what joins and changes while a pod runs.

load lib

setup_file() {
	cluster_up containers
	image busybox
	image nginx
	jq -n '{}' >/dev/null
	for f in client-certificate client-key certificate-authority; do
		sed -n "s/.*$f-data: //p" "$KUBECONFIG" | base64 -d > "$ROOT/$f"
		[ -s "$ROOT/$f" ] || cp "$(sed -n "s/.*$f: //p" "$KUBECONFIG")" "$ROOT/$f"
	done
}

teardown_file() { cluster_down; }

api() {   # api METHOD PATH TYPE BODY
	curl -sS --cacert "$ROOT/certificate-authority" --cert "$ROOT/client-certificate" --key "$ROOT/client-key" -X "$1" \
		-H "Content-Type: application/$3" -d "$4" "$(sed -n 's/.*server: //p' "$KUBECONFIG")$2"
}

pod() {   # pod NAME CONTAINER-FIELDS [POD-FIELDS]
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec: {restartPolicy: Never, terminationGracePeriodSeconds: 2, ${3:+$3,} containers: [{name: main,
	  image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, $2}]}
	END
}

debug() {   # debug POD NAME IMAGE TARGET COMMAND: what kubectl debug sends
	api PATCH "/api/v1/namespaces/default/pods/$1/ephemeralcontainers" strategic-merge-patch+json "{\"spec\":{\"ephemeralContainers\":[{
		\"name\":\"$2\",\"image\":\"bulkhead.example/$3:latest\",\"imagePullPolicy\":\"IfNotPresent\",\"targetContainerName\":\"$4\",
		\"command\":[\"sh\",\"-c\",\"$5\"],\"stdin\":true}]}}"
}

ephemeral_is() { $K get pod "$1" -o json | jq -e ".status.ephemeralContainerStatuses[] | select(.name == \"$2\") | .state.$3" >/dev/null; }
reason_is() { [ "$($K get pod "$1" -o jsonpath='{.status.containerStatuses[0].state.terminated.reason}')" = "$2" ]; }
no_image() { ! "$BIN/bulkhead" image ls --root "$ROOT" | grep -q "$1"; }
cpu_max() { $K exec "$1" -- cat /sys/fs/cgroup/cpu.max; }
cpu_max_is() { [ "$(cpu_max "$1")" = "$2" ]; }

@test "a debug container joins a pod that runs, with an image of its own, and sees its target's processes" {
	pod target 'command: [sh, -c, "sleep 12345"]'
	wait_for 90 phase_is target Running
	debug target dbg nginx main 'ls /usr/sbin/nginx; cat /proc/1/cmdline; echo; sleep 1000' >/dev/null
	wait_for 60 ephemeral_is target dbg running
	wait_for 20 bash -c "$K logs target -c dbg | grep -aq 12345"
	$K logs target -c dbg | grep -q /usr/sbin/nginx
	$K exec target -c dbg -- cat /etc/nginx/nginx.conf | grep -q http
	[ "$($K get pod target -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
	debug target absent nothere main 'true' >/dev/null
	wait_for 60 ephemeral_is target absent waiting
	debug target brief busybox main 'exit 3' >/dev/null
	wait_for 60 ephemeral_is target brief terminated
	[ "$($K get pod target -o json | jq '.status.ephemeralContainerStatuses[] | select(.name == "brief") | .state.terminated.exitCode')" = 3 ]
	$K delete pod target
}

# What kubectl debug shows on a terminal when somebody types there.
typed() {   # typed WORDS COMMAND...: once the container's shell asks
	local said=$BATS_TEST_TMPDIR/said; : > "$said"
	{ wait_for 120 grep -aq '/ #' "$said"; printf '%s\nexit\n' "$1"; } | timeout 200 script -qefc "${*:2}" /dev/null > "$said" 2>&1
	cat "$said"
}

debug_tour() {   # debug_tour KUBECTL
	local D=$CLIENTS/$1 n=${1//[^a-z0-9]/} use="--image=bulkhead.example/nginx:latest --image-pull-policy=IfNotPresent --profile=general"
	[ -x "$D" ] || skip "$1 is not here"
	$D debug watched $use --target=main -c "once-$n" -- sh -c 'tr "\0" " " < /proc/1/cmdline'
	wait_for 120 ephemeral_is watched "once-$n" terminated
	[ "$($K logs watched -c "once-$n")" = "sleep 54321 " ]
	run typed 'echo typed-$((40 + 2)); ls /usr/sbin/nginx; tty' "$D" debug -it watched $use --target=main -c "typed-$n" -- sh
	[[ $output == *typed-42*/usr/sbin/nginx*/dev/pts/* ]]
	run $D debug watched $use --target=nobody -c "lost-$n" -- true
	wait_for 120 ephemeral_is watched "lost-$n" waiting
	wait_for 60 bash -c "$K get pod watched -o json | grep -q 'target container nobody not found'"
	# A copy of the pod, changed: another container that sees the first one's processes; another image.
	$D debug watched $use --copy-to="copy-$n" --share-processes -c extra -- sleep 1000
	$D debug watched --copy-to="other-$n" --set-image=main=bulkhead.example/nginx:latest
	wait_for 120 phase_is "copy-$n" Running
	sees() { $K exec "copy-$n" -c extra -- sh -c 'cat /proc/[0-9]*/cmdline' 2>/dev/null | tr '\0' ' ' | grep -q 'sleep 54321'; }
	wait_for 60 sees
	wait_for 120 phase_is "other-$n" Running
	$K exec "other-$n" -- ls /usr/sbin/nginx
	$K delete pod "copy-$n" "other-$n" --wait=false
	[ "$($K get pod watched -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
}

@test "kubectl debug of 1.32 and of sid: join, type, copy" {
	pod watched 'command: [sleep, "54321"]'
	wait_for 120 phase_is watched Running
	debug_tour kubectl-1.32
	debug_tour kubectl-sid
	$K delete pod watched --wait=false
}

@test "the alpha debug of kubectl 1.20 is refused and changes nothing" {
	pod old 'command: [sleep, "1000"]'
	run $K alpha debug old --image=bulkhead.example/busybox:latest
	[ "$status" -ne 0 ]
	[[ $output == *'error updating ephemeral containers: EphemeralContainers in version "v1" cannot be handled as a Pod: no kind "EphemeralContainers" is registered'* ]]
	[ -z "$($K get pod old -o jsonpath='{.spec.ephemeralContainers}')" ]
	$K delete pod old --wait=false
}

@test "namespaces of the node: refused with what to use instead; a debug session of the node ends at once" {
	local field
	for field in hostNetwork hostPID hostIPC; do
		pod "${field,,}" 'command: ["true"]' "$field: true"
		wait_for 60 phase_is "${field,,}" Failed
		[ "$($K get pod "${field,,}" -o jsonpath='{.status.reason}')" = HostNamespaceNotSupported ]
		[[ $($K get pod "${field,,}" -o jsonpath='{.status.message}') == "$field: a pod is a virtual machine and cannot "* ]]
		$K describe pod "${field,,}" | grep -q "Warning *HostNamespaceNotSupported"
		[ "$($K get pod "${field,,}" -o jsonpath='{.status.containerStatuses[0].state.terminated.reason}')" = HostNamespaceNotSupported ]
	done
	$K delete pod hostnetwork hostpid hostipc --wait=false
	[ -x "$CLIENTS/kubectl-1.32" ] || skip "kubectl-1.32 is not here"
	local node; node=$($K get nodes -o jsonpath='{.items[0].metadata.name}')
	run timeout 60 "$CLIENTS/kubectl-1.32" debug "node/$node" -i --profile=general --image=bulkhead.example/busybox:latest -- sh < /dev/null
	[ "$status" -ne 124 ]
	wait_for 20 bash -c "$K get pods -o json | jq -e '.items[] | select(.metadata.name | startswith(\"node-debugger\")) | .status.phase == \"Failed\"'"
	$K delete "$($K get pods -o name | grep node-debugger)" --wait=false
	# What a container of a VM may do about the node: look at its files.
	pod files 'command: [cat, /node/etc/os-release], volumeMounts: [{name: node, mountPath: /node, readOnly: true}]' \
		'volumes: [{name: node, hostPath: {path: /, type: Directory}}]'
	wait_for 120 phase_is files Succeeded
	$K logs files | grep -q '^ID='
	$K delete pod files --wait=false
}

@test "devices: the usual ones, no disk of the pod; all of them when privileged" {
	pod devices 'command: [sh, -c, "mknod /disk b 254 0; head -c 9 /disk 2>&1; mknod /null c 1 3; echo x > /null && echo null works;
		head -c 4 /dev/urandom | wc -c; dd if=/dev/zero of=/disk bs=512 count=1 2>&1 | grep -c permitted"]'
	pod alldevices 'command: [sh, -c, "ls /dev/kmsg /dev/vda; mknod /disk b 254 0; head -c 9 /disk | wc -c"], securityContext: {privileged: true}'
	wait_for 120 phase_is devices Succeeded
	[ "$($K logs devices)" = $'head: /disk: Operation not permitted\nnull works\n4\n1' ]
	wait_for 120 phase_is alldevices Succeeded
	[ "$($K logs alldevices)" = $'/dev/kmsg\n/dev/vda\n9' ]
	$K delete pod devices alldevices --wait=false
}

@test "one image that cannot be had does not hold up the other containers" {
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: mixed}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - {name: good, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "echo runs; sleep 1000"]}
	  - {name: bad, image: "bulkhead.example/late:latest", imagePullPolicy: Never}
	END
	wait_for 90 bash -c "$K logs mixed -c good | grep -q runs"
	[ "$($K get pod mixed -o json | jq -r '.status.containerStatuses[] | select(.name == "bad") | .state.waiting.reason')" = ErrImageNeverPull ]
	"$BIN/bulkhead" image load "$CACHE/demo/nginx" --name bulkhead.example/late:latest --root "$ROOT"
	wait_for 60 phase_is mixed Running
	$K exec mixed -c bad -- ls /usr/sbin/nginx
	$K delete pod mixed
}

@test "CPU and memory change in place" {
	pod resized 'command: [sleep, "1000"], resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}'
	wait_for 90 phase_is resized Running
	cpu_max_is resized "20000 100000"
	api PATCH /api/v1/namespaces/default/pods/resized/resize strategic-merge-patch+json '{"spec":{"containers":[{"name":"main",
		"resources":{"requests":{"cpu":"150m"},"limits":{"cpu":"500m","memory":"80Mi"}}}]}}' > "$BATS_TEST_TMPDIR/answer"
	wait_for 30 cpu_max_is resized "50000 100000"
	[ "$($K exec resized -- cat /sys/fs/cgroup/memory.max)" = $((80 << 20)) ]
	wait_for 30 bash -c "$K get pod resized -o json | jq -e '.status.containerStatuses[0].resources.limits.cpu == \"500m\"'"
	[ "$($K get pod resized -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
	api PATCH /api/v1/namespaces/default/pods/resized/resize strategic-merge-patch+json '{"spec":{"containers":[{"name":"main",
		"resources":{"limits":{"memory":"4Gi"}}}]}}' >/dev/null
	wait_for 30 bash -c "$K get pod resized -o json | jq -e '.status.conditions[] | select(.type == \"PodResizePending\") | .reason == \"Infeasible\"'"
	api PATCH /api/v1/namespaces/default/pods/resized/resize strategic-merge-patch+json '{"spec":{"containers":[{"name":"main",
		"resources":{"limits":{"memory":"96Mi"}}}]}}' >/dev/null
	wait_for 30 bash -c "$K get pod resized -o json | jq -e '[.status.conditions[].type] | index(\"PodResizePending\") == null'"
	[ "$($K exec resized -- cat /sys/fs/cgroup/memory.max)" = $((96 << 20)) ]
	$K get pod resized -o json | jq -e '.status.conditions | length == 5 and all(.[]; .status == "True" and .reason == null and .message == null)'
	$K delete pod resized
}

runs_again() { $K get pod "$1" -o json | jq -e ".status.containerStatuses[0] | .restartCount == $2 and .state.running != null"; }

@test "another image in a pod that runs: its container is started anew with it, in the same VM" {
	pod swap 'command: [sleep, "1000"]'
	wait_for 90 phase_is swap Running
	boot=$($K exec swap -- cat /proc/sys/kernel/random/boot_id)
	$K set image pod/swap main=bulkhead.example/nginx:latest
	wait_for 60 runs_again swap 1
	$K exec swap -- test -x /usr/sbin/nginx
	$K get events | grep -q "Container main definition changed, will be restarted"
	$K set image pod/swap main=127.0.0.1:1/none:latest
	wait_for 60 waiting_is swap ImagePullBackOff
	phase_is swap Running
	$K set image pod/swap main=bulkhead.example/busybox:latest
	wait_for 60 runs_again swap 2
	run $K exec swap -- test -x /usr/sbin/nginx
	[ "$status" -eq 1 ]
	[ "$($K exec swap -- cat /proc/sys/kernel/random/boot_id)" = "$boot" ]
	$K get pod swap -o json | jq -e '.status.containerStatuses[0] | .image == "bulkhead.example/busybox:latest" and .lastState.terminated.exitCode == 137'
	# Changed back before it has ended: it is started anew all the same.
	told() { $K get events -o json | jq -e '[.items[] | select(.message == "Container main definition changed, will be restarted") | .count // 1] | add >= 3'; }
	$K set image pod/swap main=bulkhead.example/nginx:latest
	wait_for 30 told
	$K set image pod/swap main=bulkhead.example/busybox:latest
	back() { $K get pod swap -o json | jq -e '.status | .phase == "Running" and (.containerStatuses[0] | .restartCount >= 3 and .state.running != null)' &&
		! $K exec swap -- test -x /usr/sbin/nginx; }
	wait_for 60 back
	$K delete pod swap
}

@test "a container whose resizePolicy says so is started anew, however it ends" {
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: anew}
	spec:
	  restartPolicy: OnFailure
	  terminationGracePeriodSeconds: 2
	  containers:
	  - {name: ends, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.2; done"],
	     resources: {requests: {memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]}
	  - {name: deaf, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "trap : TERM; while :; do sleep 0.2; done"],
	     resources: {requests: {memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]}
	END
	wait_for 90 phase_is anew Running
	api PATCH /api/v1/namespaces/default/pods/anew/resize strategic-merge-patch+json '{"spec":{"containers":[
		{"name":"ends","resources":{"limits":{"memory":"80Mi"}}},{"name":"deaf","resources":{"limits":{"memory":"80Mi"}}}]}}' >/dev/null
	wait_for 60 bash -c "$K get pod anew -o json | jq -e '[.status.containerStatuses[] | .restartCount == 1 and .resources.limits.memory == \"80Mi\" and .state.running != null] | all'"
	[ "$($K exec anew -c ends -- cat /sys/fs/cgroup/memory.max)" = $((80 << 20)) ]
	[ "$($K exec anew -c deaf -- cat /sys/fs/cgroup/memory.max)" = $((80 << 20)) ]
	$K get pod anew -o json | jq -e '.status.containerStatuses[] | select(.name == "deaf") | .lastState.terminated.exitCode == 137'
	$K get events | grep -q "Container ends resize requires restart"
	$K delete pod anew
}

@test "capabilities, users, a read-only root and privilege" {
	pod caps 'command: [sh, -c, "grep CapEff /proc/self/status; id; touch /x || echo root is read-only; touch /tmp/x && echo tmp is not;
		  hostname other 2>&1"], securityContext: {capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, runAsUser: 1001, runAsGroup: 1002,
		  readOnlyRootFilesystem: true}, volumeMounts: [{name: t, mountPath: /tmp}]' \
		'volumes: [{name: t, emptyDir: {}}], securityContext: {supplementalGroups: [77]}'
	wait_for 90 phase_is caps Failed
	[[ $($K logs caps) == *0000000000000000*uid=1001*gid=1002*77*"root is read-only"*"tmp is not"* ]]
	pod priv 'command: [sh, -c, "mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted; grep CapEff /proc/self/status; grep Seccomp: /proc/self/status"],
		  securityContext: {privileged: true}'
	wait_for 90 phase_is priv Succeeded
	[[ $($K logs priv) == *mounted*1ff*"Seccomp:"*0* ]]
	$K delete pod caps priv --wait=false
}

@test "seccomp profiles: the runtime's, one of the node, none" {
	mkdir -p "$ROOT/seccomp"
	echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' > "$ROOT/seccomp/nomkdir.json"
	pod runtime 'command: [sh, -c, "grep Seccomp: /proc/self/status; unshare -U true || echo no namespaces; mkdir /x && echo made"],
		securityContext: {seccompProfile: {type: RuntimeDefault}}'
	pod local 'command: [sh, -c, "mkdir /x || echo refused"], securityContext: {seccompProfile: {type: Localhost, localhostProfile: nomkdir.json}}'
	pod free 'command: [sh, -c, "grep Seccomp: /proc/self/status"], securityContext: {seccompProfile: {type: Unconfined}}'
	pod absent 'command: ["true"], securityContext: {seccompProfile: {type: Localhost, localhostProfile: absent.json}}'
	wait_for 120 phase_is runtime Succeeded
	wait_for 120 phase_is local Succeeded
	wait_for 120 phase_is free Succeeded
	[[ $($K logs runtime) == *2*"no namespaces"*made* ]]
	[[ $($K logs local) == *refused* ]]
	[[ $($K logs free) == *0* ]]
	wait_for 60 waiting_is absent CreateContainerConfigError
	$K delete pod runtime local free absent --wait=false
}

@test "sysctls, host names, resolver, shared processes" {
	pod names 'command: [sh, -c, "sysctl -n net.core.somaxconn; grep other /etc/hosts; cat /etc/resolv.conf; ps; sleep 5"]' \
		'shareProcessNamespace: true, securityContext: {sysctls: [{name: net.core.somaxconn, value: "1234"}]},
		 hostAliases: [{ip: 1.2.3.4, hostnames: [other]}], dnsPolicy: None, dnsConfig: {nameservers: [9.9.9.9], searches: [x.example], options: [{name: ndots, value: "3"}]}'
	wait_for 90 phase_is names Succeeded
	run $K logs names
	[[ $output == *1234*1.2.3.4*other*"nameserver 9.9.9.9"*"search x.example"*ndots:3*pause* ]]
	$K delete pod names --wait=false
}

@test "termination messages fall back to the logs; a deadline ends a pod; hooks of several containers run at once" {
	pod message 'command: [sh, -c, "echo why it failed; exit 4"], terminationMessagePolicy: FallbackToLogsOnError'
	pod deadline 'command: [sleep, "1000"]' 'activeDeadlineSeconds: 5'
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: hooks}
	spec:
	  terminationGracePeriodSeconds: 60
	  volumes: [{name: v, hostPath: {path: $ROOT/hooks, type: DirectoryOrCreate}}]
	  containers:
	  - &c {name: a, volumeMounts: [{name: v, mountPath: /hooks}], image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sleep, "1000"],
	    lifecycle: {preStop: {exec: {command: [sh, -c, "date +%s >> /hooks/start; sleep 10; date +%s >> /hooks/end"]}}}}
	  - {<<: *c, name: b}
	  - {<<: *c, name: c}
	END
	wait_for 90 phase_is message Failed
	[ "$($K get pod message -o jsonpath='{.status.containerStatuses[0].state.terminated.message}')" = $'why it failed\n' ] ||
	[ "$($K get pod message -o jsonpath='{.status.containerStatuses[0].state.terminated.message}')" = 'why it failed' ]
	wait_for 90 phase_is deadline Failed
	[ "$($K get pod deadline -o jsonpath='{.status.reason}')" = DeadlineExceeded ]
	wait_for 90 phase_is hooks Running
	$K delete pod hooks
	[ "$(wc -l < "$ROOT/hooks/start")" = 3 ]
	[ "$(sort -n "$ROOT/hooks/start" | tail -1)" -lt "$(sort -n "$ROOT/hooks/end" | head -1)" ]   # the last began before the first ended
	$K delete pod message deadline --wait=false
}

@test "pressure: images that nobody uses go first, then pods by their class of service" {
	pod best 'command: [sleep, "1000"]'
	pod burst 'command: [sleep, "1000"], resources: {requests: {memory: 32Mi}}'
	pod sure 'command: [sleep, "1000"], resources: {limits: {memory: 64Mi, cpu: 100m}}'
	for p in best burst sure; do wait_for 120 phase_is $p Running; done
	echo '{"imageGCHighPercent": 0, "imageGCLowPercent": 0}' > "$ROOT/pressure.json"
	wait_for 60 no_image bulkhead.example/nginx:latest
	"$BIN/bulkhead" image ls --root "$ROOT" | grep -q busybox   # pods use it
	echo '{"memoryAvailableMiB": 100000000}' > "$ROOT/pressure.json"
	for p in best burst sure; do wait_for 120 phase_is $p Failed; done
	[ "$($K get pod best -o jsonpath='{.status.reason} {.status.message}')" = "Evicted The node was low on resource: memory." ]
	[ "$(sed -n 's/.*evicting pod=default\/\([a-z]*\):.*/\1/p' "$ROOT/log/hostd.log" | grep -E 'best|burst|sure' | tr '\n' ' ')" = "best burst sure " ]
	wait_for 60 bash -c "$K get node -o json | jq -e '.items[0].status.conditions[] | select(.type == \"MemoryPressure\") | .status == \"True\"'"
	rm "$ROOT/pressure.json"
	wait_for 60 bash -c "$K get node -o json | jq -e '.items[0].status.conditions[] | select(.type == \"MemoryPressure\") | .status == \"False\"'"
	pod many 'command: [sleep, "1000"]'
	wait_for 120 phase_is many Running
	echo '{"pidAvailablePercent": 100}' > "$ROOT/pressure.json"
	wait_for 120 phase_is many Failed
	[ "$($K get pod many -o jsonpath='{.status.message}')" = "The node was low on resource: pids." ]
	wait_for 60 bash -c "$K get node -o json | jq -e '.items[0] | (.status.conditions[] | select(.type == \"PIDPressure\") |
		.status == \"True\" and .reason == \"KubeletHasInsufficientPID\") and any(.spec.taints[]; .key == \"node.kubernetes.io/pid-pressure\")'"
	echo '{"pidTransitionSeconds": 300}' > "$ROOT/pressure.json"
	sleep 12                                                    # looked at meanwhile: it is so no more, and said all the same
	$K get node -o json | jq -e '.items[0].status.conditions[] | select(.type == "PIDPressure") | .status == "True"'
	echo '{"pidTransitionSeconds": 1}' > "$ROOT/pressure.json"
	wait_for 60 bash -c "$K get node -o json | jq -e '.items[0].status.conditions[] | select(.type == \"PIDPressure\") | .status == \"False\"'"
	rm "$ROOT/pressure.json"
}
