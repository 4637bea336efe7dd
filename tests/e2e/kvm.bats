#!/usr/bin/env bats
# The KVM engine with tiny guests of our own (tests/tiny), on any /dev/kvm that runs a few thousand instructions. Stock
# guests run in the lab (`make lab`).

setup_file() {
	[ -w /dev/kvm ] || skip "/dev/kvm cannot be used"
	export BUILD=${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}
	export TOOL=$BUILD/tests/vmx_tool VMX=$BUILD/bin/bulkhead-vmx TINY=$BATS_FILE_TMPDIR
	for t in hello disk rogue chaos storm ends work later; do
		"$BATS_TEST_DIRNAME/../tiny/build" "$TINY/$t" "$BATS_TEST_DIRNAME/../tiny/$t.c"
	done
	"$BATS_TEST_DIRNAME/../tiny/build-linux" "$TINY"
	printf 'seed\n' >"$TINY/initrd"
}

setup() {
	DIR=$(mktemp -d "$BATS_TEST_TMPDIR/vm.XXXX")
}

teardown() {
	[ -z "${NETNS:-}" ] || ip netns del "$NETNS" 2>/dev/null || true
	for pid in "$DIR"/pid "$DIR"/*/pid; do
		[ ! -f "$pid" ] || kill -9 "$(cat "$pid")" 2>/dev/null || true
	done
	[ "${BATS_TEST_COMPLETED:-}" = 1 ] || cat "$DIR"/{,*/}{vmx.log,console.log} >&2 2>/dev/null || true
}

start() { local guest=$1; shift; "$TOOL" run "$DIR" "$VMX" "$TINY/$guest" "$TINY/initrd" --engine kvm "$@"; }

gone() {   # SECONDS
	local pid; pid=$(cat "$DIR/pid")
	for _ in $(seq $(($1 * 50))); do
		[ -d "/proc/$pid" ] && [ "$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat")" != Z ] || return 0
		sleep 0.02
	done
	echo "vmx still runs" >&2
	return 1
}

passed() {   # the guest said "ok" to everything, to the end
	gone 20
	cat "$DIR/console.log"
	grep -q '^done' "$DIR/console.log"
	! grep -q FAILED "$DIR/console.log"
	grep -q 'ended: the guest powered off' "$DIR/vmx.log"
}

@test "boot protocol, ports, empty addresses" {
	start hello --cmdline tiny=1
	passed
}

@test "a disk, and a driver that breaks every rule" {
	head -c 4096 /dev/zero | tr '\0' B >"$DIR/a.raw"
	start disk --disk "a=$DIR/a.raw"
	passed
	cmp <(tail -c +1537 "$DIR/a.raw" | head -c 512) <(head -c 512 /dev/zero | tr '\0' W)
	cmp <(head -c 1536 "$DIR/a.raw") <(head -c 1536 /dev/zero | tr '\0' B)
}

@test "a driver that breaks the rules of every device, changes descriptors in use, touches every port" {
	truncate -s 1M "$DIR/a.raw"
	start rogue --disk "a=$DIR/a.raw"
	gone 60
	cat "$DIR/console.log"
	grep -q '^done' "$DIR/console.log"
	! grep -q FAILED "$DIR/console.log"
	grep -q 'ended: the guest powered off' "$DIR/vmx.log"
}

@test "the same with a network card on a TAP" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	export NETNS=kvm-rogue-$$
	ip netns add "$NETNS"
	truncate -s 1M "$DIR/a.raw"
	ip netns exec "$NETNS" "$TOOL" run "$DIR" "$VMX" "$TINY/rogue" "$TINY/initrd" --engine kvm --disk "a=$DIR/a.raw" --tap "tap0=02:00:00:00:be:ef,3"
	gone 60
	ip netns del "$NETNS"
	cat "$DIR/console.log"
	grep -q '^card' "$DIR/console.log"
	grep -q '^done' "$DIR/console.log"
	! grep -q FAILED "$DIR/console.log"
}

@test "a driver that does anything, in every device" {
	truncate -s 1M "$DIR/a.raw"
	for seed in $(seq "${CHAOS_SEEDS:-3}"); do
		start chaos --disk "a=$DIR/a.raw" --cmdline "seed-$seed"
		gone 120
		grep -Eq 'ended: the guest (powered off|rebooted)' "$DIR/vmx.log"   # not vmx: the guest
		grep -q '^done' "$DIR/console.log"
		! grep -q FAILED "$DIR/console.log"
		! grep -qi sanitizer "$DIR/vmx.log"
	done
}

@test "the ways to end are told apart" {
	for how in triple:'the guest rebooted' i8042:'the guest rebooted' acpi:'the guest rebooted'; do
		start ends --cmdline "${how%%:*}"
		gone 5
		grep -q "ended: ${how#*:}" "$DIR/vmx.log"
	done
}

@test "the power button reaches the guest" {
	start ends --cmdline button
	sleep 0.2
	[ "$("$TOOL" button "$DIR")" = ok ]
	gone 5
	grep -q 'ended: the guest powered off' "$DIR/vmx.log"
}

@test "a guest that hangs is killed at once, with two processors as well" {
	for n in 1 2; do
		start ends --cmdline hang --vcpus "$n"
		[ "$("$TOOL" kill "$DIR")" = ok ]
		gone 2
		grep -q 'ended: stopped on request' "$DIR/vmx.log"
	done
}

@test "a storm of kicks, registers and console bytes: vmx answers and can be stopped" {
	truncate -s 1M "$DIR/a.raw"
	start storm --disk "a=$DIR/a.raw" --console-max 100
	for _ in $(seq 500); do
		[ "$(stat -c %s "$DIR/console.log")" -lt 100 ] || break
		sleep 0.02
	done
	run timeout 20 "$TOOL" status "$DIR"
	[ "$status" = 0 ]
	[[ "$output" == "state=1 engine=1 "* ]]
	[ "$(stat -c %s "$DIR/console.log")" = 100 ]
	kill "$(cat "$DIR/pid")"
	gone 2
	! grep -qi sanitizer "$DIR/vmx.log"
}

@test "a kernel that cannot be booted is refused in one sentence" {
	run start initrd
	[ "$status" = 1 ]
	[[ "$output" == *'the kernel is neither an x86-64 ELF file (vmlinux) nor a bzImage'* ]]
	head -c 3000 "$TINY/hello" >"$TINY/short"
	run start short
	[ "$status" = 1 ]
	[[ "$output" == *"the kernel's file is truncated"* ]]
	head -c 900 "$TINY/bzimage" >"$TINY/short"
	run start short
	[ "$status" = 1 ]
	[[ "$output" == *"the kernel's file is truncated"* ]]
	{ head -c 518 "$TINY/bzimage"; printf '\004\002'; tail -c +521 "$TINY/bzimage"; } >"$TINY/old"
	run start old
	[ "$status" = 1 ]
	[[ "$output" == *'a bzImage of boot protocol 2.04; wanted: 2.12 or later'* ]]
	{ head -c 608 "$TINY/bzimage"; printf '\0\0\0\177'; tail -c +613 "$TINY/bzimage"; } >"$TINY/big"
	run start big
	[ "$status" = 1 ]
	[[ "$output" == *'to unpack itself, more than this VM has'* ]]
}

@test "an ELF kernel without PVH note and a bzImage are booted as Linux wants it" {
	for k in elf64 bzimage; do
		start $k
		gone 5
		[ "$(cat "$DIR/console.log")" = L ]
		grep -q 'ended: the guest powered off' "$DIR/vmx.log"
	done
}

work() { local dir=$1; shift; "$TOOL" run "$dir" "$VMX" "$TINY/work" "$TINY/initrd" --engine kvm --memory 32 --disk "a=$DIR/a.raw" "$@"; }

killed() {   # DIR
	local pid; pid=$(cat "$1/pid")
	kill -9 "$pid"
	# A zombie's other threads may still hold its files.
	while [ -d "/proc/$pid" ] && ! { grep -q '^State:.Z' "/proc/$pid/status" && [ "$(ls "/proc/$pid/task")" = "$pid" ]; }; do
		sleep 0.005
	done
}

busy() {   # DIR OPERATIONS: waits until its disk has done so many
	for _ in $(seq 500); do
		[ "$("$TOOL" status "$1" | sed 's/.*disk_ops=\([0-9]*\).*/\1/')" -lt "$2" ] || return 0
		sleep 0.02
	done
	return 1
}

@test "disk requests and vsock packets leave the guest for the kernel only: no exit to vmx" {
	truncate -s 1M "$DIR/a.raw"
	mkdir "$DIR/0"
	value() { "$TOOL" status "$DIR/0" | sed "s/.* $1=\([0-9]*\).*/\1/"; }
	work "$DIR/0"
	busy "$DIR/0" 20
	local before; before=$(value exits_mmio)
	busy "$DIR/0" 400
	"$TOOL" echo "$DIR/0" 7 1 100000
	echo "exits to vmx for device registers: $before after 20 requests, $(value exits_mmio) after $(value disk_ops) and 100 kB of echo"
	[ "$before" -gt 50 ]                     # the drivers' set-up
	[ "$(value exits_mmio)" = "$before" ]
}

@test "a VM is saved and restored again and again, in the middle of disk and vsock I/O" {
	truncate -s 1M "$DIR/a.raw"
	mkdir "$DIR"/{0,1}
	work "$DIR/0"
	local now=0 next broken=0 whole=0
	for i in $(seq "${SAVE_CYCLES:-12}"); do
		next=$((1 - now))
		busy "$DIR/$now" 20
		"$TOOL" echo "$DIR/$now" 7 1 300000 >"$DIR/echo" 2>&1 &
		sleep "0.0$((i % 8))"
		[ "$("$TOOL" save "$DIR/$now" "$DIR/saved$now")" = ok ]
		[[ "$("$TOOL" status "$DIR/$now")" == "state=2 "* ]]
		killed "$DIR/$now"
		if wait $!; then whole=$((whole + 1)); else broken=$((broken + 1)); fi
		! grep -q 'ended with 5' "$DIR/echo"   # bytes that are not those of the guest
		! grep -q FAILED "$DIR/$now/console.log"
		work "$DIR/$next" --restore "$DIR/saved$now"
		"$TOOL" echo "$DIR/$next" 7 2 3000
		now=$next
	done
	echo "echoes cut by a save: $broken, whole before it: $whole"
	busy "$DIR/$now" 20
	"$TOOL" button "$DIR/$now"
	for _ in $(seq 500); do
		grep -q 'ended: the guest powered off' "$DIR/$now/vmx.log" && break
		sleep 0.02
	done
	cat "$DIR/$now/console.log"
	grep -q '^done' "$DIR/$now/console.log"
	! grep -q FAILED "$DIR/$now/console.log"
}

@test "memory that comes page by page: from boot, saved, and restored from the file" {
	truncate -s 1M "$DIR/a.raw"
	mkdir "$DIR"/{0,1}
	work "$DIR/0" --paged yes
	"$TOOL" page "$DIR/0" >"$DIR/faults" &
	busy "$DIR/0" 20
	"$TOOL" echo "$DIR/0" 7 2 3000
	[ "$("$TOOL" save "$DIR/0" "$DIR/s")" = ok ]
	killed "$DIR/0"
	wait $!
	[ "$(cat "$DIR/faults")" -gt 3 ]
	cp "$DIR/a.raw" "$DIR/then.raw"   # the guest's memory says what is on its disk
	# A clone: what is brought at once is the memory's file, here none of it; the rest comes from the pager.
	ln "$DIR/s.state" "$DIR/none.state"
	truncate -s 32M "$DIR/none.memory"
	work "$DIR/1" --paged yes --restore "$DIR/none"
	sleep 0.3   # nobody brings a page yet; the VM waits, vmx does not
	[[ "$("$TOOL" status "$DIR/1")" == "state=1 "*" disk_ops=0 "* ]]
	"$TOOL" page "$DIR/1" "$DIR/s.memory" >"$DIR/faults" &
	busy "$DIR/1" 20
	"$TOOL" echo "$DIR/1" 7 2 3000
	"$TOOL" button "$DIR/1"
	wait $!
	cat "$DIR/1/console.log" "$DIR/faults"
	grep -q '^done' "$DIR/1/console.log"
	local some; some=$(cat "$DIR/faults")
	[ "$some" -gt 3 ]
	[ "$some" -lt 100 ]   # of 8192

	# All of it at once: what is left are pages that were never written.
	mkdir "$DIR/2"
	cp "$DIR/then.raw" "$DIR/a.raw"
	work "$DIR/2" --paged yes --restore "$DIR/s"
	"$TOOL" page "$DIR/2" "$DIR/s.memory" >"$DIR/faults" &
	busy "$DIR/2" 20
	"$TOOL" button "$DIR/2"
	wait $!
	grep -q '^done' "$DIR/2/console.log"
	echo "pages brought: $some, with the memory's file $(cat "$DIR/faults")"
	[ "$(cat "$DIR/faults")" -lt "$some" ]
}

@test "what cannot be restored is refused in one sentence" {
	truncate -s 1M "$DIR/a.raw"
	mkdir "$DIR"/{0,1}
	work "$DIR/0"
	busy "$DIR/0" 20
	"$TOOL" save "$DIR/0" "$DIR/s"
	killed "$DIR/0"
	refused() {   # SENTENCE [options]: they go last and win
		local sentence=$1; shift
		run work "$DIR/1" --restore "$DIR/s" "$@"
		echo "$output"
		[ "$status" = 1 ]
		[[ "$output" == *"$sentence"* ]]
	}
	refused 'a VM of 1 processors and 32 MiB was saved, and this one has 2 and 32 MiB' --vcpus 2
	refused 'the saved memory has 33554432 bytes, and this VM has 67108864' --memory 64
	run "$TOOL" run "$DIR/1" "$VMX" "$TINY/work" "$TINY/initrd" --engine kvm --memory 32 --restore "$DIR/s"
	[[ "$output" == *'a device was saved in slot 7, where this VM has none'* ]]
	cp "$DIR/s.state" "$DIR/good"
	printf '\377' | dd of="$DIR/s.state" bs=1 seek=500 conv=notrunc 2>/dev/null
	refused 'the saved state is damaged: its checksum is wrong'
	printf '\011' | dd of="$DIR/s.state" bs=1 seek=8 conv=notrunc 2>/dev/null
	refused 'the saved state has version 9, and this vmx restores version 2 only'
	head -c 1000 "$DIR/good" >"$DIR/s.state"
	refused 'the saved state has 1000 bytes instead of'
	printf hello >"$DIR/s.state"
	refused 'the saved state is cut off'
	cp "$DIR/good" "$DIR/s.state"
	work "$DIR/1" --restore "$DIR/s"
	busy "$DIR/1" 20
	run timeout 5 "$TOOL" save "$DIR/1" "$DIR/s"
	[[ "$output" == "error "*"the VM's own memory comes from that file" ]]
	ln -s /dev/full "$DIR/full.memory"
	run timeout 5 "$TOOL" save "$DIR/1" "$DIR/full"
	[[ "$output" == "error "*"set the length of the memory's file: "* ]]
	busy "$DIR/1" 40                              # and it runs on
}

@test "a clone's own devices appear fresh beside those of the template" {
	truncate -s 1M "$DIR/a.raw" "$DIR/b.raw"
	mkdir "$DIR"/{0,1}
	work "$DIR/0" --template yes
	busy "$DIR/0" 20
	"$TOOL" save "$DIR/0" "$DIR/s"
	killed "$DIR/0"
	work "$DIR/1" --restore "$DIR/s" --disk "b=$DIR/b.raw"
	busy "$DIR/1" 20
	! grep -q FAILED "$DIR/1/console.log"
}

@test "a VM that waits gets a disk and a network card while it runs" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	export NETNS=kvm-later-$$
	ip netns add "$NETNS"
	head -c 4096 /dev/zero | tr '\0' B >"$DIR/a.raw"
	mkdir "$DIR"/{0,1}
	later() { local dir=$1; shift; "$TOOL" run "$dir" "$VMX" "$TINY/later" "$TINY/initrd" --engine kvm --memory 32 "$@"; }
	said() { grep -q "$2" "$DIR/$1/console.log"; }
	wait_said() { for _ in $(seq 500); do ! said "$@" || return 0; sleep 0.02; done; cat "$DIR/$1/console.log"; return 1; }
	later "$DIR/0" --template yes
	wait_said 0 waiting
	[ "$("$TOOL" save "$DIR/0" "$DIR/s")" = ok ]
	killed "$DIR/0"
	run "$TOOL" plug "$DIR/0" "b=$DIR/a.raw" "tap9=02:00:00:00:00:09"
	[ "$status" = 1 ]
	for queues in 1 3; do
		later "$DIR/1" --restore "$DIR/s" --waiting yes --uid 200002
		[[ "$("$TOOL" status "$DIR/1")" == "state=4 "* ]]
		wait_said 1 'ok and given back'
		[ "$(ip netns exec "$NETNS" "$TOOL" plug "$DIR/1" "b=$DIR/a.raw" "tap0=02:00:00:00:00:09,$queues")" = ok ]
		wait_said 1 '^done'
		cat "$DIR/1/console.log"
		! grep -q FAILED "$DIR/1/console.log"
		for _ in $(seq 500); do ! grep -q 'ended: the guest powered off' "$DIR/1/vmx.log" || break; sleep 0.02; done
		grep -q 'ended: the guest powered off' "$DIR/1/vmx.log"
		grep -q 'test/plugged' "$DIR/1/vmx.log"
	done
	# Only one that waits, and once.
	later "$DIR/1" --restore "$DIR/s"
	run ip netns exec "$NETNS" "$TOOL" plug "$DIR/1" "b=$DIR/a.raw" "tap0=02:00:00:00:00:09,2"
	[[ "$output" == "error "*"this VM does not wait"* ]]
}

@test "the probe tells whether KVM is usable" {
	run "$VMX" --probe-kvm
	[ "$status" = 0 ]
	[ "$output" = '{"usable":true,"reason":"a tiny guest runs; no kernel was given to try"}' ]
	run "$VMX" --probe-kvm "$TINY/ends" 300   # hangs
	[ "$status" = 1 ]
	[ "$output" = '{"usable":false,"reason":"a stock kernel: it did not end within 300 ms"}' ]
	run "$VMX" --probe-kvm "$TINY/none"
	[[ "$output" == '{"usable":false,"reason":"open the kernel '*'No such file'* ]]
}

@test "doctor says whether KVM is used, and why" {
	local said; said=$("$BUILD/bin/bulkhead" doctor --root "$DIR" || true)
	echo "$said"
	if grep -Eq '^kvm +ok +usable: a stock kernel boots$' <<<"$said"; then
		grep -Eq '^engine +ok +kvm is chosen' <<<"$said"
	else   # the tiny guest runs here (see above)
		grep -Eq '^kvm +note +not usable: (a stock kernel: |open the kernel ).+' <<<"$said"
		grep -Eq '^engine +ok +qemu \(software engine\) is chosen' <<<"$said"
	fi
	run "$BUILD/bin/bulkhead" up --root "$DIR" --engine xen
	[ "$status" != 0 ]
	[[ "$output" == *"--engine xen: there are kvm, qemu and auto"* ]]
}

@test "what a guest that owns vmx would try, from inside the jail" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	for role in control device vcpu; do
		run "$BUILD/tests/jail_try" "$role" 200003
		echo "$output" | grep -v ^ok
		[ "$status" = 0 ]
		[ "$(grep -c ^ok <<<"$output")" -gt 45 ]
	done
}

@test "the jail: user, capabilities, limits, namespaces, empty root, filters" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	truncate -s 1M "$DIR/a.raw"
	start ends --cmdline hang --uid 200002 --disk "a=$DIR/a.raw"
	sleep 0.3   # until each thread has closed its filter
	pid=$(cat "$DIR/pid")
	grep -q '^Uid:.200002.200002.200002.200002$' "/proc/$pid/status"
	grep -q '^Groups:[[:space:]]*$' "/proc/$pid/status"
	grep -Eq '^Max core file size +0 +0 ' "/proc/$pid/limits"
	grep -Eq '^Max open files +4096 +4096 ' "/proc/$pid/limits"
	grep -Eq '^Max processes +256 +256 ' "/proc/$pid/limits"
	[ -z "$(ls -A "/proc/$pid/root/")" ]
	! touch "/proc/$pid/root/x" 2>/dev/null
	for n in mnt net ipc pid; do
		[ "$(readlink "/proc/$pid/ns/$n")" != "$(readlink "/proc/self/ns/$n")" ]
	done
	[ "$(sed -n 's/^NSpid:.*\t//p' "/proc/$pid/status")" = 1 ]   # the first of its own processes
	[[ "$("$TOOL" status "$DIR")" == *" pid=$pid "* ]]             # which tells its number here
	for t in /proc/"$pid"/task/*; do
		grep -q '^CapEff:.0000000000000000$' "$t/status"
		grep -q '^CapBnd:.0000000000000000$' "$t/status"
		grep -q '^Seccomp:.2$' "$t/status"
	done
	[ "$("$TOOL" kill "$DIR")" = ok ]
	gone 2
}
