#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What kubectl does with containers, by each kubectl there is: logs, exec, attach, cp, port-forward, run -i, debug, top, with pods in VMs.
# The other commands of its reference are in clients.bats.

bats_require_minimum_version 1.5.0
load lib

setup_file() {
	need jq nft qemu-system-x86_64 crun curl
	cluster_up kubectls
	image busybox
	image nginx
	$K apply -f examples/web.yaml
	wait_for 120 phase_is web Running
	busybox_pod talk Always 'i=0; while :; do i=$((i + 1)); echo line $i; sleep 1; done'
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: lives, labels: {app: lives}}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - &c {name: a, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, volumeMounts: [{name: v, mountPath: /v}],
	    command: [sh, -c, "echo x >> /v/n; echo life $(wc -l < /v/n); [ $(wc -l < /v/n) = 1 ] || exec sleep 100000"]}
	  - {<<: *c, name: b, command: [sh, -c, "echo from b; exec sleep 100000"]}
	  volumes: [{name: v, emptyDir: {}}]
	END
	wait_for 120 phase_is talk Running
	wait_for 120 eval "$K logs lives -c a | grep -qx 'life 2'"
}

teardown_file() { cluster_down; }

read_logs() {
	$K logs talk --tail=2 | grep -q '^line '
	$K logs talk -c main --timestamps --since=1h | head -1 | grep -q '^20.*T.*Z line 1$'
	local next; next=$(($($K logs talk --tail=1 | cut -d' ' -f2) + 3))
	$K logs -f talk >followed 3>&- &
	local p=$!
	wait_for 60 grep -qx "line $next" followed
	kill $p
	[ "$(head -2 followed)" = $'line 1\nline 2' ]
	[ "$($K logs talk --limit-bytes=14)" = $'line 1\nline 2' ]
	run ! $K logs talk -c none
	[[ $output == *"container none is not valid for pod talk"* ]]
	run ! $K logs talk --previous
	[ "$($K logs lives -c a --previous)" = 'life 1' ]
	[ "$($K logs lives --all-containers --prefix --tail=1 | sort)" = $'[pod/lives/a] life 2\n[pod/lives/b] from b' ]
	[ "$($K logs lives -c a --limit-bytes=6)" = "life 2" ]
	[ -z "$($K logs lives -c a --since=1s)" ]
	[ "$($K logs -l app=lives -c b)" = 'from b' ]
}

execute() {
	run -7 $K exec web -- sh -c 'echo out; exit 7'
	echo "$output"
	grep -qx out <<<"$output"
	[ "$(echo through | $K exec -i web -c nginx -- cat)" = through ]
	[ "$(head -c 1000000 /dev/zero | $K exec -i web -- wc -c)" = 1000000 ]
	run script -qec "$K exec -it web -- tty" /dev/null </dev/null
	[[ $output == *"/dev/pts/"* ]]
}

copy() {
	rm -rf out in
	mkdir -p in/deep 'in/a folder/üñí'
	head -c 1000000 /dev/urandom >in/deep/blob
	: >in/empty
	echo 1 >'in/a folder/with space'
	echo 2 >'in/a folder/üñí/-dash'
	echo 3 >"in/quotes'\""
	echo 4 >'in/$(touch x)'
	echo 5 >$'in/two\nlines'
	echo 6 >"in/$(printf 'n%.0s' {1..200})"
	chmod 700 in/deep/blob
	$K cp in web:/tmp/in
	$K cp web:/tmp/in out
	diff -r in out
	[ "$($K exec web -- stat -c %a /tmp/in/deep/blob)" = 700 ]
	$K exec web -- rm -r /tmp/in
}

forward() {
	local pf port
	$K port-forward pod/web :80 :80 :81 >forwarded 2>&1 3>&- &
	pf=$!
	wait_for 30 grep -q 'Forwarding from 127.*81' forwarded
	for port in $(sed -n 's/.*127.0.0.1:\([0-9]*\) -> 80/\1/p' forwarded); do
		seq 20 | xargs -P 20 -I{} curl -sf "http://127.0.0.1:$port/" | grep -c '<title>' | grep -qx 20
	done
	run ! curl -sf "http://127.0.0.1:$(sed -n 's/.*127.0.0.1:\([0-9]*\) -> 81/\1/p' forwarded)/"     # nobody listens there
	wait_for 10 grep -q 'error forwarding port 81 to pod' forwarded
	kill $pf 2>/dev/null || true     # newer ones end by themselves then
}

attach() {
	$K attach talk >attached 2>/dev/null 3>&- &
	local p=$!
	wait_for 60 grep -q '^line ' attached
	kill $p
	[ "$(echo said | $K run said --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never -i --rm --quiet -- cat)" = said ]
	run ! $K get pod said
	run -3 $K run code --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never -i --rm --quiet -- sh -c 'exit 3'
}

examine() {   # debug: a container beside the others, and a copy of the pod; top
	if since 23; then
		[ "$($K debug web --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --target=nginx -i --quiet -- \
			sh -c 'sleep 4; tr "\0" " " </proc/1/cmdline' </dev/null)" != "" ]   # what was said before kubectl attached is not shown
		[ "$($K get pod web -o jsonpath='{.status.ephemeralContainerStatuses[-1:].state.terminated.exitCode}')" = 0 ]
	fi
	$K debug talk --copy-to=copy --set-image='main=bulkhead.example/busybox:latest' --same-node
	wait_for 120 phase_is copy Running
	$K logs copy --tail=1 | grep -q '^line '
	$K delete pod copy --now
	wait_for 120 eval "$K top pod talk --no-headers 2>/dev/null | grep -Eq '^talk +[0-9]+m +[0-9]+Mi'"
	wait_for 60 eval "$K top node --no-headers 2>/dev/null | grep -q '%'"
}

containers() {   # containers KUBECTL
	K=$CLIENTS/$1
	[ -x "$K" ] || skip "$1 is not here"
	MINOR=$($K version --client -o json | jq -r .clientVersion.minor)
	since() { [ "$MINOR" -ge "$1" ]; }
	cd "$BATS_TEST_TMPDIR"
	read_logs
	execute
	copy
	forward
	attach
	examine
}

@test "kubectl of Debian 12 (1.20)" { containers kubectl-1.20; }
@test "kubectl of Debian 13 (1.32)" { containers kubectl-1.32; }
@test "kubectl of Debian sid" { containers kubectl-sid; }
