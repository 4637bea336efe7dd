#!/usr/bin/env bats
# A whole cluster over an etcd that wants TLS and a client's certificate: bulkhead up --store etcd=https://...

load lib
bats_require_minimum_version 1.5.0

setup_file() {
	need etcd openssl jq
	export WORK ETCD STORE
	WORK=$(mktemp -d /var/tmp/bh-etcd-tls-XXXXXX)
	certificates
	read -r client peer < <(python3 -c 'import socket; s = [socket.socket() for _ in "ab"]; [x.bind(("127.0.0.1", 0)) for x in s]; print(*[x.getsockname()[1] for x in s])')
	etcd --data-dir "$WORK/data" --listen-client-urls "https://127.0.0.1:$client" --advertise-client-urls "https://127.0.0.1:$client" \
		--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
		--initial-cluster "default=http://127.0.0.1:$peer" --cert-file "$WORK/server.crt" --key-file "$WORK/server.key" \
		--client-cert-auth --trusted-ca-file "$WORK/ca.crt" >"$WORK/etcd.log" 2>&1 3>&- &
	echo $! >"$WORK/pid"
	ETCD=https://127.0.0.1:$client
	STORE=etcd=$ETCD,ca=$WORK/ca.crt,cert=$WORK/client.crt,key=$WORK/client.key,keep=2
	for _ in $(seq 300); do etcd_ask /health 2>/dev/null | grep -q true && break; sleep 0.1; done
	cluster_up etcd-tls --store "$STORE"
	image busybox
}

teardown_file() {
	local ok=0
	cluster_down || ok=1
	kill "$(cat "$WORK/pid")"
	rm -rf "$WORK"
	return $ok
}

certificates() {   # etcd asks itself when it is asked over HTTP: its own certificate is a client's, too
	local name use
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=etcd-ca -keyout "$WORK/ca.key" -out "$WORK/ca.crt" 2>/dev/null
	for name in server client; do
		use=$([ $name = server ] && printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth' || echo extendedKeyUsage=clientAuth)
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$WORK/$name.key" -out "$WORK/$name.csr" 2>/dev/null
		openssl x509 -req -in "$WORK/$name.csr" -CA "$WORK/ca.crt" -CAkey "$WORK/ca.key" -CAcreateserial -days 2 -extfile <(echo "$use") \
			-out "$WORK/$name.crt" 2>/dev/null
	done
}

etcd_ask() { curl -sS --cacert "$WORK/ca.crt" --cert "$WORK/client.crt" --key "$WORK/client.key" "$ETCD$1" "${@:2}"; }

@test "a pod runs, and all that is known is in etcd" {
	[ ! -e "$ROOT/store.db" ]
	$K create configmap kept --from-literal=a=b
	busybox_pod over-etcd Always 'sleep 1000'
	wait_for 120 phase_is over-etcd Running
	[ "$($K exec over-etcd -- echo hello)" = hello ]
	keys=$(etcd_ask /v3/kv/range -d "{\"key\":\"$(printf '\0' | base64)\",\"range_end\":\"$(printf '\0' | base64)\",\"keys_only\":true}")
	jq -r '.kvs[].key | @base64d' <<<"$keys" | grep 'pods/default/over-etcd$'
}

@test "after down and up everything is there again" {
	"$BIN/bulkhead" down --root "$ROOT"
	"$BIN/bulkhead" up --root "$ROOT"
	[ "$($K get configmap kept -o jsonpath='{.data.a}')" = b ]
	wait_for 120 phase_is over-etcd Running
	$K delete pod over-etcd
}

@test "old revisions are compacted away" {
	revision=$(etcd_ask /v3/kv/range -d '{"key":"YQ=="}' | jq -r .header.revision)
	compacted() {
		$K annotate --overwrite configmap kept "n=$RANDOM" >/dev/null
		etcd_ask /v3/kv/range -d "{\"key\":\"YQ==\",\"revision\":\"$revision\"}" | grep 'has been compacted'
	}
	wait_for 60 compacted
}

@test "without a certificate, and with a CA that is not etcd's: one sentence" {
	run -1 timeout 60 "$BIN/bulkhead-server" --root "$WORK/none" --listen 127.0.0.1:1 --store "etcd=$ETCD,ca=$WORK/ca.crt"
	[[ $output == *"store: etcd:"* ]]
	run -1 timeout 60 "$BIN/bulkhead-server" --root "$WORK/none" --listen 127.0.0.1:1 \
		--store "etcd=$ETCD,ca=$ROOT/pki/ca.crt,cert=$WORK/client.crt,key=$WORK/client.key"
	[[ $output == *"store: etcd:"* ]]
	run -1 timeout 60 "$BIN/bulkhead-server" --root "$WORK/none" --listen 127.0.0.1:1 --store "etcd=$ETCD,cert=$WORK/client.crt"
	[[ $output == *"cert= and key= need each other"* ]]
}
