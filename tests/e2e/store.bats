#!/usr/bin/env bats
# The store: kills under a write load, several servers over one etcd, backup and restore.
# STORE_KILLS: how many kills of the SQLite server (default 25; etcd: a third of it).

load lib

setup_file() {
	export WORK
	WORK=$(mktemp -d /var/tmp/bh-store-XXXXXX)
}

teardown_file() {
	for f in "$WORK"/*.pid; do [ -e "$f" ] && kill -9 "$(cat "$f")" 2>/dev/null; done
	rm -rf "$WORK"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

serve() {   # serve NAME [OPTION...]: a server in $WORK/NAME; its kubeconfig is there
	local name=$1; shift
	[ -e "$WORK/$name.port" ] || free_port >"$WORK/$name.port"
	"$BIN/bulkhead-server" --root "$WORK/$name" --listen "127.0.0.1:$(cat "$WORK/$name.port")" --node-name "$name" "$@" \
		>>"$WORK/$name.log" 2>&1 3>&- &
	echo $! >"$WORK/$name.pid"
	for _ in $(seq 600); do k "$name" get --raw /readyz >/dev/null 2>&1 && return; sleep 0.1; done
	cat "$WORK/$name.log" >&2
	return 1
}

unserve() { kill "$(cat "$WORK/$1.pid")"; while kill -0 "$(cat "$WORK/$1.pid")" 2>/dev/null; do sleep 0.05; done; rm "$WORK/$1.pid"; }
k() { local name=$1; shift; "$CLIENTS/kubectl-1.20" --kubeconfig "$WORK/$name/admin.kubeconfig" "$@"; }

servers() { k "$1" get endpoints kubernetes -o jsonpath='{.subsets[*].addresses[*].ip} {.subsets[*].ports[*].port}'; }

etcd_up() {   # sets ETCD
	need etcd
	local client peer
	client=$(free_port) peer=$(free_port)
	etcd --data-dir "$WORK/$1" --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
		--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
		--initial-cluster "default=http://127.0.0.1:$peer" >"$WORK/$1.log" 2>&1 3>&- &
	echo $! >"$WORK/$1.pid"
	ETCD=http://127.0.0.1:$client
}

@test "sqlite: no acknowledged write is lost by kills, watches are whole" {
	timeout $((900 + 2 * ${STORE_KILLS:-25})) python3 "$BATS_TEST_DIRNAME/torture.py" "$BIN" "$WORK/torture" "${STORE_KILLS:-25}" sqlite >&2
}

@test "etcd: servers and members are killed, no acknowledged write is lost, watches go on elsewhere" {
	need etcd
	timeout $((900 + 2 * ${STORE_KILLS:-25})) python3 "$BATS_TEST_DIRNAME/torture.py" "$BIN" "$WORK/torture-etcd" $((${STORE_KILLS:-25} / 3)) etcd >&2
}

@test "etcd: two servers are one cluster, the leader's work goes on without it" {
	etcd_up pair
	serve one --store "etcd=$ETCD" --pod-listen 10.254.1.1:6443
	serve two --store "etcd=$ETCD" --pod-listen 10.254.1.2:6443
	for _ in $(seq 300); do [ "$(servers two)" = "10.254.1.1 10.254.1.2 6443" ] && break; sleep 0.1; done   # default/kubernetes leads to both
	[ "$(servers two)" = "10.254.1.1 10.254.1.2 6443" ]
	k one create configmap shared --from-literal=a=b
	[ "$(k two get configmap shared -o jsonpath='{.data.a}')" = b ]   # at once: what one acknowledged, two shows
	version=$(k one get configmap shared -o jsonpath='{.metadata.resourceVersion}')
	[ "$(k two get configmap shared -o jsonpath='{.metadata.resourceVersion}')" = "$version" ]
	k two annotate configmap shared seen=yes
	run k two get --raw "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=$version&timeoutSeconds=1"
	[[ $output == *'"MODIFIED"'*'"seen":"yes"'* ]]
	holder=$(k one get lease -n kube-system bulkhead-controllers -o jsonpath='{.spec.holderIdentity}')
	first=${holder%_*}; other=$([ "$first" = one ] && echo two || echo one)
	kill -9 "$(cat "$WORK/$first.pid")"
	k "$other" create namespace after   # its ServiceAccount is made by the next leader
	for _ in $(seq 600); do k "$other" get serviceaccount -n after default >/dev/null 2>&1 && break; sleep 0.1; done
	k "$other" get serviceaccount -n after default
	for _ in $(seq 600); do [ "$(servers "$other" | wc -w)" = 2 ] && break; sleep 0.1; done   # its Lease has run out
	[ "$(servers "$other" | wc -w)" = 2 ]
	holder=$(k "$other" get lease -n kube-system bulkhead-controllers -o jsonpath='{.spec.holderIdentity}')
	[ "${holder%_*}" = "$other" ]
	serve stranger
	unserve stranger
	run timeout 60 "$BIN/bulkhead-server" --root "$WORK/stranger" --listen 127.0.0.1:1 --store "etcd=$ETCD"   # another cluster's folder
	[ "$status" = 1 ]
	[[ $output == *"is not the one of the cluster in etcd"* ]]
	unserve "$other"
}

@test "etcd: nobody there is one sentence" {
	run timeout 60 "$BIN/bulkhead-server" --root "$WORK/nobody" --listen 127.0.0.1:1 --store "etcd=http://127.0.0.1:$(free_port)"
	[ "$status" = 1 ]
	[[ $output == *"store: etcd:"* ]]
	run "$BIN/bulkhead-server" --root "$WORK/nobody" --store etcd=ftp://x
	[ "$status" = 1 ]
	[[ $output == *"must be http://HOST:PORT"* ]]
}

# cluster-info names the server's own address.
objects() { jq -S '.items[] | select(.metadata.name != "cluster-info") | del(.metadata.resourceVersion)'; }

@test "backup of a working server, restored into SQLite and into etcd" {
	serve origin
	for i in $(seq 20); do k origin create configmap "c$i" --from-literal="n=$i"; done
	version=$(k origin get configmap c20 -o jsonpath='{.metadata.resourceVersion}')
	"$BIN/bulkhead" backup "$WORK/backup" --root "$WORK/origin"
	[ "$(stat -c %a "$WORK/backup")" = 600 ]
	k origin get configmap,namespace,clusterrole -A -o json | objects >"$WORK/before"
	unserve origin

	"$BIN/bulkhead" restore "$WORK/backup" --root "$WORK/again"
	serve again
	k again get configmap,namespace,clusterrole -A -o json | objects | diff "$WORK/before" - >&2
	cmp "$WORK/origin/pki/ca.crt" "$WORK/again/pki/ca.crt"
	[ "$(k again get configmap c20 -o jsonpath='{.metadata.resourceVersion}')" -gt "$version" ]
	unserve again

	etcd_up restored
	"$BIN/bulkhead" restore "$WORK/backup" --root "$WORK/etcd-again" --store "etcd=$ETCD"
	serve etcd-again --store "etcd=$ETCD"
	k etcd-again get configmap,namespace,clusterrole -A -o json | objects | diff "$WORK/before" - >&2
	[ "$(k etcd-again get configmap c20 -o jsonpath='{.metadata.resourceVersion}')" -gt "$version" ]
	unserve etcd-again

	run "$BIN/bulkhead" restore "$WORK/backup" --root "$WORK/again"       # not over what is there
	[ "$status" = 1 ]
	sed 's/"n":"7"/"n":"8"/' "$WORK/backup" >"$WORK/changed"
	run "$BIN/bulkhead" restore "$WORK/changed" --root "$WORK/fresh"
	[ "$status" = 1 ]
	[[ $output == *"checksum does not fit"* ]]
	head -c 3000 "$WORK/backup" >"$WORK/short"
	run "$BIN/bulkhead" restore "$WORK/short" --root "$WORK/fresh"
	[ "$status" = 1 ]
	[ ! -e "$WORK/fresh/store.db" ]
}
