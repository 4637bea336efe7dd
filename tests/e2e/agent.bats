#!/usr/bin/env bats
# bulkhead-agent and the guest image in a real VM (bulkhead-vmx): containers, streams, volumes, limits. One VM serves most
# tests; each test names its containers by its own number and removes them.

setup_file() {
	command -v qemu-system-x86_64 >/dev/null || skip "qemu-system-x86_64 is not installed"
	export BUILD=${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}
	export VM=$BATS_FILE_TMPDIR/vm TOOL=$BUILD/tests/agent_tool
	"$BATS_TEST_DIRNAME/../agent-image" "$BATS_FILE_TMPDIR"
	boot "$VM"
	agent hello
	agent configure uid-1 web-0 scratch=scratch sysctl=net.core.somaxconn=777
}

boot() {   # DIR: a VM there
	mkdir -p "$1"
	cp --sparse=always "$BATS_FILE_TMPDIR/scratch.img" "$1/scratch.img"
	truncate -s 64M "$1/data.img"
	mkfs.ext4 -q "$1/data.img"
	"$BUILD/tests/vmx_tool" run "$1" "$BUILD/bin/bulkhead-vmx" "$BUILD/guest/vmlinux" "$BUILD/guest/initramfs.cpio" \
		--disk "image=$BATS_FILE_TMPDIR/busybox.erofs,ro" --disk "scratch=$1/scratch.img" --disk "data=$1/data.img" >/dev/null
}

teardown_file() { stop_vm "$VM"; }

stop_vm() {
	[ ! -f "$1/pid" ] || kill -9 "$(cat "$1/pid")" 2>/dev/null || true
}

setup() { ID=c$BATS_TEST_NUMBER; }

teardown() {
	if [ "${BATS_TEST_COMPLETED:-}" != 1 ]; then
		agent list >&2 || true
		cat "$VM/console.log" "$VM/vmx.log" >&2 || true
	fi
	timeout 30 "$TOOL" "$VM/vsock.sock" remove "$ID" || true
	[ -z "${OTHER:-}" ] || stop_vm "$OTHER"
}

agent() { timeout 60 "$TOOL" "$VM/vsock.sock" "$@"; }
background() { "$TOOL" "$VM/vsock.sock" "$@" 3>&- & }   # its number in $!, to be killed
eventually() {   # PATTERN COMMAND...: until its output has it
	local pattern=$1
	shift
	for _ in $(seq 200); do
		[[ "$("$@" 2>&1)" != *$pattern* ]] || return 0
		sleep 0.1
	done
	echo "never seen: $pattern" >&2
	return 1
}
run_container() {   # [options...] -- argv
	agent create "$ID" image=image "$@"
	agent start "$ID"
}

@test "a container's output, exit code and end" {
	run_container -- sh -c 'echo out; echo err >&2; exit 3'
	[ "$(agent logs "$ID" 2>&1)" = $'out\nerr' ]
	[[ "$(agent wait "$ID")" == "$ID EXITED pid="*" exit=3 signal=0 oom=0 seq=3 message=" ]]
}

@test "logs stay until acknowledged, for the next reader" {
	run_container -- sh -c 'echo one; echo two'
	agent wait "$ID"
	[ "$(agent logs "$ID" noack)" = $'one\ntwo' ]
	[ "$(agent logs "$ID" noack)" = $'one\ntwo' ]
	[ "$(agent logs "$ID")" = $'one\ntwo' ]
	[ "$(agent logs "$ID")" = "" ]
}

@test "nothing is lost when hostd is away: 8 MB of output wait in the container" {
	run_container -- sh -c 'yes 0123456789abcde | head -c 8000000; echo done >&2'
	sleep 1
	[[ "$(agent list)" == *"$ID RUNNING"* ]]
	[ "$(agent logs "$ID" 2>/dev/null | md5sum)" = "$(yes 0123456789abcde | head -c 8000000 | md5sum)" ]
	[[ "$(agent wait "$ID")" == *"exit=0"* ]]
}

@test "killed by a signal: 128 + signal" {
	run_container -- sleep 1000
	agent signal "$ID" 9
	[[ "$(agent wait "$ID")" == *"exit=137 signal=9 oom=0"* ]]
}

@test "a container's first process gets the signals it handles" {
	run_container -- sh -c 'trap "echo got; exit 5" TERM; echo ready; while :; do sleep 0.1; done'
	eventually ready timeout 1 "$TOOL" "$VM/vsock.sock" logs "$ID" noack
	agent signal "$ID" 15
	[[ "$(agent wait "$ID")" == *"exit=5 signal=0"* ]]
}

@test "out of memory is shown as such" {
	run_container memory=20000000 -- sh -c 'x=aaaaaaaa; while :; do x=$x$x; done'
	[[ "$(agent wait "$ID")" == *"exit=137 signal=9 oom=1"* ]]
}

@test "processes that a container leaves behind end with it" {
	run_container -- sh -c 'for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 1000'
	sleep 1
	agent signal "$ID" 9
	[[ "$(agent wait "$ID")" == *"exit=137"* ]]
	run agent stats
	[[ "$output" == *"container $ID"*" pids=0 "* ]]
}

@test "a command that does not exist: start fails at once, in the words of a kubelet" {
	agent create "$ID" image=image -- nosuch
	run agent start "$ID"
	[ "$status" = 1 ]
	[ "$output" = 'error 2: unable to start container process: exec: "nosuch": executable file not found in $PATH' ]
	[[ "$(agent wait "$ID")" == *"exit=128"* ]]
	[ "$(agent logs "$ID")" = "" ]
}

@test "exec: output, exit code, environment, standard input" {
	run_container -- sleep 1000
	run agent exec "$ID" env=EXTRA=more env=MARK=changed -- sh -c 'echo $MARK $EXTRA; echo no >&2; exit 7'
	[ "$status" = 7 ]
	[ "$output" = $'changed more\nno' ]
	head -c 3000000 /dev/urandom > "$BATS_TEST_TMPDIR/in"
	agent exec "$ID" stdin -- cat < "$BATS_TEST_TMPDIR/in" > "$BATS_TEST_TMPDIR/out"
	cmp "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
}

@test "exec: unknown container, missing and forbidden command" {
	run agent exec "$ID" -- true
	[ "$output" = "error 2: container '$ID' does not exist" ]
	run_container -- sleep 1000
	run agent exec "$ID" -- nosuch
	[ "$output" = 'error 2: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH' ]
	run agent exec "$ID" -- /bin/nosuch
	[ "$output" = 'error 2: exec failed: unable to start container process: exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory' ]
	run agent exec "$ID" -- not-executable
	[ "$output" = 'error 13: exec failed: unable to start container process: exec: "not-executable": permission denied' ]
}

@test "exec: terminal with its size, and the hang-up of a client that leaves" {
	run_container -- sleep 1000
	[ "$(agent exec "$ID" tty cols=123 rows=45 -- stty size | tr -d '\r')" = "45 123" ]
	background exec "$ID" tty -- sleep 777
	eventually "sleep 777" agent exec "$ID" -- ps
	kill $!
	sleep 1
	[[ "$(agent exec "$ID" -- ps)" != *"sleep 777"* ]]
}

@test "exec: the process of a client that leaves is hung up" {
	run_container -- sleep 1000
	background exec "$ID" -- sh -c 'trap "" HUP; sleep 888'
	stubborn=$!
	background exec "$ID" -- sleep 999
	eventually "sleep 888" agent exec "$ID" -- ps
	eventually "sleep 999" agent exec "$ID" -- ps
	kill $! "$stubborn"
	sleep 1
	[[ "$(agent exec "$ID" -- ps)" != *"sleep 999"* ]]
	sleep 5   # then it is killed
	[[ "$(agent exec "$ID" -- ps)" != *"sleep 888"* ]]
}

@test "exec: a process left behind does not hold the session" {
	run_container -- sleep 1000
	run timeout 10 "$TOOL" "$VM/vsock.sock" exec "$ID" -- sh -c 'sleep 500 & echo started'
	[ "$status" = 0 ]
	[ "$output" = started ]
}

@test "exec: time limit of a probe" {
	run_container -- sleep 1000
	run agent exec "$ID" timeout=300 -- sleep 100
	[ "$status" = 137 ]
	[ "$output" = "timed out" ]
}

@test "exec: 20 at once" {
	run_container -- sleep 1000
	for i in $(seq 20); do agent exec "$ID" -- sh -c "echo $i" > "$BATS_TEST_TMPDIR/out$i" & done
	wait
	[ "$(cat "$BATS_TEST_TMPDIR"/out* | sort -n | tr '\n' ' ')" = "$(seq 20 | tr '\n' ' ')" ]
}

@test "attach: from creation on, standard input, exit code" {
	agent create "$ID" image=image stdin=1 once=1 -- sh -c 'while read -r l; do echo "got $l"; done; exit 4'
	(sleep 0.5; agent start "$ID") 3>&- &
	code=0
	(echo a; echo b) | agent attach "$ID" stdin > "$BATS_TEST_TMPDIR/out" || code=$?
	[ "$code" = 4 ]
	[[ "$(agent wait "$ID")" == *"exit=4"* ]]
	[ "$(cat "$BATS_TEST_TMPDIR/out")" = $'got a\ngot b' ]
}

@test "attach: terminal" {
	agent create "$ID" image=image tty=1 stdin=1 -- sh
	agent start "$ID"
	(sleep 0.5; echo 'stty size; exit 6'; sleep 2) | agent attach "$ID" stdin cols=99 rows=33 > "$BATS_TEST_TMPDIR/out" || true
	[[ "$(cat "$BATS_TEST_TMPDIR/out")" == *"33 99"* ]]
	[[ "$(agent wait "$ID")" == *"exit=6"* ]]
}

@test "port: HTTP on the pod's loopback, half-close kept, nobody there" {
	run_container -- sh -c 'mkdir /tmp/w; echo page > /tmp/w/index.html; httpd -p 127.0.0.1:8080 -h /tmp/w; nc -l -p 9090 -e md5sum'
	eventually 9090 agent exec "$ID" -- netstat -tln
	run bash -c "printf 'GET /index.html HTTP/1.0\r\n\r\n' | timeout 20 $TOOL $VM/vsock.sock port 8080"
	[[ "$output" == *"200 OK"*"page" ]]
	head -c 1000000 /dev/zero > "$BATS_TEST_TMPDIR/in"
	[ "$(timeout 20 "$TOOL" "$VM/vsock.sock" port 9090 < "$BATS_TEST_TMPDIR/in" | cut -c1-32)" = "$(md5sum < "$BATS_TEST_TMPDIR/in" | cut -c1-32)" ]
	run agent port 9999
	[ "$output" = "error 111: connect to port 9999 of the pod: Connection refused" ]
}

@test "users: by name, number, group; supplementary groups; runAsNonRoot" {
	run_container user=web -- id
	[ "$(agent logs "$ID")" = "uid=1000(web) gid=1001(web) groups=1001(web),2000(extra)" ]
	agent remove "$ID"
	run_container user=1234:extra fsgroup=3000 -- sh -c 'id -u; id -g; id -G; echo x > /dev/stdout'
	[ "$(agent logs "$ID")" = $'1234\n2000\n2000 3000\nx' ]
	agent remove "$ID"
	run agent create "$ID" image=image user=nobody-here -- id
	[ "$output" = "error 2: unable to find user nobody-here: no matching entries in passwd file" ]
	run agent create "$ID" image=image nonroot=1 -- id
	[ "$output" = "error 129: container has runAsNonRoot and image will run as root" ]
}

@test "the pod's files, host name, processes and system controls" {
	run_container -- sh -c 'hostname; cat /etc/hostname /etc/resolv.conf /etc/hosts; cat /proc/sys/net/core/somaxconn; echo $$; cat /proc/self/personality; cat /proc/self/oom_score_adj; ulimit -n'
	[ "$(agent logs "$ID")" = $'web-0\nweb-0\nnameserver 192.0.2.53\n127.0.0.1 localhost\n777\n1\n00000000\n0\n1048576' ]
}

@test "termination message" {
	run_container -- sh -c 'echo the reason > /dev/termination-log; exit 1'
	[[ "$(agent wait "$ID")" == *"exit=1 "*" message=the reason" ]]
}

@test "the root is the container's own, and limited" {
	run_container limit=8000000 -- sh -c 'echo x > /bin/new && cat /bin/new; dd if=/dev/zero of=/big bs=1M count=20 2>&1 | grep -o "quota exceeded"; sleep 1000'
	eventually "quota exceeded" timeout 1 "$TOOL" "$VM/vsock.sock" logs "$ID" noack
	run agent stats
	[[ "$output" =~ container\ $ID\ .*\ writable=(7|8)[0-9]{6} ]]
	agent signal "$ID" 9
	agent remove "$ID"
	run_container -- ls /bin/new
	[[ "$(agent wait "$ID")" == *"exit=1"* ]]
}

@test "volumes: emptyDir shared by containers, memory with a size, sub path" {
	run_container mount=emptydir:shared:/data mount=tmpfs:mem:/mem:size=1048576 fsgroup=3000 -- \
		sh -c 'mkdir /data/sub; echo one > /data/sub/f; df -k /mem | tail -1 | tr -s " " | cut -d" " -f2; stat -c %g:%a /data'
	agent wait "$ID"
	[ "$(agent logs "$ID")" = $'1024\n3000:2777' ]
	agent remove "$ID"
	run_container mount=emptydir:shared:/there:sub mount=emptydir:shared:/made:a/b -- sh -c 'cat /there/f; ls /made; echo two > /made/g'
	agent wait "$ID"
	[ "$(agent logs "$ID")" = one ]
	agent remove "$ID"
	run_container mount=emptydir:shared:/data -- sh -c 'cat /data/a/b/g; ln -s /etc /data/out'
	agent wait "$ID"
	[ "$(agent logs "$ID")" = two ]
	agent remove "$ID"
	run agent create "$ID" image=image mount=emptydir:shared:/x:out -- true
	[ "$output" = "error 22: subPath 'out' leads out of its volume" ]
	run agent create "$ID" image=image mount=emptydir:shared:/x:../x -- true
	[ "$output" = "error 22: subPath '../x' must be a relative path without '..'" ]
}

@test "volumes: files change in place, all at once" {
	agent files settings a=1 dir/b=2
	run_container mount=files:settings:/cfg -- sh -c 'cat /cfg/a /cfg/dir/b; while [ "$(cat /cfg/a)" = 1 ]; do sleep 0.1; done; cat /cfg/a; ls /cfg'
	sleep 0.5
	agent files settings a=3 c=4
	[[ "$(agent wait "$ID")" == *"exit=0"* ]]
	[ "$(agent logs "$ID" | tr '\n' ' ')" = "123a c " ]
}

@test "volumes: a disk, and a block device" {
	run_container mount=disk:data:/data -- sh -c 'echo kept > /data/f; df -k /data | tail -1 | grep -c /data'
	[[ "$(agent wait "$ID")" == *"exit=0"* ]]
	agent remove "$ID"
	run_container mount=block:scratch:/dev/disk0 -- sh -c 'dd if=/dev/disk0 bs=1 skip=1080 count=2 2>/dev/null | od -An -tx1'
	agent wait "$ID"
	[ "$(agent logs "$ID")" = " 53 ef" ]
	run agent disk nothing 200
	[ "$output" = "error 19: no disk has the serial number 'nothing'" ]
	agent disk data 1000
}

@test "resources of a running container can be changed" {
	run_container -- sh -c 'while ! [ "$(cat /sys/fs/cgroup/memory.max)" = 33554432 ]; do sleep 0.1; done; echo ok'
	agent resources "$ID" '{"memory":{"limit":33554432}}'
	[[ "$(agent wait "$ID")" == *"exit=0"* ]]
}

@test "a pod that shares its processes" {
	OTHER=$BATS_TEST_TMPDIR/vm
	boot "$OTHER"
	VM=$OTHER
	agent configure uid-2 shared scratch=scratch sharepid=1
	agent create one image=image -- sleep 1234
	agent start one
	run_container -- sh -c 'ps | grep -c "[s]leep 1234"; ps | head -2 | tail -1'
	run agent logs "$ID"
	[ "${lines[0]}" = 1 ]
	[[ "${lines[1]}" != *"bulkhead"* ]]
	agent signal one 9
	[[ "$(agent wait one)" == *"exit=137"* ]]
}

@test "shutdown ends the VM and keeps what was written" {
	OTHER=$BATS_TEST_TMPDIR/vm
	boot "$OTHER"
	VM=$OTHER
	agent configure uid-3 last scratch=scratch
	run_container mount=disk:data:/data -- sh -c 'echo kept > /data/f; sleep 1000'
	sleep 0.5
	agent shutdown
	for _ in $(seq 100); do kill -0 "$(cat "$OTHER/pid")" 2>/dev/null || break; sleep 0.1; done
	! kill -0 "$(cat "$OTHER/pid")" 2>/dev/null || [ "$(sed 's/.*) //; s/ .*//' "/proc/$(cat "$OTHER/pid")/stat")" = Z ]
	[ "$(debugfs -R 'cat /f' "$OTHER/data.img" 2>/dev/null)" = kept ]
	dumpe2fs -h "$OTHER/data.img" 2>/dev/null | grep -q 'Filesystem state: *clean'
	! dumpe2fs -h "$OTHER/data.img" 2>/dev/null | grep -q needs_recovery
}
