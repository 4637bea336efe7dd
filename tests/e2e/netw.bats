#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pod networks with the real CNI plug-ins, nft and iptables; netw_tool plays the guests on the TAPs. Needs root; no VM.
bats_require_minimum_version 1.5.0

setup_file() {
	export TOOL=${BULKHEAD_BUILD:-$PWD/build}/tests/netw_tool
	export TAG=n$(printf '%04x' $((RANDOM * 2))) NET=10.$((130 + RANDOM % 100)).$((RANDOM % 250))
	export PORT=$((40000 + RANDOM % 20000))
}

setup() { R=$BATS_TEST_TMPDIR/root; mkdir -p "$R"; guests=(); look > "$BATS_TEST_TMPDIR/before"; }

teardown() {
	kill "${guests[@]}" 2>/dev/null || true
	"$TOOL" "$R" "$TAG" "$NET.0/24" purge
	[ "$(look | diff "$BATS_TEST_TMPDIR/before" - | tee /dev/stderr | wc -l)" = 0 ]
}

tool() { "$TOOL" "$R" "$TAG" "$NET.0/24" "$@"; }
field() { sed -n "s/^$1=//p" <<<"$output"; }

# Everything that a cluster could leave behind. Only what carries its name, or is portmap's, so that other networks on
# the machine may come and go meanwhile. A deleted namespace's links go a moment later.
look() {
	sleep 0.2
	ls /run/netns 2>/dev/null | grep "bkh-$TAG" || true
	ip -br link | grep "bkh-$TAG" || true
	nft list tables | grep "bkh-$TAG" || true
	iptables-save | grep -e "bkh-$TAG" -e "$NET" || true
	grep "bkh-$TAG" /proc/mounts || true
	ls "$R/net" 2>/dev/null || true
}

guest() {   # uid, ports...: a guest that answers; its address in $addr, its process in $pid
	local out=$BATS_TEST_TMPDIR/$1.out
	"$TOOL" "$R" "$TAG" "$NET.0/24" guest "$@" >"$out" 2>&1 3>&- &
	pid=$!
	guests+=($pid)
	for i in $(seq 100); do grep -q ^gateway= "$out" && break; kill -0 $pid || { cat "$out"; return 1; }; sleep 0.05; done
	addr=$(sed -n 's,^address=\([^/]*\)/.*,\1,p' "$out")
}

pings() { busybox ping -c 1 -W 2 "$1" >/dev/null; }

# udp ADDRESS PORT: does an echo come back?
udp() {
	python3 - "$1" "$2" <<-'PY'
		import socket, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.settimeout(2)
		s.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
		assert s.recvfrom(100)[0] == b"hello"
	PY
}

@test "a guest on the TAP is reached from the host; its namespace itself is silent" {
	guest a
	pings "$addr"
	[ -z "$(ip netns exec "bkh-$TAG-a" ip -br addr show dev eth0 | awk '{print $3}')" ]
	mac=$(ip netns exec "bkh-$TAG-a" cat /sys/class/net/eth0/address)
	grep -q "^mac=$mac$" "$BATS_TEST_TMPDIR/a.out"
	ip neigh show "$addr" | grep -q "$mac"
	kill $pid; wait $pid || true
	! pings "$addr"   # nobody answers but the guest
}

@test "large frames pass, MTU is kept" {
	guest a
	[ "$(sed -n s/^mtu=//p "$BATS_TEST_TMPDIR/a.out")" = "$(cat "/sys/class/net/bkh-$TAG/mtu")" ]
	busybox ping -c 1 -W 2 -s 1472 "$addr"
}

@test "pods reach each other through the bridge" {
	guest a; guest b; b=$addr
	# A third pod, whose namespace gets its address back, stands for a guest that can run programs.
	run -0 tool setup c
	c=$(field address) gw=$(field gateway)
	ip netns exec "bkh-$TAG-c" sh -c "tc qdisc del dev eth0 ingress; ip addr add $c dev eth0; ip route add default via $gw"
	ip netns exec "bkh-$TAG-c" busybox ping -c 1 -W 2 "$b"
	ip netns exec "bkh-$TAG-c" busybox ping -c 1 -W 2 "$gw"
}

@test "traffic to the outside is masqueraded" {
	out=nwout-$TAG
	ip netns add "$out"
	ip link add "o$TAG" type veth peer name eth0 netns "$out"
	ip addr add 192.0.2.1/30 dev "o$TAG"; ip link set "o$TAG" up
	ip -n "$out" addr add 192.0.2.2/30 dev eth0; ip -n "$out" link set eth0 up   # no route back to the pods
	run -0 tool setup c
	ip netns exec "bkh-$TAG-c" sh -c "tc qdisc del dev eth0 ingress; ip addr add $(field address) dev eth0; ip route add default via $(field gateway)"
	rc=0
	ip netns exec "bkh-$TAG-c" busybox ping -c 1 -W 2 192.0.2.2 || rc=$?
	ip netns del "$out"; ip link del "o$TAG" 2>/dev/null || true
	[ $rc = 0 ]
}

@test "host ports answer on the host's addresses and on 127.0.0.1" {
	guest a $PORT:7/udp
	udp "$NET.1" $PORT
	udp 127.0.0.1 $PORT
	udp "$(ip -4 -br addr show | awk '$1 !~ /^(lo|bkh|veth)/ && $3 {sub("/.*","",$3); print $3; exit}')" $PORT
	tool teardown a
	! udp 127.0.0.1 $PORT
	! iptables-save | grep -q "dport $PORT"
}

@test "bandwidth annotations shape both directions" {
	RATE=8000000 run -0 tool setup a
	tc qdisc show | grep -q 'tbf.*rate 8Mbit'
	tool teardown a
	! tc qdisc show | grep -q 'tbf.*rate 8Mbit'
}

@test "lookup, repeated set-up, repeated teardown" {
	run -1 tool lookup a
	[[ $output == ENOENT:* ]]
	run -0 tool setup a; first=$output
	run -0 tool lookup a
	[ "$output" = "$first" ]
	run -0 tool setup a   # the VM died and comes back: same address and MAC
	[ "$output" = "$first" ]
	tool teardown a; tool teardown a
	run -1 tool lookup a
	[ -z "$(ls "$R/net/pods")" ]
	[ -z "$(ls "$R/net/leases/bkh-$TAG" | grep "^$NET")" ]
}

@test "a TAP that a VM still holds is not taken away, with several queues either" {
	for QUEUES in 1 2 7; do
		export QUEUES
		guest a
		run -1 tool setup a
		[[ $output == EBUSY:* ]]
		QUEUES=3 run -1 tool setup a
		[[ $output == EBUSY:* ]]
		pings "$addr"
		kill $pid; wait $pid || true
		run -0 tool setup a          # it is over: the next VM gets one
		tool teardown a
	done
	unset QUEUES
}

@test "ten pods at once" {
	for i in $(seq 10); do tool setup p$i > "$BATS_TEST_TMPDIR/p$i" & done
	wait
	[ "$(cat "$BATS_TEST_TMPDIR"/p* | grep ^address= | sort -u | wc -l)" = 10 ]
	run -0 --separate-stderr tool sweep p3 p7
	[ "$output" = 8 ]
	[ "$(ls "$R/net/pods" | tr '\n' ' ')" = "p3.json p7.json " ]
}

@test "killed at any moment of set-up and teardown: found again and removed" {
	for ms in 2 5 8 12 16 20 25 30 40 60 90; do
		for what in setup teardown; do
			"$TOOL" "$R" "$TAG" "$NET.0/24" $what k $PORT:80/tcp >/dev/null 2>&1 3>&- &
			pid=$!
			sleep "$(printf '0.%03d' $ms)"
			kill -9 $pid 2>/dev/null || true
			wait $pid 2>/dev/null || true
		done
		sleep 0.05   # plug-ins die with their parent
		tool sweep >/dev/null
		[ -z "$(ls "$R/net/pods")" ]
		[ ! -e "/run/netns/bkh-$TAG-k" ]
	done
	[ -z "$(ls "$R/net/leases/bkh-$TAG" | grep "^$NET")" ]
	[ -z "$(ip -br link show type veth master "bkh-$TAG")" ]
	! iptables-save | grep -q "dport $PORT"
}

@test "after a reboot: records without namespaces, leases without records" {
	tool setup a; tool setup b; tool setup c
	for p in a b; do umount "/run/netns/bkh-$TAG-$p"; done   # what a reboot leaves: nothing in /run
	rm "/run/netns/bkh-$TAG-a"
	ip netns del "bkh-$TAG-c"; rm "$R/net/pods/c.json"       # record lost in a power cut
	run -1 tool lookup a
	run -1 tool lookup b
	[ "$(ls "$R/net/leases/bkh-$TAG" | grep -c "^$NET")" = 2 ]
	run -0 tool setup a
	run -0 --separate-stderr tool sweep a
	[ "$output" = 1 ]
	[ "$(ls "$R/net/leases/bkh-$TAG" | grep -c "^$NET")" = 1 ]
}

@test "addresses run out: said so, nothing left; a freed one is used again" {
	small() { "$TOOL" "$R" "$TAG" "$NET.0/29" "$@"; }
	for i in 1 2 3 4 5; do small setup s$i; done
	run -1 small setup s6
	[[ $output == "EIO: failed to set up the network of pod default/test: plugin type=\"bridge\" failed (add): failed to allocate for range"* ]]
	[ ! -e "/run/netns/bkh-$TAG-s6" ] && [ ! -e "$R/net/pods/s6.json" ]
	small teardown s2
	small setup s6
}

@test "two clusters side by side" {
	other() { "$TOOL" "$R/2" "${TAG}x" 10.129.7.0/24 "$@"; }
	guest a
	other setup a
	tool setup b
	other purge
	pings "$addr"
	[ ! -e "/sys/class/net/bkh-${TAG}x" ]
	tool lookup b
}

@test "an operator's own configuration list is used" {
	cat > "$BATS_TEST_TMPDIR/own.conflist" <<-EOF2
		{"cniVersion": "0.4.0", "name": "own$TAG", "plugins": [{"type": "bridge", "bridge": "bkh-$TAG", "isGateway": true, "mtu": 1400,
		  "ipam": {"type": "host-local", "dataDir": "$R/net/leases", "subnet": "$NET.0/24"}}]}
	EOF2
	export CNI_CONF=$BATS_TEST_TMPDIR/own.conflist
	guest a
	grep -q ^mtu=1400 "$BATS_TEST_TMPDIR/a.out"
	pings "$addr"
	tool teardown a
	unset CNI_CONF
}

@test "a host that drops what it forwards lets the bridge through, until purge" {
	unshare -n bash -e <<-EOF2
		iptables -P FORWARD DROP
		"$TOOL" "$R/d" "$TAG" "$NET.0/24" sweep
		"$TOOL" "$R/d" "$TAG" "$NET.0/24" sweep
		[ "\$(iptables -S FORWARD | grep -c "bkh-$TAG -j ACCEPT")" = 2 ]
		"$TOOL" "$R/d" "$TAG" "$NET.0/24" purge
		[ "\$(iptables -S FORWARD)" = "-P FORWARD DROP" ]
		[ -z "\$(nft list tables | grep bkh-)" ]
	EOF2
}

@test "bad input is refused with a sentence" {
	run -1 "$TOOL" "$R" "Bad-Tag" "$NET.0/24" sweep
	[[ $output == "EINVAL: cluster tag"* ]]
	for cidr in 10.0.0.0 10.0.0.1/24 10.0.0.0/31 x/24 10.0.0.0/24x; do
		run -1 "$TOOL" "$R" "$TAG" $cidr sweep
		[[ $output == "EINVAL: pod range"* ]]
	done
	for uid in ../x .x "a b" "" "$(printf 'x%.0s' $(seq 65))"; do
		run -1 tool setup "$uid"
		[[ $output == *"no pod uid"* ]]
	done
	run -1 tool setup a 0:80/tcp
	[[ $output == "EINVAL: port 0"* ]]
	run -1 tool setup a 80:80/icmp
	[[ $output == "EINVAL: host port 80: protocol"* ]]
	echo '{"cniVersion":"0.2.0"}' > "$BATS_TEST_TMPDIR/c"
	CNI_CONF=$BATS_TEST_TMPDIR/c run -1 tool sweep
	[[ $output == "EINVAL: CNI configuration: cniVersion"* ]]
	echo '{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"nosuch"}]}' > "$BATS_TEST_TMPDIR/c"
	CNI_CONF=$BATS_TEST_TMPDIR/c run -1 tool sweep
	[[ $output == "ENOENT: CNI plug-in \"nosuch\" is not in"* ]]
}
