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
	wait_for 120 phase_is talk Running
}

teardown_file() { cluster_down; }

read_logs() {
	$K logs talk --tail=2 | grep -q '^line '
	$K logs talk -c main --timestamps --since=1h | head -1 | grep -q '^20.*T.*Z line 1$'
	timeout 20 $K logs -f talk >followed || [ $? = 124 ]
	grep -qx 'line 1' followed
	[ "$(wc -l <followed)" -gt "$($K logs talk --limit-bytes=14 | wc -l)" ]
	run ! $K logs talk -c none
	[[ $output == *"container none is not valid for pod talk"* ]]
	run ! $K logs talk --previous
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
	mkdir -p in/deep
	head -c 1000000 /dev/urandom >in/deep/blob
	$K cp in web:/tmp/in
	$K cp web:/tmp/in out
	cmp in/deep/blob out/deep/blob
	$K exec web -- rm -r /tmp/in
}

forward() {
	local pf port
	$K port-forward pod/web :80 >forwarded 2>&1 3>&- &
	pf=$!
	wait_for 30 grep -q Forwarding forwarded
	port=$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p' forwarded | head -1)
	for _ in 1 2 3; do curl -sf "http://127.0.0.1:$port/" | grep -q nginx; done
	kill $pf
}

attach() {
	timeout 20 $K attach talk >attached 2>/dev/null || [ $? = 124 ]
	grep -q '^line ' attached
	[ "$(echo said | $K run said --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never -i --rm --quiet -- cat)" = said ]
	run ! $K get pod said
	run -3 $K run code --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never -i --rm --quiet -- sh -c 'exit 3'
}

examine() {   # debug: a container beside the others, and a copy of the pod; top
	if since 23; then
		[ "$($K debug web --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --target=nginx -i --quiet -- \
			sh -c 'tr "\0" " " </proc/1/cmdline' </dev/null)" != "" ]
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
