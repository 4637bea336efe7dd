#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What no client should send: each time the right code, the right reason, a sentence, and a server that goes on.

load alone

setup_file() { alone_setup malformed; }
teardown_file() {
	[ "$(curl -sk "$URL/readyz")" = ok ]
	! grep -qi -e panic -e 'assertion' -e 'sanitizer' "$DIR/log"
	alone_teardown
}

PODS=/api/v1/namespaces/default/pods
CM=/api/v1/namespaces/default/configmaps

# want CODE REASON TEXT: of the answer that the function before has left. TEXT is part of its message.
want() {
	local got; got="$(code) $(jq -r '.reason // "-"' "$DIR/answer" 2>/dev/null)"
	if [ "$got" != "$1 $2" ] || ! jq -r '.message // ""' "$DIR/answer" | grep -qF -- "$3"; then
		echo "wanted $1 $2 \"$3\", got $got: $(head -c 600 "$DIR/answer")" >&2
		return 1
	fi
	[ "$(jq -r '.kind + " " + .status' "$DIR/answer")" = "Status Failure" ]
}
send() { admin "$@" >"$DIR/answer"; }
raw() {   # raw TEXT: bytes on a TLS connection of their own; the answer's code and body
	python3 - "$PORT" "$DIR" "$1" <<-'END'
	import socket, ssl, sys
	tls = ssl.create_default_context(cafile=sys.argv[2] + "/root/pki/ca.crt")
	tls.load_cert_chain(sys.argv[2] + "/root/pki/admin.crt", sys.argv[2] + "/root/pki/admin.key")
	s = tls.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20), server_hostname="127.0.0.1")
	s.sendall(sys.argv[3].encode("latin-1").decode("unicode_escape").encode("latin-1"))
	answer = b""
	try:
	    while part := s.recv(65536):
	        answer += part
	except OSError:
	    pass
	head, _, body = answer.partition(b"\r\n\r\n")
	words = head.split()
	open(sys.argv[2] + "/code", "w").write(words[1].decode() if len(words) > 1 else "000")
	open(sys.argv[2] + "/answer", "wb").write(body)
	END
}

@test "HTTP: methods, paths, queries, bodies that do not end" {
	send GET /api/v1/namespaces/default/nonsense; want 404 NotFound "could not find the requested resource"
	send GET /apis/nobody.example/v1/things; want 404 NotFound "could not find"
	send GET "$PODS/%zz"; want 400 BadRequest "URL is malformed"
	send GET "$PODS/a%00b"; want 400 BadRequest "URL is malformed"
	send PUT "$PODS" '{}'; want 405 MethodNotAllowed "does not allow this method"
	send POST "$PODS/x" '{}'; want 405 MethodNotAllowed "does not allow this method"
	send TRACE "$PODS"; want 405 MethodNotAllowed "does not allow this method"
	send GET "$PODS?limit=x"; want 400 BadRequest 'limit: must be a number, not "x"'
	send GET "$PODS?limit=-1"; [ "$(code)" = 200 ]
	send GET "$PODS?continue=x"; want 400 BadRequest "continue key is not valid"
	send GET "$PODS?resourceVersion=x"; want 400 BadRequest 'invalid resource version "x"'
	send GET "$PODS?resourceVersion=99999999"; want 504 Timeout "Too large resource version"
	local options='ListOptions.meta.k8s.io "" is invalid'
	send GET "$PODS?resourceVersion=1&resourceVersionMatch=Some"
	want 422 Invalid "$options: resourceVersionMatch: Unsupported value: \"Some\": supported values: \"Exact\", \"NotOlderThan\""
	send GET "$PODS?resourceVersionMatch=Exact"; want 422 Invalid "$options: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless"
	send GET "$PODS?resourceVersion=0&resourceVersionMatch=Exact"; want 422 Invalid "$options: resourceVersionMatch: Forbidden"
	send GET "$PODS?resourceVersion=1&resourceVersionMatch=Exact&continue=x"; want 422 Invalid "forbidden when continue is provided"
	send GET "$PODS?sendInitialEvents=true"; want 422 Invalid "$options: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"
	send GET "$PODS?watch=1&sendInitialEvents=true"; want 422 Invalid "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
	send GET "$PODS?watch=1&resourceVersionMatch=NotOlderThan"; want 422 Invalid "forbidden for watch unless sendInitialEvents is provided"
	send POST "$PODS?dryRun=Some" '{}'; want 422 Invalid 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: []string{"Some"}: supported values: "All"'
	send POST "$PODS?fieldValidation=Some" '{}'; want 422 Invalid 'fieldValidation: Unsupported value: "Some": supported values: "", "Ignore", "Strict", "Warn"'
	send POST "$PODS?fieldManager=$(printf %0129d 0)" '{}'; want 422 Invalid 'fieldManager: Too long: may not be more than 128 bytes'
	send POST "$PODS?fieldManager=a%0Ab" '{}'; want 422 Invalid 'fieldManager: Invalid value: "a\nb": invalid character U+000A (at position 1)'
	send POST "$PODS?fieldManager=a%0Ab" '{'; want 422 Invalid 'fieldManager'      # options before the body
	send PATCH "$PODS/x?fieldValidation=Some" '{' application/merge-patch+json; want 422 Invalid 'PatchOptions'
	ACCEPT=image/png send GET "$PODS"; want 406 NotAcceptable "only the following media types"
	raw 'GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n'; want 413 RequestEntityTooLarge "limit is 3145728"
	raw 'FOO bar baz\r\n\r\n'; [ "$(code)" != 200 ]
	raw 'GET / HTTP/9.9\r\n\r\n'; [ "$(code)" != 200 ]
	raw 'GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n'; [ "$(code)" = 200 ] || [ "$(code)" = 400 ]   # a value ends at a NUL, as in the HTTP library
	raw "GET /$(printf '%040000d' 0) HTTP/1.1\r\nHost: x\r\n\r\n"; [ "$(code)" = 414 ] || [ "$(code)" = 431 ]
	raw 'POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n'
	[ "$(code)" != 201 ]
}

@test "bodies: JSON, YAML, types, sizes, names" {
	send POST "$CM" '{'; want 400 BadRequest "JSON"
	send POST "$CM" ''; want 400 BadRequest ""
	send POST "$CM" '[]'; want 400 BadRequest "must be an object"
	send POST "$CM" 'null'; want 400 BadRequest "must be an object"
	send POST "$CM" $'{"metadata":{"name":"a"},"data":{"k":"\xff"}}'; want 400 BadRequest ""
	send POST "$CM" "$(printf '[%.0s' $(seq 5000))"; want 400 BadRequest ""
	send POST "$CM" '{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}'; want 400 BadRequest "Pod"
	send POST "$CM" '{"metadata":{"name":"a"},"data":[]}'; want 400 BadRequest "cannot unmarshal array"
	send POST "$CM" '{"metadata":{"name":5}}'; want 400 BadRequest "cannot unmarshal number"
	send POST "$CM" '{"metadata":{"name":"A_"}}'; want 422 Invalid "metadata.name: Invalid value"
	send POST "$CM" '{"metadata":{}}'; want 422 Invalid "name or generateName is required"
	send POST "$CM" '{"metadata":{"name":"a","namespace":"other"}}'; want 400 BadRequest "namespace"
	send POST "$CM?fieldValidation=Strict" '{"metadata":{"name":"a"},"nonsense":1}'; want 400 BadRequest 'unknown field "nonsense"'
	send POST "$CM?fieldValidation=Strict" '{"metadata":{"name":"a"},"data":{},"data":{}}'; want 400 BadRequest 'duplicate field "data"'
	# As many warnings as a head has room for, and an answer all the same.
	many="{\"metadata\":{\"name\":\"warned\"}$(for i in $(seq 64); do printf ',"%s%d":1' "$(printf 'x%.0s' $(seq 400))" "$i"; done)}"
	curl -sS --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/admin.crt" --key "$DIR/root/pki/admin.key" -H 'Content-Type: application/json' \
		-d "$many" -D "$DIR/head" -o "$DIR/answer" "$URL$CM?fieldValidation=Warn"
	grep -q '^HTTP/1.1 201' "$DIR/head"
	[ "$(grep -ci '^Warning: 299 - "unknown field' "$DIR/head")" -ge 8 ]
	[ "$(grep -i '^Warning:' "$DIR/head" | wc -c)" -le 4500 ]
	send POST "$CM" $'a: [1\n' application/yaml; want 400 BadRequest "line"
	send POST "$CM" $'a: 1\na: 2\n' application/yaml; want 400 BadRequest ""
	send POST "$CM" $'x: &x [*x]\n' application/yaml; want 400 BadRequest ""
	{ echo 'a0: &a0 [x,x,x,x,x,x,x,x,x,x]'; for i in $(seq 9); do echo "a$i: &a$i [$(printf "*a$((i - 1)),%.0s" 1 2 3 4 5 6 7 8 9 10)]"; done; } >"$DIR/bomb"
	send POST "$CM" "@$DIR/bomb" application/yaml; [ "$(code)" = 400 ] || [ "$(code)" = 413 ]
	send POST "$CM" '<x/>' application/xml; want 415 UnsupportedMediaType "application/xml"
	send POST "$CM" $'k8s\x01\x02\x03' application/vnd.kubernetes.protobuf; want 400 BadRequest ""
	head -c 4000000 /dev/zero | tr '\0' ' ' >"$DIR/big"
	send POST "$CM" "@$DIR/big"; want 413 RequestEntityTooLarge "limit is"
	send PUT "$CM/kube-root-ca.crt" '{"metadata":{"name":"y"}}'; want 400 BadRequest "does not match the name on the URL"
	send PUT "$CM/absent" '{"metadata":{"name":"absent","uid":"none"}}'; [ "$(code)" = 409 ] || [ "$(code)" = 404 ]
	send DELETE "$CM/absent"; want 404 NotFound 'configmaps "absent" not found'
	local options='DeleteOptions.meta.k8s.io "" is invalid'
	send DELETE "$CM/kube-root-ca.crt" '{"propagationPolicy":"Some"}'
	want 422 Invalid "$options: propagationPolicy: Unsupported value: \"Some\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
	send DELETE "$CM/kube-root-ca.crt" '{"propagationPolicy":"Orphan","orphanDependents":true}'
	want 422 Invalid "$options: propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set"
	send DELETE "$CM/kube-root-ca.crt" '{"dryRun":["Some"]}'; want 422 Invalid "$options: dryRun: Unsupported value"
	send DELETE "$CM/kube-root-ca.crt" '{"gracePeriodSeconds":"x"}'; want 400 BadRequest "cannot unmarshal string"
	send DELETE "$CM/kube-root-ca.crt" '{"kind":"Pod","apiVersion":"v1"}'; want 400 BadRequest "it must be DeleteOptions"
	send DELETE "$CM/kube-root-ca.crt" '{"preconditions":{"uid":"other"}}'; want 409 Conflict "the UID in the precondition (other) does not match the UID in record"
}

@test "patches" {
	admin POST "$CM" '{"metadata":{"name":"p"},"data":{"a":"b"}}' >/dev/null
	json=application/json-patch+json merge=application/merge-patch+json strategic=application/strategic-merge-patch+json
	send PATCH "$CM/p?force=true" '{}' $merge; want 422 Invalid 'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'
	send PATCH "$CM/p" '{}' application/json; want 415 UnsupportedMediaType ""
	send PATCH "$CM/p" '{' $merge; want 400 BadRequest ""
	send PATCH "$CM/p" '{}' $json; want 400 BadRequest ""
	send PATCH "$CM/p" '[{"op":"jump","path":"/data"}]' $json; [ "$(code)" = 400 ] || want 422 Invalid ""
	send PATCH "$CM/p" '[{"op":"test","path":"/data/a","value":"x"}]' $json; want 422 Invalid ""
	send PATCH "$CM/p" '[{"op":"remove","path":"/data/none"}]' $json; want 422 Invalid ""
	send PATCH "$CM/p" '[{"op":"add","path":"data","value":1}]' $json; [ "$(code)" = 400 ] || want 422 Invalid ""
	send PATCH "$CM/p" '[{"op":"copy","from":"/data","path":"/data/self"}]' $json; [ "$(code)" = 400 ] || want 422 Invalid ""
	send PATCH "$CM/p" '{"data":5}' $merge; want 400 BadRequest "cannot unmarshal number"
	send PATCH "$CM/p" '{"metadata":{"name":"q"}}' $merge; [ "$(code)" = 400 ] || want 422 Invalid ""
	send PATCH "$CM/p" '{"data":{"$patch":"jump"}}' $strategic; want 400 BadRequest ""
	send PATCH "$CM/p" '{"metadata":{"name":"p"}}' application/apply-patch+yaml; [ "$(code)" = 400 ] || want 422 Invalid "fieldManager"
	send PATCH "$CM/p?fieldManager=m" '{"metadata":{"name":"p","managedFields":[{}]}}' application/apply-patch+yaml; want 400 BadRequest "managedFields"
	send PATCH "$CM/p" '{"metadata":{"resourceVersion":"1"}}' $merge; want 409 Conflict "please apply your changes to the latest version"
	[ "$(admin GET "$CM/p" | jq -c .data)" = '{"a":"b"}' ]
}

@test "selectors" {
	for bad in 'a=b=c' 'a%20in%20(' 'a%20in%20()x' '!' 'a%20notin' ',,' '%5B' 'a%3D%25%25'; do
		send GET "$PODS?labelSelector=$bad"; want 400 BadRequest "" || { echo "$bad" >&2; false; }
	done
	send GET "$PODS?fieldSelector=spec.nonsense=1"; want 400 BadRequest "field label not supported: spec.nonsense"
	send GET "$PODS?fieldSelector=x"; want 400 BadRequest ""
	send DELETE "$PODS?labelSelector=a%20in%20("; want 400 BadRequest ""
	send GET "$PODS?watch=1&labelSelector=("; want 400 BadRequest ""
	for bad in x 1s -1 %201; do
		send GET "$PODS?watch=1&timeoutSeconds=$bad"; want 400 BadRequest "timeoutSeconds: must be a number of seconds" || { echo "$bad" >&2; false; }
	done
	send POST /api/v1/namespaces/default/services '{"metadata":{"name":"s"},"spec":{"selector":{"a":"!"},"ports":[{"port":0}]}}'; want 422 Invalid "spec.ports[0].port"
	send POST /apis/apps/v1/namespaces/default/deployments '{"metadata":{"name":"d"},"spec":{"selector":{"matchExpressions":[{"key":"a","operator":"Like"}]},"template":{}}}'
	want 422 Invalid "Like"
}

@test "tokens and certificates" {
	b64() { printf %s "$1" | base64 -w0 | tr -d = | tr '/+' '_-'; }
	token() { curl -sk -o "$DIR/answer" -w '%{http_code}' -H "Authorization: $1" "$URL/api/v1/nodes" >"$DIR/code"; }
	good=$(admin POST /api/v1/namespaces/default/serviceaccounts/default/token '{"spec":{}}' | jq -r .status.token)
	token "Bearer $good"; want 403 Forbidden 'system:serviceaccount:default:default'
	IFS=. read -r head claims signature <<<"$good"
	none=$(b64 '{"alg":"none"}') hmac=$(b64 '{"alg":"HS256","typ":"JWT"}')
	for bad in "Bearer" "Bearer " "Bearer x" "Bearer .." "Bearer a.b.c" "Basic $(printf admin:admin | base64)" "Bearer $none.$claims." \
		"Bearer $hmac.$claims.$signature" "Bearer $head.$claims." "Bearer $head.$claims.${signature%???}AAA" "Bearer $head.$(b64 '{}').$signature" \
		"Bearer $good.$signature" "Bearer abcdef.0123456789abcdef" "Bearer $(printf '%020000d' 0)" $'Bearer \xff\xfe'; do
		token "$bad"; want 401 Unauthorized "Unauthorized" || { echo "${bad:0:60}" >&2; false; }
	done
	pki="$DIR/root/pki"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=other" -keyout "$pki/other.key" -out "$pki/other.crt" 2>/dev/null
	alone_user stranger system:masters other
	as stranger GET /api/v1/nodes >"$DIR/answer" || true
	[ "$(code)" = 401 ] || [ "$(code)" = 000 ]
	as other GET /api/v1/nodes >"$DIR/answer" || true      # signed by itself
	[ "$(code)" = 401 ] || [ "$(code)" = 000 ]
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/late.key" -subj "/O=system:masters/CN=late" 2>/dev/null |
		openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -days -1 -extfile <(echo extendedKeyUsage=clientAuth) -out "$pki/late.crt" 2>/dev/null ||
		cp "$pki/other.crt" "$pki/late.crt"
	as late GET /api/v1/nodes >"$DIR/answer" || true
	[ "$(code)" = 401 ] || [ "$(code)" = 000 ]
	as server GET /api/v1/nodes >"$DIR/answer" || true      # of the authority, but a server's
	[ "$(code)" != 200 ]
	send POST /apis/certificates.k8s.io/v1/certificatesigningrequests '{"metadata":{"name":"x"},"spec":{"request":"eA==","signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"]}}'
	want 422 Invalid "spec.request"
	send POST /apis/authentication.k8s.io/v1/tokenreviews '{"spec":{"token":"x"}}'
	[ "$(jq -c '.status.authenticated // false' "$DIR/answer")" = false ]
	curl -s --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" -H 'Impersonate-Group: x' -o "$DIR/answer" -w '%{http_code}' \
		"$URL/api/v1/nodes" >"$DIR/code"
	want 400 BadRequest "Impersonate-User"
}
