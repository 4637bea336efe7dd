#!/usr/bin/env bats
# Many pods at once (MANY_AT_ONCE, default 10); many one after another (MANY_PODS, default 8). Nothing stays behind.

load lib

setup_file() {
	cluster_up many --waiting 0
	image busybox
}

teardown_file() { cluster_down; }

usage() {   # processes, descriptors of hostd, pod folders, links, namespaces, leases
	tag=$(jq -r .tag "$ROOT/cluster.json")
	hostd=$(pgrep -f "bulkhead-hostd --root $ROOT( |\$)")
	echo "vms $("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq '.vms | length')" "fds $(ls "/proc/$hostd/fd" | wc -l)" \
		"threads $(ls "/proc/$hostd/task" | wc -l)" "pods $(ls "$ROOT/pods" | wc -l)" \
		"namespaces $(ip netns list | grep -c "^bkh-$tag-")"
}

rss_kib() { awk '/VmRSS/ {print $2}' "/proc/$(pgrep -f "bulkhead-hostd --root $ROOT( |\$)")/status"; }
all_running() { [ "$($K get pods --no-headers | grep -c ' Running ')" = "$1" ]; }
no_pods() { [ -z "$($K get pods --no-headers 2>/dev/null)" ] && [ -z "$(ls "$ROOT/pods")" ]; }

@test "many pods at once all run and answer" {
	local n=${MANY_AT_ONCE:-10} i
	for i in $(seq "$n"); do busybox_pod "m$i" Always 'while :; do sleep 1; done' & done
	wait
	wait_for $((n * 24)) all_running "$n"
	[ "$("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq '[.vms[].podIP] | unique | length')" = "$n" ]
	for i in $(seq "$n"); do [ "$($K exec "m$i" -- hostname)" = "m$i" ]; done
	$K delete pods --all --wait=false
	wait_for $((n * 9)) no_pods
}

@test "one after another leave nothing: processes, descriptors, threads, folders, links" {
	one() {
		busybox_pod "$1" Never 'echo done'
		wait_for 60 phase_is "$1" Succeeded
		$K delete pod "$1" --wait=false
		wait_for 30 no_pods
	}
	one warm
	sleep 2
	usage > "$BATS_FILE_TMPDIR/start"
	rss=$(rss_kib)
	for i in $(seq "${MANY_PODS:-8}"); do one "s$i"; done
	sleep 2
	usage > "$BATS_FILE_TMPDIR/end"
	echo "hostd: $rss KiB before, $(rss_kib) KiB after" >&3
	cat "$BATS_FILE_TMPDIR/start" "$BATS_FILE_TMPDIR/end"
	# Less may be: connections of the many at once that nobody has needed since.
	awk 'NR == 1 { n = split($0, was) } NR == 2 { for (i = 2; i <= n; i += 2) if ($i > was[i]) exit 1 }' "$BATS_FILE_TMPDIR/start" "$BATS_FILE_TMPDIR/end"
}
