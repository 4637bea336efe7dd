#!/usr/bin/env bats
# The KVM engine with tiny guests of our own (tests/tiny), on any /dev/kvm that runs a few thousand instructions. Stock
# guests run in the lab (`make lab`).

setup_file() {
	[ -w /dev/kvm ] || skip "/dev/kvm cannot be used"
	export BUILD=${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}
	export TOOL=$BUILD/tests/vmx_tool VMX=$BUILD/bin/bulkhead-vmx TINY=$BATS_FILE_TMPDIR
	for t in hello disk storm ends; do
		"$BATS_TEST_DIRNAME/../tiny/build" "$TINY/$t" "$BATS_TEST_DIRNAME/../tiny/$t.c"
	done
	printf 'seed\n' >"$TINY/initrd"
}

setup() {
	DIR=$(mktemp -d "$BATS_TEST_TMPDIR/vm.XXXX")
}

teardown() {
	if [ -f "$DIR/pid" ]; then
		kill -9 "$(cat "$DIR/pid")" 2>/dev/null || true
	fi
	[ "${BATS_TEST_COMPLETED:-}" = 1 ] || cat "$DIR"/vmx.log "$DIR"/console.log >&2 || true
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
	sleep 1
	run timeout 2 "$TOOL" status "$DIR"
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
	[[ "$output" == *'the kernel is not an x86-64 ELF file'* ]]
	head -c 3000 "$TINY/hello" >"$TINY/short"
	run start short
	[ "$status" = 1 ]
	[[ "$output" == *"the kernel's file is truncated"* ]]
	objcopy --remove-section .note.pvh --remove-section .note "$TINY/hello" "$TINY/noteless"
	run start noteless
	[ "$status" = 1 ]
	[[ "$output" == *'no PVH entry point'* ]]
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

@test "the jail: user, capabilities, namespaces, empty root, filters" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	truncate -s 1M "$DIR/a.raw"
	start ends --cmdline hang --uid 200002 --disk "a=$DIR/a.raw"
	sleep 0.3   # until each thread has closed its filter
	pid=$(cat "$DIR/pid")
	grep -q '^Uid:.200002.200002.200002.200002$' "/proc/$pid/status"
	[ -z "$(ls -A "/proc/$pid/root/")" ]
	! touch "/proc/$pid/root/x" 2>/dev/null
	for n in mnt net ipc; do
		[ "$(readlink "/proc/$pid/ns/$n")" != "$(readlink "/proc/self/ns/$n")" ]
	done
	for t in /proc/"$pid"/task/*; do
		grep -q '^CapEff:.0000000000000000$' "$t/status"
		grep -q '^CapBnd:.0000000000000000$' "$t/status"
		grep -q '^Seccomp:.2$' "$t/status"
	done
	[ "$("$TOOL" kill "$DIR")" = ok ]
	gone 2
}
