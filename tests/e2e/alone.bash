# SPDX-License-Identifier: Apache-2.0
# A server alone, with options, over its own API: needs curl and jq, no host, no VM, no root.

alone_setup() {   # NAME OPTION...
	export BIN="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/bin"
	export DIR="$(mktemp -d "/tmp/bulkhead-$1-e2e.XXXXXX")"
	shift
	for try in 1 2 3 4 5; do
		export PORT=$((20000 + RANDOM % 10000)) URL
		URL="https://127.0.0.1:$PORT"
		"$BIN/bulkhead-server" --root "$DIR/root" --listen "127.0.0.1:$PORT" --node-name n1 "$@" 2>>"$DIR/log" 3>&- &
		echo $! >"$DIR/pid"
		for i in $(seq 200); do
			kill -0 "$(cat "$DIR/pid")" 2>/dev/null || break
			[ "$(curl -sk "$URL/readyz")" = ok ] && return 0
			sleep 0.02
		done
	done
	cat "$DIR/log" >&2
	return 1
}

alone_teardown() {
	local pid; pid=$(cat "$DIR/pid")
	kill "$pid" 2>/dev/null || true      # a test may have ended it
	while grep -qs '^State:.[^Z]' "/proc/$pid/status"; do sleep 0.02; done
	[ -z "${KEEP_LOG:-}" ] || cp "$DIR/log" "$KEEP_LOG"
	rm -rf "$DIR"
}

alone_user() {   # NAME GROUP [CA]: a certificate
	local pki="$DIR/root/pki" ca=${3:-ca}
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/$1.key" -subj "/O=$2/CN=$1" 2>/dev/null |
		openssl x509 -req -CA "$pki/$ca.crt" -CAkey "$pki/$ca.key" -days 1 -extfile <(echo extendedKeyUsage=clientAuth) \
			-out "$pki/$1.crt" 2>/dev/null
}

# as USER METHOD PATH [BODY [CONTENT-TYPE]]: the answer's body; its code goes to $DIR/code.
as() {
	local data=()
	[ -n "${HEADER:-}" ] && data=(-H "$HEADER")
	[ $# -ge 4 ] && data+=(-H "Content-Type: ${5:-application/json}" --data-binary "$4")
	curl -sS -X "$2" --path-as-is --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/$1.crt" --key "$DIR/root/pki/$1.key" \
		-H "Accept: ${ACCEPT:-application/json}" "${data[@]}" -w '%{stderr}%{http_code}' "$URL$3" 2>"$DIR/code"
}
admin() { as admin "$@"; }
code() { cat "$DIR/code"; }

eventually() {   # SHELL-EXPRESSION, within a minute
	local end=$((SECONDS + 60))
	until eval "$1"; do
		[ $SECONDS -lt $end ] || { echo "not within a minute: $1" >&2; return 1; }
		sleep 0.1
	done
}
