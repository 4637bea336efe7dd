#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The disk commands and the NBD server, with the tools that others use: qemu-img, qemu-io, nbdinfo, nbdcopy.

setup() {
	PATH="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/bin:$PATH"
	T=$(mktemp -d /tmp/bh-disk-bats-XXXXXX)
	cd "$T"
	pids=()
}

teardown() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null || true; done
	rm -rf "$T"
}

serve() { # socket, arguments of serve
	local sock=$1; shift
	bulkhead-disk serve "$@" --unix "$T/$sock" >"$sock.log" 2>&1 3>&- &
	pids+=($!)
	for _ in $(seq 100); do grep -q ^serving "$sock.log" && return; sleep 0.05; done
	cat "$sock.log"; return 1
}

stop() { local p=${pids[-1]}; kill "$p"; wait "$p"; unset 'pids[-1]'; }
uri() { echo "nbd+unix:///?socket=$T/$1"; }
random() { head -c "$2" /dev/urandom >"$1"; }

@test "import and export raw, qcow2, vmdk keep every byte" {
	random a.raw 8389120
	for f in qcow2 vmdk; do qemu-img convert -f raw -O $f a.raw a.$f; done
	for f in raw qcow2 vmdk; do
		bulkhead-disk import a.$f --format $f $f.bhd
		bulkhead-disk export $f.bhd --format $f out.$f
		qemu-img compare -f raw -F $f a.raw out.$f
		bulkhead-disk check $f.bhd
	done
}

@test "nbdinfo, nbdcopy and qemu-io work on a served clone" {
	random a.raw 16777216
	bulkhead-disk import a.raw base.bhd
	bulkhead-disk clone base.bhd c.bhd --filter compress
	serve s c.bhd
	run nbdinfo --json "$(uri s)"
	[ "$status" = 0 ]
	[ "$(jq '.exports[0].can_multi_conn and .exports[0].can_fua and .exports[0].can_trim and .exports[0].can_cache and .structured' <<<"$output")" = true ]
	nbdcopy "$(uri s)" - | cmp - a.raw
	qemu-io -f raw -c 'write -P 7 4097 70001' -c 'read -P 7 4097 70001' -c 'write -z 1M 64k' -c 'discard 2M 1M' -c 'flush' -c 'write -P 9 -f 5M 9M' "nbd:unix:$T/s"
	nbdinfo --map=bulkhead:depth "$(uri s)" | grep -q ' 1'
	stop
	bulkhead-disk check c.bhd
	serve s c.bhd --read-only
	nbdcopy "$(uri s)" b.raw
	qemu-io -f raw -r -c 'read -P 7 4097 70001' -c 'read -P 0 1M 64k' -c 'read -P 9 5M 9M' b.raw | grep -qv Pattern
	run qemu-io -f raw -c 'write 0 512' "nbd:unix:$T/s"
	[ "$status" != 0 ]
}

@test "a clone of an encrypted base with its own key, at each filter" {
	echo one >k1; echo two >k2
	random a.raw 4194304
	bulkhead-disk import a.raw base.bhd --filter encrypt:key-file="$T/k1",iterations=1000
	! cmp -n 4096 a.raw base.data
	bulkhead-disk clone base.bhd c.bhd --filter encrypt:key-file="$T/k2",iterations=1000 --filter compress --filter stats
	bulkhead-disk export c.bhd o.raw; cmp a.raw o.raw
	serve s c.bhd; qemu-io -f raw -c 'write -P 3 0 1M' "nbd:unix:$T/s"; stop
	for at in stats link; do
		bulkhead-disk export c.bhd --at $at o.raw
		qemu-io -f raw -r -c 'read -P 3 0 1M' o.raw
		cmp -i 1048576 a.raw o.raw
	done
	bulkhead-disk export c.bhd --at data o.raw
	! cmp -n 65536 a.raw o.raw
	echo changed >k3
	bulkhead-disk filter set c.bhd encrypt next-key-file="$T/k3"
	rm k2
	bulkhead-disk export c.bhd o.raw; cmp -i 1048576 a.raw o.raw
	echo wrong >k3
	run bulkhead-disk export c.bhd o.raw
	[ "$status" = 1 ]; [[ "$output" = *"wrong key"* ]]
	echo four >k4
	bulkhead-disk import a.raw e.bhd --filter encrypt:key-command="cat $T/k4",iterations=1000
	bulkhead-disk export e.bhd o.raw; cmp a.raw o.raw
	rm k4
	run bulkhead-disk export e.bhd o.raw
	[ "$status" = 1 ]; [[ "$output" = *"filter 'encrypt'"* ]]
}

@test "flatten, commit, rebase and resize keep the bytes" {
	random a.raw 4194304
	bulkhead-disk import a.raw a.bhd
	bulkhead-disk clone a.bhd b.bhd
	serve s b.bhd; qemu-io -f raw -c 'write -P 4 100k 300k' -c 'write -z 2M 64k' "nbd:unix:$T/s"; stop
	bulkhead-disk export b.bhd want.raw
	bulkhead-disk clone b.bhd c.bhd
	bulkhead-disk flatten c.bhd; bulkhead-disk export c.bhd o.raw; cmp want.raw o.raw
	[ "$(jq .parent c.bhd)" = null ]
	bulkhead-disk clone b.bhd d.bhd
	bulkhead-disk rebase d.bhd a.bhd; bulkhead-disk export d.bhd o.raw; cmp want.raw o.raw
	[ "$(jq -r .parent.path d.bhd)" = a.bhd ]
	run bulkhead-disk commit d.bhd
	[ "$status" = 1 ]
	bulkhead-disk commit d.bhd --yes
	bulkhead-disk export d.bhd o.raw; cmp want.raw o.raw
	[ "$(bulkhead-disk diff d.bhd -o json | jq length)" = 0 ]
	run bulkhead-disk info b.bhd; [ "$status" = 0 ]
	run bulkhead-disk export b.bhd o.raw
	[ "$status" = 1 ]; [[ "$output" = *"has changed since the clone was made"* ]]
	bulkhead-disk resize d.bhd 8M; bulkhead-disk resize d.bhd 2M; bulkhead-disk resize d.bhd 4M
	bulkhead-disk export d.bhd o.raw
	cmp -n 2097152 want.raw o.raw
	qemu-io -f raw -r -c 'read -P 0 2M 2M' o.raw
	for d in c d; do bulkhead-disk check $d.bhd; done
}

@test "filters come, change and go while fio writes and verifies" {
	bulkhead-disk create a.bhd --size 64M
	bulkhead-disk clone a.bhd b.bhd
	serve s b.bhd
	fio --name=v --ioengine=nbd --uri="$(uri s)" --rw=randrw --bs=4k --size=32M --iodepth=16 --verify=crc32c --verify_backlog=64 \
		--loops=4 --output=fio.log 3>&- &
	local fio=$!
	for _ in 1 2 3 4 5; do
		bulkhead-disk filter add b.bhd stats
		bulkhead-disk filter add b.bhd throttle:iops=20000
		bulkhead-disk filter add b.bhd cbt:points=p
		bulkhead-disk filter set b.bhd throttle iops=30000
		bulkhead-disk filter add b.bhd checksum
		bulkhead-disk filter rm b.bhd throttle
		bulkhead-disk filter rm b.bhd checksum
		bulkhead-disk filter rm b.bhd cbt
		bulkhead-disk filter rm b.bhd stats
	done
	wait $fio
	bulkhead-disk resize b.bhd 128M
	nbdinfo --size "$(uri s)" | grep -qx 134217728
	stop
	bulkhead-disk check b.bhd
}

@test "changed blocks since a point, by command and over NBD" {
	bulkhead-disk create a.bhd --size 16M --filter cbt:points=monday
	serve s a.bhd
	qemu-io -f raw -c 'write 1M 64k' "nbd:unix:$T/s"
	bulkhead-disk filter set a.bhd cbt points='monday tuesday'
	qemu-io -f raw -c 'write 4M 128k' "nbd:unix:$T/s"
	[ "$(nbdinfo --map=bulkhead:changed:tuesday "$(uri s)" | awk '$3==1{print $1,$2}')" = "4194304 131072" ]
	stop
	[ "$(bulkhead-disk diff a.bhd --since tuesday -o json | jq -c '[.[]|[.offset,.length]]')" = '[[4194304,131072]]' ]
	[ "$(bulkhead-disk diff a.bhd --since monday -o json | jq -c '[.[]|[.offset,.length]]')" = '[[1048576,65536],[4194304,131072]]' ]
	serve s a.bhd
	kill -9 "${pids[-1]}"
	wait "${pids[-1]}" || true
	serve s2 a.bhd
	qemu-io -f raw -c 'write 8M 64k' "nbd:unix:$T/s2"
	kill -9 "${pids[-1]}"
	wait "${pids[-1]}" || true
	bulkhead-disk diff a.bhd --since tuesday -o json | jq -e 'any(.offset <= 8388608 and .offset + .length >= 8454144)'
}

@test "silent corruption is found and named" {
	random a.raw 1048576
	bulkhead-disk import a.raw a.bhd --filter checksum
	bulkhead-disk check a.bhd
	printf X | dd of=a.data bs=1 seek=40960 conv=notrunc status=none
	run bulkhead-disk check a.bhd
	[ "$status" = 3 ]; [[ "$output" = *"block 10: checksum is wrong"* ]]
	run bulkhead-disk export a.bhd o.raw
	[ "$status" = 1 ]; [[ "$output" = *"block 10"* ]]
}

@test "what cannot be opened says why" {
	bulkhead-disk create a.bhd --size 1M
	bulkhead-disk clone a.bhd b.bhd
	cp b.bhd ok.json
	says() { run bulkhead-disk map b.bhd; [ "$status" = 1 ]; [[ "$output" = *"$1"* ]] || { echo "$output"; return 1; }; }
	head -c 100 ok.json >b.bhd; says "not a descriptor"
	head -c 100 /dev/urandom >b.bhd; says "not a descriptor"
	jq '."bulkhead-disk"=9' ok.json >b.bhd; says "format version 9 is not known"
	jq '.features=["teleport"]' ok.json >b.bhd; says "needs feature 'teleport'"
	jq '.size=123' ok.json >b.bhd; says "not a multiple of 512"
	jq '.parent.path="nowhere.bhd"' ok.json >b.bhd; says "nowhere.bhd"
	jq '.parent.path="b.bhd"' ok.json >b.bhd; says "its own ancestor"
	jq '.parent.id="00000000-0000-4000-8000-000000000000"' ok.json >b.bhd; says "is another disk"
	jq '.filters+=[{"type":"nosuch"}]' ok.json >b.bhd; says "no filter 'nosuch'"
	cp ok.json b.bhd
	bulkhead-disk clone b.bhd d.bhd
	jq '.parent.path="d.bhd"' ok.json >b.bhd; says "its own ancestor"   # b on d on b
	cp ok.json b.bhd; rm d.*
	cp b.map ok.map; truncate -s 10 b.map; says "the map file is not one"; mv ok.map b.map
	mv b.data ok.data; says "cannot open 'b.data'"; mv ok.data b.data
	printf XX | dd of=b.map bs=1 seek=4100 conv=notrunc status=none; says "sector 0 of the map file is damaged"
	run bulkhead-disk check b.bhd; [ "$status" = 3 ]
	truncate -s 4096 a.data; run bulkhead-disk check a.bhd
	[ "$status" = 3 ]; [[ "$output" = *"shorter than the disk"* ]]
	bulkhead-disk create short.bhd --size 1M; truncate -s 4096 short.data
	run bulkhead-disk map short.bhd; [ "$status" = 1 ]; [[ "$output" = *"'short.data' was cut short: 4096 of 1048576 bytes"* ]]
	run bulkhead-disk check --repair short.bhd; [ "$status" = 3 ]; [[ "$output" = *"is zeroes now"* ]]
	bulkhead-disk map short.bhd; bulkhead-disk check short.bhd
	bulkhead-disk clone short.bhd of.bhd; truncate -s 4096 short.data
	run bulkhead-disk map of.bhd; [ "$status" = 1 ]; [[ "$output" = *"'short.data' was cut short"* ]]
	run bulkhead-disk check --repair short.bhd; [ "$status" = 3 ]; [[ "$output" = *"need 'disk rebase --accept'"* ]]
	bulkhead-disk rebase --accept of.bhd; bulkhead-disk map of.bhd
	run bulkhead-disk create c.bhd --size 1M --filter encrypt:key-file=/nonexistent --filter nosuch
	[ "$status" = 1 ]; [ ! -e c.bhd ]; [ ! -e c.data ]
}

@test "a clone of an open disk is refused, and so is a second writer" {
	bulkhead-disk create a.bhd --size 1M
	serve s a.bhd
	run bulkhead-disk clone a.bhd b.bhd
	[ "$status" = 1 ]; [[ "$output" = *"open for writing by process ${pids[-1]}"* ]]
	run bulkhead-disk serve a.bhd --unix "$T/s2"
	[ "$status" = 1 ]; [[ "$output" = *"is in use by process"* ]]
	kill -9 "${pids[-1]}"; wait "${pids[-1]}" || true
	bulkhead-disk clone a.bhd b.bhd
}

@test "a clone of a 1 TiB disk is made at once and takes no space" {
	bulkhead-disk create a.bhd --size 1T
	bulkhead-disk clone a.bhd b.bhd
	[ "$(du -k b.data b.map b.bhd | awk '{s+=$1} END {print s}')" -lt 64 ]
	[ "$(bulkhead-disk map b.bhd -o json | jq -c '[.[]|.length]')" = '[1099511627776]' ]
}

@test "fio verifies after kill -9: what was flushed is there" {
	bulkhead-disk create a.bhd --size 64M
	bulkhead-disk clone a.bhd b.bhd --filter compress
	for i in 1 2 3; do
		serve s$i b.bhd
		fio --name=v --ioengine=nbd --uri="$(uri s$i)" --rw=randwrite --bs=16k --size=16M --iodepth=8 --verify=crc32c --do_verify=0 \
			--randseed=$i --fsync=64 --output=fio.log
		qemu-io -f raw -c flush "nbd:unix:$T/s$i"   # of another connection: covers all that was answered
		kill -9 "${pids[-1]}"; wait "${pids[-1]}" || true
		serve r$i b.bhd
		fio --name=v --ioengine=nbd --uri="$(uri r$i)" --rw=randwrite --bs=16k --size=16M --iodepth=8 --verify=crc32c --verify_only \
			--randseed=$i --output=fio.log
		stop
		bulkhead-disk check b.bhd
	done
}

@test "a replica follows, catches up after an outage, and survives kill -9 of both" {
	bulkhead-disk create to.bhd --size 32M
	bulkhead-disk create a.bhd --size 32M --filter replicate:target="unix:$T/t",mode=async
	serve t to.bhd
	serve s a.bhd
	qemu-io -f raw -c 'write -P 1 1M 3M' -c flush "nbd:unix:$T/s"
	kill -9 "${pids[0]}"; wait "${pids[0]}" || true
	qemu-io -f raw -c 'write -P 2 2M 3M' -c 'write -z 1M 64k' -c flush "nbd:unix:$T/s"
	kill -9 "${pids[1]}"; wait "${pids[1]}" || true
	serve t to.bhd
	serve s a.bhd
	for _ in $(seq 100); do
		[ "$(bulkhead-disk stats a.bhd | jq '.filters[0].stats.behind_bytes')" = 0 ] && break
		sleep 0.1
	done
	bulkhead-disk filter set a.bhd replicate 2>/dev/null || true
	kill "${pids[-1]}"; wait "${pids[-1]}"; kill "${pids[-2]}"; wait "${pids[-2]}"
	bulkhead-disk export a.bhd a.raw; bulkhead-disk export to.bhd to.raw
	cmp a.raw to.raw
	qemu-io -f raw -r -c 'read -P 2 2M 3M' -c 'read -P 0 1M 64k' to.raw
}

@test "a synchronous replica has every write that was answered" {
	bulkhead-disk create to.bhd --size 8M
	bulkhead-disk create a.bhd --size 8M --filter replicate:target="unix:$T/t",mode=sync
	serve t to.bhd
	serve s a.bhd
	qemu-io -f raw -c 'write -P 1 1M 1M' -c flush -c 'write -P 2 4M 1M' "nbd:unix:$T/s"
	kill -9 "${pids[1]}"; wait "${pids[1]}" || true
	kill "${pids[0]}"; wait "${pids[0]}"
	bulkhead-disk export to.bhd to.raw
	qemu-io -f raw -r -c 'read -P 1 1M 1M' -c 'read -P 2 4M 1M' to.raw
}

@test "clones share one read cache of their base; write-back survives kill -9" {
	random a.raw 8388608
	bulkhead-disk import a.raw base.bhd --filter cache:path="$T/cache",size=64M
	for i in 1 2; do bulkhead-disk clone base.bhd c$i.bhd; done
	bulkhead-disk export c1.bhd o.raw; cmp a.raw o.raw
	bulkhead-disk export c2.bhd o.raw; cmp a.raw o.raw
	[ "$(du -k cache | cut -f1)" -gt 8000 ]
	printf garbage | dd of=cache bs=1 seek=1000000 conv=notrunc status=none
	bulkhead-disk export c2.bhd o.raw; cmp a.raw o.raw
	bulkhead-disk clone base.bhd w.bhd --filter cache:path="$T/wcache",mode=writeback
	serve s w.bhd
	qemu-io -f raw -c 'write -P 6 1M 2M' -c flush "nbd:unix:$T/s"
	kill -9 "${pids[-1]}"; wait "${pids[-1]}" || true
	serve s2 w.bhd
	qemu-io -f raw -c 'read -P 6 1M 2M' "nbd:unix:$T/s2"
	bulkhead-disk filter rm w.bhd cache
	stop
	bulkhead-disk export w.bhd o.raw
	qemu-io -f raw -r -c 'read -P 6 1M 2M' o.raw
}

@test "a plug-in works, and bad ones are refused with a sentence" {
	local src="$BATS_TEST_DIRNAME/../.."
	make -s -C "$src/examples/filters" INCLUDE="$src/include" clean
	cp "$src/examples/filters/"{invert.c,pass.c,Makefile} .
	make -s INCLUDE="$src/include"
	export BULKHEAD_FILTER_PATH="$T"
	bulkhead-disk create p.bhd --size 1M --filter pass --filter pass:name=again
	serve p p.bhd; qemu-io -f raw -c 'write -P 5 4k 64k' -c 'discard 8k 4k' -c 'flush' -c 'read -P 5 16k 8k' "nbd:unix:$T/p"; stop
	bulkhead-disk check p.bhd
	bulkhead-disk create a.bhd --size 1M --filter invert
	serve s a.bhd; qemu-io -f raw -c 'write -P 0x0f 0 64k' -c 'write -z 64k 64k' -c 'read -P 0x0f 0 64k' "nbd:unix:$T/s"; stop
	qemu-io -f raw -r -c 'read -P 0xf0 0 64k' -c 'read -P 0xff 64k 64k' a.data
	plugin() { gcc -std=gnu17 -D_GNU_SOURCE -I"$src/include" -fPIC -shared -o "$1.so" -x c - ; }
	sed 's/\.abi = IOF_ABI_VERSION/.abi = 99/; s/"invert"/"old"/' invert.c | plugin old
	sed 's/"invert"/"crash"/' invert.c | cat - <(echo '__attribute__((constructor)) static void boom(void) { *(volatile int *)8 = 1; }') | plugin crash
	echo 'int x;' | plugin empty
	echo garbage >broken.so
	says() { run bulkhead-disk create b.bhd --size 1M --filter "$1"; [ "$status" = 1 ]; [[ "$output" = *"$2"* ]] || { echo "$output"; return 1; }; }
	says old "another version of the filter ABI"
	says crash "it crashes when it is loaded"
	says empty "it has no function"
	says broken "it cannot be loaded"
}

@test "a chain of 64 clones gives the bytes of one copy" {
	random model.raw 4194304
	bulkhead-disk import model.raw d0.bhd
	for i in $(seq 64); do
		bulkhead-disk clone "d$((i - 1)).bhd" "d$i.bhd"
		serve s$i d$i.bhd
		qemu-io -f raw -c "write -P $i $((i * 37 % 4000))k 20k" "nbd:unix:$T/s$i" >/dev/null
		qemu-io -f raw -c "write -P $i $((i * 37 % 4000))k 20k" model.raw >/dev/null
		stop
	done
	bulkhead-disk export d64.bhd o.raw
	cmp model.raw o.raw
}

@test "every command answers in JSON, long ones tell how far they are" {
	random a.raw 25165824
	json() { bulkhead-disk "$@" -o json 2>err | jq -se 'length == 1' >/dev/null && [ ! -s err ] || { echo "$*: $(cat err)"; return 1; }; }
	json create z.bhd --size 4M; json import a.raw base.bhd; json clone base.bhd b.bhd
	json info b.bhd; json map b.bhd; json diff b.bhd; json check b.bhd; json resize b.bhd 25M
	json filter types; json filter add b.bhd stats; json filter add b.bhd throttle:iops=5; json filter set b.bhd throttle iops=1000000
	json filter ls b.bhd; json filter rm b.bhd throttle; json stats b.bhd
	json rebase b.bhd base.bhd; json flatten b.bhd; json export b.bhd o.raw; json remove b.bhd z.bhd
	bulkhead-disk clone base.bhd c.bhd; json commit c.bhd --yes
	shows() { # what: with a terminal, a line that is written again and again
		script -qec "bulkhead-disk $*" /dev/null </dev/null >said; tr '\r' '\n' <said | grep -Eqx "$1: +[0-9]+ %"
		tr '\r' '\n' <said | grep -q "^$1: done" || { cat said; return 1; }
	}
	shows import a.raw slow.bhd --filter delay:read=120ms,write=120ms
	shows export slow.bhd o.raw; cmp a.raw o.raw
	bulkhead-disk filter set slow.bhd delay read=15ms write=15ms   # these ask for one piece after another
	bulkhead-disk clone slow.bhd f.bhd; shows flatten f.bhd
	bulkhead-disk clone slow.bhd r.bhd; bulkhead-disk import a.raw own.bhd
	shows rebase r.bhd own.bhd
	bulkhead-disk clone slow.bhd w.bhd
	serve s w.bhd; qemu-io -f raw -c 'write -P 3 0 20M' "nbd:unix:$T/s" >/dev/null; stop
	shows commit w.bhd --yes
	bulkhead-disk export slow.bhd o.raw; qemu-io -f raw -r -c 'read -P 3 0 20M' o.raw
}

@test "every command, filter and setting is in its man page" {
	local src="$BATS_TEST_DIRNAME/../../src/disk" c o f n=0
	for c in $(bulkhead-disk --help | awk 'NR > 2 && NF > 2 && $1 != "usage:" && /^  / { print $1 }'); do
		grep -q "^\.SS $c" "$src/bulkhead-disk.1" || { echo "no $c"; return 1; }
		n=$((n + 1))
		for o in $(bulkhead-disk "$c" --help | grep -oE '^  --[a-z-]+' | grep -v -- --help); do
			sed 's/\\-/-/g' "$src/bulkhead-disk.1" | sed -n "/^\.SS $c/,/^\.SS/p" | grep -q -- "$o" || { echo "no $c $o"; return 1; }
		done
	done
	[ $n -ge 15 ]
	bulkhead-disk filter types -o json >types
	[ "$(jq length types)" -ge 12 ]
	for f in $(jq -r '.[].name' types); do
		for o in $(jq -r ".[] | select(.name == \"$f\") | .settings | keys[]" types); do
			sed 's/\\-/-/g' "$src/filters/$f/bulkhead-filter-$f.7" | grep -qw -- "$o" || { echo "no $f $o"; return 1; }
		done
		[ -e "$src/filters/$f/bulkhead-filter-$f.7" ]
	done
}
