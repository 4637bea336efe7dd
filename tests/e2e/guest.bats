#!/usr/bin/env bats
# The recipe of the guest image. Needs the mirror (or a filled cache).

setup() {
	BUILD=$(realpath "${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}")
	RECIPE=$BATS_TEST_DIRNAME/../../guest/build
}

@test "twice from nothing: the same bytes" {
	for i in 1 2; do
		BULKHEAD_CACHE=$BATS_TEST_TMPDIR/cache$i "$RECIPE" --agent "$BUILD/bin/bulkhead-agent" --out "$BATS_TEST_TMPDIR/out$i"
	done
	for f in vmlinux initramfs.cpio manifest.json; do cmp "$BATS_TEST_TMPDIR/out1/$f" "$BATS_TEST_TMPDIR/out2/$f"; done
}

@test "the manifest names what was built, with its digests" {
	m=$BUILD/guest/manifest.json
	[ "$(jq -r .kernel.sha256 "$m")" = "$(sha256sum < "$BUILD/guest/vmlinux" | cut -d' ' -f1)" ]
	[ "$(jq -r .initramfs.sha256 "$m")" = "$(sha256sum < "$BUILD/guest/initramfs.cpio" | cut -d' ' -f1)" ]
	[[ "$(jq -r .kernel.package "$m")" == linux-image-*-cloud-amd64 ]]
}

@test "the initramfs needs nothing that it does not hold" {
	mkdir "$BATS_TEST_TMPDIR/root"
	(cd "$BATS_TEST_TMPDIR/root" && cpio --quiet -idm < "$BUILD/guest/initramfs.cpio")
	for file in usr/bin/crun lib/x86_64-linux-gnu/*; do
		for name in $(objdump -p "$BATS_TEST_TMPDIR/root/$file" 2>/dev/null | awk '$1 == "NEEDED" { print $2 }'); do
			[ -e "$BATS_TEST_TMPDIR/root/lib/x86_64-linux-gnu/$name" ] || [ -e "$BATS_TEST_TMPDIR/root/lib64/$name" ]
		done
	done
	for name in $(cat "$BATS_TEST_TMPDIR"/root/modules/boot "$BATS_TEST_TMPDIR"/root/modules/later); do
		[ -s "$BATS_TEST_TMPDIR/root/modules/$name.ko" ]
	done
	! objdump -p "$BATS_TEST_TMPDIR/root/init" | grep -q NEEDED
}

@test "bad arguments and a cache that cannot be written are refused" {
	run "$RECIPE" --agent /nonexistent --out "$BATS_TEST_TMPDIR/out"
	[ "$status" = 1 ]
	[[ "$output" == "guest/build: --agent must name the agent's program, '/nonexistent' is none" ]]
	touch "$BATS_TEST_TMPDIR/file"
	run env BULKHEAD_CACHE="$BATS_TEST_TMPDIR/file/x" "$RECIPE" --agent "$BUILD/bin/bulkhead-agent" --out "$BATS_TEST_TMPDIR/out"
	[ "$output" = "guest/build: cannot write to BULKHEAD_CACHE=$BATS_TEST_TMPDIR/file/x" ]
}
