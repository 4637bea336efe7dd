#!/usr/bin/env bats
# bulkhead-vmx with a real guest: boot, vsock, disks, ends. Needs qemu-system-x86_64 and the guest image in
# $BULKHEAD_BUILD/guest, of which tests/vmx-guest makes the tests' own in $BULKHEAD_BUILD/vmx-guest.

setup_file() {
	command -v qemu-system-x86_64 >/dev/null || skip "qemu-system-x86_64 is not installed"
	export BUILD=${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}
	export GUEST=$BUILD/vmx-guest
	"$BATS_TEST_DIRNAME/../vmx-guest" "$BUILD/guest" "$GUEST" >&2
	export TOOL=$BUILD/tests/vmx_tool VMX=$BUILD/bin/bulkhead-vmx
}

setup() {
	DIR=$(mktemp -d "$BATS_TEST_TMPDIR/vm.XXXX")
}

teardown() {
	[ -z "${NETNS:-}" ] || ip netns del "$NETNS" 2>/dev/null || true
	if [ -f "$DIR/pid" ]; then
		kill -9 "$(cat "$DIR/pid")" 2>/dev/null || true
	fi
	umount -l "$DIR/small" 2>/dev/null || true
	[ "${BATS_TEST_COMPLETED:-}" = 1 ] || cat "$DIR"/vmx.log "$DIR"/console.log >&2 || true
}

start() { "$TOOL" run "$DIR" "$VMX" "$GUEST/vmlinux" "$GUEST/initrd" "$@"; }
ask() { echo "$*" | "$TOOL" connect "$DIR" 8 60000; }   # one command to the guest, as soon as it answers
engine_pid() { "$TOOL" status "$DIR" | sed 's/.*engine_pid=\([0-9]*\).*/\1/'; }

gone() {   # waits until a process has ended; PID SECONDS
	for _ in $(seq $(($2 * 50))); do
		[ -d "/proc/$1" ] && [ "$(sed 's/.*) //; s/ .*//' "/proc/$1/stat")" != Z ] || return 0
		sleep 0.02
	done
	echo "process $1 still runs" >&2
	return 1
}

@test "a guest boots and answers on vsock" {
	run start
	[ "$status" = 0 ]
	[ "$output" = '{"state":"running"}' ]
	[[ "$(ask cmdline)" == *tsc_early_khz=[0-9]* ]]
	run "$TOOL" status "$DIR"
	[[ "$output" == "state=1 engine=0 "* ]]
	[[ "$output" != *" boot_us=0 "* ]]
}

@test "50 connections at once, each closing its side first, get back what they sent" {
	start
	ask cmdline
	run "$TOOL" echo "$DIR" 7 50 100000
	[ "$status" = 0 ]
	[[ "$output" == "50 of 50 "* ]]
}

@test "a client that does not read holds up nobody" {
	start
	ask cmdline
	(echo 100000000; sleep 20) | "$TOOL" connect "$DIR" 10 | sleep 20 3>&- &
	slow=$!
	sleep 0.3
	run timeout 10 "$TOOL" echo "$DIR" 7 10 20000
	[ "$status" = 0 ]
	kill "$slow"
}

@test "a port on which nobody listens is refused at once" {
	start
	ask cmdline
	run timeout 5 "$TOOL" connect "$DIR" 4242
	[ "$status" = 1 ]
	[ "$output" = refused ]
}

@test "disks: serial, size, read-only, write, read, discard, zeroes" {
	truncate -s 8M "$DIR/a.raw"
	head -c 4M /dev/urandom >"$DIR/b.raw"
	start --disk "a=$DIR/a.raw" --disk "b=$DIR/b.raw,ro" --vcpus 2
	[ "$(ask disk a size)" = 8388608 ]
	[ "$(ask disk b size)" = 4194304 ]
	[ "$(ask disk a ro)" = 0 ]
	[ "$(ask disk b ro)" = 1 ]
	[ "$(ask disk a write 1048576 65 3000000)" = ok ]
	cmp <(tail -c +1048577 "$DIR/a.raw" | head -c 3000000) <(head -c 3000000 /dev/zero | tr '\0' A)
	cp "$DIR/b.raw" "$DIR/b.copy"
	dd if="$DIR/b.raw" of="$DIR/a.raw" conv=notrunc status=none
	[ "$(ask disk a sum 0 4194304)" = "$(ask disk b sum 0 4194304)" ]
	[ "$(ask disk a zero 1048576 65536)" = ok ]
	[ "$(ask disk a discard 2097152 1048576)" = ok ]
	cmp <(tail -c +1048577 "$DIR/a.raw" | head -c 65536) <(head -c 65536 /dev/zero)
	[ "$(ask disk b write 0 1 512)" = "Operation not permitted" ]
	cmp "$DIR/b.raw" "$DIR/b.copy"
}

@test "the host's disk is full: a write of the guest waits for space, and nothing is lost" {
	mkdir "$DIR/small"
	mount -t tmpfs -o size=6M none "$DIR/small" || skip "no file system can be mounted here"
	head -c 16M /dev/urandom >"$DIR/base.raw"
	"$BUILD/bin/bulkhead-disk" clone "$DIR/base.raw" "$DIR/small/a.bhd"
	start --disk "a=$DIR/small/a.bhd"
	base=$(ask disk a sum 8388608 4194304)
	[ "$(ask disk a write 0 65 4000000)" = ok ]
	first=$(ask disk a sum 0 3997696)
	ask disk a write 8388608 66 4194304 >"$DIR/answer" &
	for _ in $(seq 100); do
		! grep -q 'no room for what the guest writes' "$DIR/vmx.log" || break
		sleep 0.1
	done
	grep -q 'no room for what the guest writes, which waits serial=a' "$DIR/vmx.log"
	sleep 1.5                              # tried again, in vain
	[ ! -s "$DIR/answer" ]
	mount -o remount,size=64M "$DIR/small"
	wait $!
	[ "$(cat "$DIR/answer")" = ok ]
	[ "$(ask disk a sum 8388608 4194304)" != "$base" ]
	[ "$(ask disk a sum 0 3997696)" = "$first" ]
	"$TOOL" kill "$DIR"
	gone "$(cat "$DIR/pid")" 10
	"$BUILD/bin/bulkhead-disk" check "$DIR/small/a.bhd"
	"$BUILD/bin/bulkhead-disk" export "$DIR/small/a.bhd" "$DIR/out.raw" --format raw
	cmp <(head -c 4000000 "$DIR/out.raw") <(head -c 4000000 /dev/zero | tr '\0' A)
	cmp <(tail -c +8388609 "$DIR/out.raw" | head -c 4194304) <(head -c 4194304 /dev/zero | tr '\0' B)
	cmp <(tail -c 4194304 "$DIR/out.raw") <(tail -c 4194304 "$DIR/base.raw")
}

@test "a disk grows under a running guest" {
	truncate -s 8M "$DIR/a.raw"
	start --disk "a=$DIR/a.raw"
	[ "$(ask disk a size)" = 8388608 ]
	run "$TOOL" resize "$DIR" a
	[ "$output" = 'error 114: disk "a" has the size that the guest knows' ]
	truncate -s 16M "$DIR/a.raw"
	[ "$("$TOOL" resize "$DIR" a)" = ok ]
	for _ in $(seq 50); do
		size=$(ask disk a size)
		[ "$size" = 8388608 ] || break
		sleep 0.05
	done
	[ "$size" = 16777216 ]
	[ "$(ask disk a write 16773120 65 4096)" = ok ]
	run "$TOOL" resize "$DIR" b
	[ "$output" = 'error 2: there is no disk with the serial "b"' ]
}

@test "SIGKILL of QEMU ends vmx, which says so" {
	start
	vmx=$(cat "$DIR/pid")
	kill -9 "$(engine_pid)"
	gone "$vmx" 5
	grep -q 'ended: QEMU was killed by signal 9' "$DIR/vmx.log"
}

@test "SIGKILL of vmx ends QEMU" {
	start
	qemu=$(engine_pid)
	kill -9 "$(cat "$DIR/pid")"
	gone "$qemu" 5
}

@test "SIGTERM and the stop message end both" {
	start
	qemu=$(engine_pid)
	kill "$(cat "$DIR/pid")"
	gone "$(cat "$DIR/pid")" 5
	gone "$qemu" 5
	start
	qemu=$(engine_pid)
	[ "$("$TOOL" kill "$DIR")" = ok ]
	gone "$(cat "$DIR/pid")" 5
	gone "$qemu" 5
	grep -q 'ended: stopped on request' "$DIR/vmx.log"
}

@test "power off, reboot and panic of the guest are told apart" {
	for how in poweroff:'the guest powered off' reboot:'the guest rebooted' panic:"the guest's kernel panicked: Attempted to kill init"; do
		start
		ask "${how%%:*}" >/dev/null || true
		gone "$(cat "$DIR/pid")" 10
		grep -q "ended: ${how#*:}" "$DIR/vmx.log"
	done
}

@test "an unprivileged user of its own, without capabilities" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	truncate -s 1M "$DIR/a.raw"
	start --uid 200001 --disk "a=$DIR/a.raw"
	[ "$(ask disk a write 0 66 4096)" = ok ]
	for pid in "$(cat "$DIR/pid")" "$(engine_pid)"; do
		grep -q '^Uid:.200001.200001.200001.200001$' "/proc/$pid/status"
		grep -q '^Groups:[[:space:]]*$' "/proc/$pid/status"
		grep -q '^CapBnd:.0000000000000000$' "/proc/$pid/status"
		grep -q '^CapEff:.0000000000000000$' "/proc/$pid/status"
		grep -q '^NoNewPrivs:.1$' "/proc/$pid/status"
		grep -q '^Seccomp:.2$' "/proc/$pid/status"
		for n in mnt net ipc pid; do
			[ "$(readlink "/proc/$pid/ns/$n")" != "$(readlink "/proc/self/ns/$n")" ]
		done
		# Programs and libraries, which nobody can write; a /proc of the two of them.
		[ "$(ls "/proc/$pid/root" | tr '\n' ' ')" = "bin dev etc lib lib64 proc usr " ]
		[ "$(ls "/proc/$pid/root/dev" "/proc/$pid/root/etc" | grep -vx 'alternatives\|ld.so.cache\|null\|urandom\|.*:\|')" = "" ]
		[ "$(ls "/proc/$pid/root/proc" | grep -c '^[0-9]')" = 2 ]
		! touch "/proc/$pid/root/x" 2>/dev/null
		! touch "/proc/$pid/root/usr/x" 2>/dev/null
		grep -Eq '^Max core file size +0 +0 ' "/proc/$pid/limits"
		grep -Eq '^Max open files +4096 +4096 ' "/proc/$pid/limits"
		grep -Eq '^Max processes +256 +256 ' "/proc/$pid/limits"
	done
	[ "$(sed -n 's/^NSpid:.*\t//p' "/proc/$(cat "$DIR/pid")/status")" = 1 ]
}

@test "a network card on a TAP" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	NETNS=vmx-test-$$
	ip netns add "$NETNS"
	ip netns exec "$NETNS" ip tuntap add mode tap vnet_hdr name tap0
	ip netns exec "$NETNS" ip link set tap0 up
	ip netns exec "$NETNS" "$TOOL" run "$DIR" "$VMX" "$GUEST/vmlinux" "$GUEST/initrd" --tap tap0=02:00:00:00:be:ef --uid 200001
	[ "$(ask net)" = 02:00:00:00:be:ef ]
	for _ in $(seq 100); do
		got=$(ip netns exec "$NETNS" cat /sys/class/net/tap0/statistics/rx_packets)
		[ "$got" = 0 ] || break
		sleep 0.05
	done
	[ "$got" -gt 0 ]
}

@test "the console is recorded up to its limit" {
	start --console-max 10
	ask cmdline
	[ "$(stat -c %s "$DIR/console.log")" = 10 ]
}

@test "what is wrong with a configuration is said in one sentence" {
	run start --vcpus 0
	[ "$status" = 1 ]
	[ "$output" = '{"state":"failed","error":"configuration: \"vcpus\" must be a number from 1 to 32"}' ]
	run start --disk "a=$DIR/none.raw"
	[ "$status" = 1 ]
	[[ "$output" == *'"state":"failed"'*'disk \"a\": '*'No such file'* ]]
	run start --engine xen
	[[ "$output" == *'engine \"xen\" is not known'* ]]
	run env PATH=/nowhere "$VMX" --config-fd 99
	[ "$status" = 1 ]
}
