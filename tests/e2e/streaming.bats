#!/usr/bin/env bats
# hostd's kubelet API with curl and kubectl, in front of an agent that runs commands on this machine (streaming-host) and
# behind as much of an API server as kubectl needs (apiserver.py). kubectl from 1.31 speaks WebSocket and is asked for
# SPDY as well; KUBECTL names another one (kubectl 1.20 speaks SPDY only).

setup_file() {
	local tests=$BATS_TEST_DIRNAME/.. tool
	for tool in openssl curl python3; do command -v $tool >/dev/null || skip "$tool is not installed"; done
	export BUILD=${BULKHEAD_BUILD:-$tests/../build} D=$BATS_FILE_TMPDIR KUBECTL=${KUBECTL:-kubectl}
	"$tests/streaming/make-certs" "$D" 2>/dev/null
	mkfifo "$D/say"
	"$BUILD/tests/streaming/streaming-host" "$D" < "$D/say" > "$D/port" 2> "$D/host.log" 3>&- &
	echo $! > "$D/host.pid"
	sleep 1000 > "$D/say" 3>&- &
	echo $! > "$D/sleep.pid"
	wait_for test -s "$D/port"
	python3 "$tests/streaming/apiserver.py" "$D" "$(cat "$D/port")" > "$D/apiport" 2> "$D/api.log" 3>&- &
	echo $! > "$D/api.pid"
	mkdir "$D/www"
	head -c 3000000 /dev/urandom > "$D/www/blob"
	(cd "$D/www" && exec python3 -u -m http.server 0 --bind 127.0.0.1 > "$D/www.log" 2>&1 3>&-) &
	echo $! > "$D/www.pid"
	wait_for test -s "$D/apiport"
	wait_for grep -q 'port [0-9]' "$D/www.log"
	sed "s/PORT/$(cat "$D/apiport")/" "$D/kubeconfig-template" > "$D/kubeconfig"
	export KUBECONFIG=$D/kubeconfig URL=https://localhost:$(cat "$D/port")
	export WWW=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$D/www.log" | head -1)
}

teardown_file() {
	local name
	for name in sleep api www host; do
		[ ! -f "$D/$name.pid" ] || kill "$(cat "$D/$name.pid")" 2>/dev/null || true
	done
}

wait_for() {
	for _ in $(seq 200); do "$@" && return 0; sleep 0.05; done
	echo "never: $*" >&2
	return 1
}

say() { echo "$*" > "$D/say"; }
get() { curl -s --max-time 20 --cacert "$D/ca.crt" --cert "$D/client.crt" --key "$D/client.key" "$@"; }
code() { get -o /dev/null -w '%{http_code}' "$@"; }
need_kubectl() { command -v "$KUBECTL" >/dev/null || skip "kubectl is not installed"; }

# Both transports; a kubectl that knows only SPDY does the same thing twice.
each_transport() {
	local ws
	for ws in true false; do
		KUBECTL_REMOTE_COMMAND_WEBSOCKETS=$ws KUBECTL_PORT_FORWARD_WEBSOCKETS=$ws "$@" || { echo "failed with websockets=$ws" >&2; return 1; }
	done
}

@test "without a client certificate 401, with a stranger's 403, with the API server's 200" {
	[ "$(curl -s -o /dev/null -w '%{http_code}' --cacert "$D/ca.crt" "$URL/healthz")" = 401 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' --cacert "$D/ca.crt" --cert "$D/other.crt" --key "$D/other.key" "$URL/pods")" = 403 ]
	[ "$(curl -s --cacert "$D/ca.crt" --cert "$D/kubelet-client.crt" --key "$D/kubelet-client.key" "$URL/healthz")" = ok ]
}

@test "a certificate of another CA is 401" {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$D/x.key" -subj /O=system:masters/CN=x -days 1 -out "$D/x.crt" 2>/dev/null
	[ "$(curl -s -o /dev/null -w '%{http_code}' --cacert "$D/ca.crt" --cert "$D/x.crt" --key "$D/x.key" "$URL/pods")" = 401 ]
}

@test "plain data" {
	get "$URL/pods" | python3 -c 'import json,sys; assert len(json.load(sys.stdin)["items"]) == 2'
	get "$URL/runningpods/" | python3 -c 'import json,sys; assert [p["metadata"]["name"] for p in json.load(sys.stdin)["items"]] == ["web"]'
	[ "$(get "$URL/stats/summary")" = '{"node":{"nodeName":"test"}}' ]
	[ "$(get "$URL/metrics")" = 'which{is=""} 1' ]
	[ "$(get "$URL/metrics/cadvisor")" = 'which{is="cadvisor"} 1' ]
	[ "$(code "$URL/metrics/other")" = 404 ]
	[ "$(code "$URL/")" = 404 ]
	[ "$(code -X DELETE "$URL/pods")" = 405 ]
}

@test "what is not there is said as a kubelet says it" {
	[ "$(get -X POST "$URL/exec/default/none/main?command=x&output=1")" = "pod does not exist" ]
	[ "$(code -X POST "$URL/exec/default/none/main?command=x&output=1")" = 404 ]
	[ "$(get -X POST "$URL/exec/default/web/gone?command=x&output=1")" = 'container not found ("gone")' ]
	[ "$(get -X POST "$URL/exec/default/web/main?command=x")" = "you must specify at least 1 of stdin, stdout, stderr" ]
	[ "$(code -X POST "$URL/exec/default/web/main?command=x&output=1")" = 400 ]      # no upgrade
	[ "$(code "$URL/exec/default/web")" = 404 ]
	[ "$(code "$URL/containerLogs/default/web/nobody")" = 404 ]
	[ "$(get "$URL/containerLogs/default/web/slow")" = 'container "slow" in pod "web" is waiting to start: image can'\''t be pulled' ]
	[ "$(get "$URL/containerLogs/default/web/main?previous=true")" = 'previous terminated container "main" in pod "web" not found' ]
	[ "$(code "$URL/containerLogs/default/web/main?tailLines=x")" = 400 ]
	[ "$(code -H 'Connection: Upgrade' -H 'Upgrade: SPDY/3.1' -H 'X-Stream-Protocol-Version: v9' -X POST "$URL/exec/default/web/main?command=x&output=1")" = 403 ]
}

@test "logs: previous, timestamps, tail, limit" {
	[ "$(get "$URL/containerLogs/default/web/gone")" = "second life" ]
	[ "$(get "$URL/containerLogs/default/web/gone?previous=true&timestamps=true")" = "1970-01-01T00:00:01.000000000Z first life" ]
	say log one; say err two; say log three
	wait_for grep -q three "$D/main/0.log"
	[ "$(get "$URL/containerLogs/default/web/main?tailLines=2")" = "$(printf 'two\nthree')" ]
	[ "$(get "$URL/containerLogs/default/web/main?tailLines=2&limitBytes=5")" = "$(printf 'two\nt')" ]
}

@test "run: output in the answer" {
	[ "$(get -X POST "$URL/run/default/web/main?cmd=echo%20a%20b")" = "a b" ]
	[ "$(code -X POST "$URL/run/default/web/main?cmd=false")" = 500 ]
	[ "$(get -X POST "$URL/run/default/web/u1/main?cmd=false")" = "command terminated with exit code 1" ]
}

exec_tests() {
	run "$KUBECTL" exec web -c main -- sh -c 'echo out; echo err >&2; exit 3'
	[ "$status" = 3 ] && [[ "$output" == *out* ]] && [[ "$output" == *err* ]] && [[ "$output" == *"command terminated with exit code 3"* ]] || return 1
	run timeout 5 "$KUBECTL" exec web -c main -- bh-no-such-command
	[ "$status" = 1 ] && [[ "$output" == *'exec: "bh-no-such-command": executable file not found in $PATH: unknown'* ]] || return 1
	[ "$(head -c 2000000 "$D/www/blob" | "$KUBECTL" exec -i web -c main -- md5sum)" = "$(head -c 2000000 "$D/www/blob" | md5sum)" ] || return 1
	[ "$("$KUBECTL" exec web -c main -- cat "$D/www/blob" | md5sum)" = "$(md5sum < "$D/www/blob")" ] || return 1
	run timeout 5 "$KUBECTL" exec web -c gone -- true
	[ "$status" = 1 ] && [[ "$output" == *'container not found ("gone")'* ]]
}

@test "kubectl exec" {
	need_kubectl
	each_transport exec_tests
}

@test "kubectl exec with a terminal" {
	need_kubectl
	tty_test() {
		run timeout 20 script -qec "stty rows 31 cols 97; $KUBECTL exec -it web -c main -- sh -c 'sleep 0.5; stty size; tty; exit 4'" /dev/null
		[ "$status" = 4 ] && [[ "$output" == *"31 97"* ]] && [[ "$output" == */dev/pts/* ]]
	}
	each_transport tty_test
}

@test "kubectl attach" {
	need_kubectl
	attach_test() { [ "$(echo ping | timeout 10 "$KUBECTL" attach -i web -c main 2>/dev/null)" = "$(printf 'hello\nping')" ]; }
	each_transport attach_test
}

@test "a killed client ends its command" {
	need_kubectl
	vanish_test() {
		"$KUBECTL" exec web -c main -- sleep 98765 3>&- &
		local pid=$!
		wait_for pgrep -f 'sleep 98765$' > /dev/null
		kill -9 $pid
		wait_for test -z "$(pgrep -f '^sleep 98765$')" || wait_for sh -c '! pgrep -f "^sleep 98765\$" >/dev/null'
	}
	each_transport vanish_test
}

port_forward_test() {
	"$KUBECTL" port-forward pod/web ":$WWW" > "$D/pf.out" 2>&1 3>&- &
	local pid=$! port n ok=0
	wait_for grep -q 'Forwarding from 127' "$D/pf.out" || return 1
	port=$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p' "$D/pf.out" | head -1)
	seq 60 | xargs -P 60 -I{} curl -s --max-time 60 -o "$D/got.{}" "http://127.0.0.1:$port/blob"
	for n in $(seq 60); do cmp -s "$D/got.$n" "$D/www/blob" && ok=$((ok + 1)); done
	rm -f "$D"/got.*
	kill $pid
	[ "$ok" = 60 ]
}

@test "kubectl port-forward: 60 connections at once" {
	need_kubectl
	each_transport port_forward_test
}

@test "kubectl port-forward to a port where nobody listens" {
	need_kubectl
	refused_test() {
		"$KUBECTL" port-forward pod/web :1 > "$D/pf.out" 2>&1 3>&- &
		local pid=$!
		wait_for grep -q 'Forwarding from 127' "$D/pf.out" || return 1
		curl -s --max-time 5 "http://127.0.0.1:$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p' "$D/pf.out" | head -1)/" && return 1
		wait_for grep -q 'error forwarding port 1 to pod web' "$D/pf.out" || return 1
		kill $pid 2>/dev/null || true
	}
	each_transport refused_test
}

@test "nothing is left of the streams" {
	wait_for sh -c '[ $(ls /proc/$(cat '"$D"'/host.pid)/task | wc -l) -le 5 ]'
}

@test "logs follow until the container has ended" {
	need_kubectl
	"$KUBECTL" logs -f web -c main > "$D/follow" 2>&1 3>&- &
	local pid=$!
	say log four
	wait_for grep -q four "$D/follow"
	say part 'no end'
	say end
	wait $pid
	[ "$(tail -2 "$D/follow")" = "$(printf 'four\nno end')" ]
}
