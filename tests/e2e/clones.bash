# What clones of a template must be, whichever engine runs them: template.bats has them on qemu, the lab (tests/lab/cluster) on kvm.
# Needs lib.bash and PATIENCE (seconds).

CLONE_FACTS=tests/e2e/clone.facts   # what a clone says of itself: the same with every engine

start_of() { "$BIN/bulkhead" vm ls -o json --root "$ROOT" | jq -r ".vms[] | select(.pod == \"$1\") | .start"; }
pod_in() { $K exec "$1" -- sh -c "$2"; }
six_lines() { [ "$($K logs "$1" | wc -l)" = 6 ]; }

clone_pod() {   # NAME [ANNOTATIONS]: says first what a container sees first: kernel identifiers, the generator's output, what a TLS key would be made from
	busybox_pod "$1" Never 'cat /proc/sys/kernel/random/boot_id; head -c 32 /dev/urandom | sha256sum; cat /proc/sys/kernel/random/uuid; cat /sys/class/net/eth0/address; hostname; hostname -i; sleep 1000' "${2:-}"
}
clone_runs() { wait_for "$PATIENCE" phase_is "$1" Running && wait_for "$PATIENCE" six_lines "$1"; }

clones_differ() {   # NAME...: they share no secret, and nothing by which they are known; their clocks are right
	local line name before after now said
	said=$(mktemp -d)
	for name in "$@"; do   # what it said at first, and what it says now: few commands, because ten clones at once are slow
		$K logs "$name" >"$said/$name.first"
		before=$(date +%s)
		pod_in "$name" 'date +%s; cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/random | md5sum
			cat /etc/machine-id /var/lib/dbus/machine-id 2>/dev/null; true' >"$said/$name.now"
		after=$(date +%s) now=$(sed -n 1p "$said/$name.now")
		[ "$now" -ge $((before - 2)) ] && [ "$now" -le $((after + 2)) ] || { echo "$name's clock says $now, between $before and $after"; return 1; }
		[ "$(sed -n 5p "$said/$name.first")" = "$name" ] || return 1
		[ "$(sed -n 6p "$said/$name.first")" = "$($K get pod "$name" -o jsonpath='{.status.podIP}')" ] || return 1
		# The kernel keeps its word about the boot id. The guest brings no machine id.
		[ "$(sed -n 2p "$said/$name.now")" = "$(sed -n 1p "$said/$name.first")" ] || return 1
		[ "$(wc -l <"$said/$name.now")" = 3 ] || { echo "$name has a machine id"; return 1; }
	done
	for line in 1 2 3 4 5 6; do
		[ "$(for name in "$@"; do sed -n ${line}p "$said/$name.first"; done | sort -u | grep -c .)" = $# ] || { echo "line $line is not $# times another"; return 1; }
	done
	[ "$(for name in "$@"; do sed -n 3p "$said/$name.now"; done | sort -u | wc -l)" = $# ] || return 1
	rm -r "$said"
}

# The container's surroundings, its streams and exit codes, the bytes of its image and of its own disk.
clone_says() {   # NAME
	local name=$1 image rc=0
	image=$(for b in "$CACHE"/demo/busybox/blobs/sha256/*; do tar -xzOf "$b" ./bin/busybox 2>/dev/null; done | md5sum)
	[ "$(pod_in "$name" 'md5sum </bin/busybox')" = "$image" ] && echo "image: the bytes it was made of"
	pod_in "$name" 'seq 500000 >/data; sync; md5sum /data; seq 500001 1000000 >>/data; md5sum </data; stat -c "%s %a %u" /data; rm /data'
	seq 100000 | $K exec -i "$name" -- md5sum
	$K exec "$name" -- sh -c 'exit 37' || rc=$?
	echo "exit $rc"
	pod_in "$name" 'exec 2>&1
		id; pwd; umask; nproc; uname -s; uname -m
		ls /sys/class/net | sort | xargs; ls /sys/block | grep ^vd | xargs; cat /sys/block/vd*/ro | sort | xargs; df -k / | awk "NR == 2 {print \$2}"
		cut -d" " -f 2,3 /proc/mounts | sort
		cat /proc/self/cgroup
		grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status
		ulimit -a | grep -v "^pending signals\|^max user processes"   # the memory decides
		env | cut -d= -f1 | sort | xargs
		cat /sys/class/net/eth0/mtu /sys/class/net/eth0/operstate; ip route | cut -d" " -f1,2,4- | sed "s/[0-9.]*[0-9]/N/g; s/ *$//"
		sed "s/nameserver .*/nameserver/" /etc/resolv.conf
		ping -c 1 -W 5 127.0.0.1 | grep -c "1 packets received"'
}
clone_is_as_all() {   # NAME
	clone_says "$1" | diff "$CLONE_FACTS" -
}
