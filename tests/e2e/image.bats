#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The image store against Debian's docker-registry on loopback. Needs root (owners of files, loop mounts); no VM.

bats_require_minimum_version 1.5.0

setup_file() {
	export TOOL=${BULKHEAD_BUILD:-$PWD/build}/tests/image_tool SRC=$BATS_TEST_DIRNAME/../..
	export W=$(mktemp -d /tmp/image_e2e.XXXXXX) PORT=$((20000 + RANDOM % 20000))
	export REG=127.0.0.1:$PORT
	cat > "$W/registry.yml" <<-YML
		version: 0.1
		log: {level: error}
		storage: {filesystem: {rootdirectory: $W/registry}, delete: {enabled: true}}
		http: {addr: $REG}
	YML
	docker-registry serve "$W/registry.yml" >"$W/registry.log" 2>&1 3>&- &
	echo $! > "$W/registry.pid"
	for n in busybox nginx; do "$SRC/tools/make-image" $n "$W/oci/$n" 3>&-; done
	for n in odd deep zstd index foreign broken longname sparse; do python3 "$SRC/tests/e2e/odd_image.py" $n "$W/oci/$n"; done
	for i in $(seq 50); do curl -sf "http://$REG/v2/" >/dev/null && break; sleep 0.1; done
	for n in busybox nginx odd deep zstd index foreign; do
		skopeo --insecure-policy copy -q --all --dest-tls-verify=false "oci:$W/oci/$n:latest" "docker://$REG/$n:latest"
	done
	skopeo --insecure-policy copy -q --format v2s2 --dest-tls-verify=false "oci:$W/oci/nginx:latest" "docker://$REG/nginx:docker"
}

teardown_file() {
	kill "$(cat "$W/registry.pid")"
	rm -rf "$W" /tmp/image_e2e_*
}

setup() { R=$BATS_TEST_TMPDIR/root; mkdir -p "$R"; }
teardown() { mountpoint -q "$BATS_TEST_TMPDIR/m" && umount "$BATS_TEST_TMPDIR/m" || true; }

tool() { "$TOOL" "$R" "$@"; }
field() { sed -n "s/^$1=//p" <<<"$output"; }
mount_disk() { mkdir -p "$BATS_TEST_TMPDIR/m"; M=$BATS_TEST_TMPDIR/m; mount -o loop,ro -t erofs "$1" "$M"; }
nothing_left() { [ -z "$(ls -A "$R/images/tmp")" ] && [ -z "$(ls -A "$R/images/disks")" ]; }

@test "pull: disk, configuration, digests; a second pull changes nothing" {
	run -0 tool pull $REG/nginx
	[ "$(field ref)" = "$REG/nginx:latest" ]
	[ "$(field repo_digest)" = "$REG/nginx@sha256:$(skopeo inspect --raw --tls-verify=false docker://$REG/nginx | sha256sum | cut -c1-64)" ]
	[ "$(field config | jq -r .StopSignal)" = SIGQUIT ]
	id=$(field id) disk=$(field disk) digest=$(field repo_digest)
	fsck.erofs "$disk"
	before=$(stat -c '%i %Y' "$disk" "$R/images/index.json")
	run -0 tool pull $REG/nginx:latest
	[ "$(field id)" = "$id" ]
	[ "$(stat -c '%i %Y' "$disk" "$R/images/index.json")" = "$before" ]
	for ref in $REG/nginx "$digest" "$id" "${id#sha256:}"; do
		run -0 tool find "$ref"
		[ "$(field id)" = "$id" ]
	done
	run -1 tool find $REG/nginx:other
	[[ $output == ENOENT:* ]]
	[ -z "$(ls -A "$R/images/tmp")" ]
}

@test "two references and two kinds of manifest of one image share a disk" {
	run -0 tool pull $REG/nginx:latest
	id=$(field id)
	skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false docker://$REG/nginx:latest docker://$REG/again/nginx:1
	run -0 tool pull $REG/again/nginx:1
	[ "$(field id)" = "$id" ]
	[ "$(field repo_digest)" != "" ]
	run -0 tool pull $REG/nginx:docker
	[ "$(ls "$R/images/disks" | wc -l)" -le 2 ]
	fsck.erofs "$(field disk)"
	mount_disk "$(field disk)"
	[ -x "$M/usr/sbin/nginx" ]
}

@test "every kind of file arrives as it was; whiteouts apply; nothing leaves the root" {
	mkdir -p /tmp/image_e2e_victim
	run -0 tool pull $REG/odd
	[ -z "$(ls -A /tmp/image_e2e_victim)" ]
	[ ! -e /tmp/image_e2e_escape ] && [ ! -e /tmp/image_e2e_absolute ]
	mount_disk "$(field disk)"; cd "$M/dir"
	[ "$(stat -c '%a %u %g' .)" = "2750 12345 54321" ]
	[ "$(stat -c %a empty)" = 700 ] && [ "$(stat -c %a setuid)" = 4755 ] && [ "$(stat -c %a none)" = 0 ]
	[ "$(stat -c '%u %g' bigid)" = "4000000000 4000000001" ]
	[ "$(stat -c %Y old)" = 1 ] && [ "$(stat -c %Y kept)" = 1600000000 ]
	[ "$(stat -c %y ns | cut -c1-29)" = "$(date -d @1500000000.123456789 '+%F %T.%N')" ]
	[ "$(stat -c '%i %h' first)" = "$(stat -c '%i %h' second)" ]
	[ "$(stat -c '%i %h' third)" = "$(stat -c '%i' first) 3" ]
	[ "$(readlink absolute)" = /etc/hostname ] && [ "$(readlink dangling)" = ../../../no/such ]
	[ "$(readlink long | wc -c)" = 3001 ]
	[ "$(stat -c '%F %t %T' null)" = "character special file 1 3" ]
	[ "$(stat -c '%F %t %T' loop)" = "block special file 7 9" ]
	[ -p fifo ] && [ -f "sp ace" ] && [ -f $'new\nline' ] && [ -f ./-dash ] && [ -f ümläut ]
	[ -f "$(printf 'n%.0s' $(seq 254))" ]
	[ "$(python3 -c 'import os; print(os.getxattr("cap", "user.note").decode(), os.getxattr("cap", "security.capability").hex())')" = \
		"hello 0100000200200000000000000000000000000000" ]
	[ "$(stat -c %s big)" = 3000001 ]
	[ ! -e gone ] && [ "$(ls opaque)" = above ]
	[ "$(cat ../tofile)" = "now a file" ] && [ "$(cat ../todir/inside)" = "now a folder" ]
	[ "$(cat ../"$(printf "$(printf 'd%.0s' $(seq 60))/%.0s" $(seq 10))"deep)" = deep ]
	[ -z "$(find "$M" -name '.wh.*')" ]
	cd /
}

@test "127 layers" {
	run -0 tool pull $REG/deep
	mount_disk "$(field disk)"
	[ "$(cat "$M/last")" = 126 ]
	[ "$(echo "$M"/layer*)" = "$M/layer126" ]
}

@test "zstd layers" {
	run -0 tool pull $REG/zstd
	mount_disk "$(field disk)"
	[ "$(cat "$M/a" "$M/b")" = zstd2 ]
}

@test "an index gives the image for this machine; its own digest is the repository digest" {
	run -0 tool pull $REG/index
	[ "$(field repo_digest | cut -d@ -f2)" = "$(jq -r '.manifests[0].digest' "$W/oci/index/index.json")" ]
	mount_disk "$(field disk)"
	[ "$(cat "$M/arch")" = amd64 ]
	run -1 tool pull $REG/foreign
	[[ $output == *"no match for platform linux/amd64"* ]]
}

@test "the same image makes the same disk" {
	for n in nginx zstd; do
		run -0 tool pull $REG/$n
		cp "$(field disk)" "$BATS_TEST_TMPDIR/first"
		sleep 1.1
		tool rm $REG/$n
		run -0 tool pull $REG/$n
		cmp "$(field disk)" "$BATS_TEST_TMPDIR/first"
	done
}

@test "errors are worded as users know them and leave nothing behind" {
	run -1 tool pull $REG/nosuch:1
	[ "$output" = "ENOENT: failed to pull and unpack image \"$REG/nosuch:1\": failed to resolve reference \"$REG/nosuch:1\": $REG/nosuch:1: not found" ]
	run -1 tool pull 127.0.0.1:1/x
	[[ $output == "EHOSTUNREACH: failed to pull and unpack image \"127.0.0.1:1/x:latest\": failed to resolve reference"*"connection refused" ]]
	run -1 tool pull UPPER
	[[ $output == "EINVAL: "*"repository name must be lowercase" ]]
	run -1 tool pull $REG/nginx@sha256:$(printf '0%.0s' $(seq 64))
	[[ $output == "ENOENT: "* ]]
	echo '{"registries":[]}' > "$R/registries.json"
	run -1 tool pull $REG/nginx
	[[ $output == "EINVAL: "*"registries.json"* ]]
	nothing_left
}

@test "a layer whose bytes are wrong is refused" {
	run -1 tool load "$W/oci/broken"
	[[ $output == "EBADMSG: "* ]]
	nothing_left
}

@test "a file name that mkfs.erofs cannot store is refused with its name" {
	run -1 tool load "$W/oci/longname"
	[[ $output == "ENAMETOOLONG: "*"255 bytes"*nnn* ]]
	nothing_left
}

@test "holes in GNU tar's own form are refused" {
	run -1 tool load "$W/oci/sparse" $REG/sparse
	[[ $output == EBADMSG:*"unknown typeflag"* ]]
	nothing_left
}

@test "the registry swaps a blob: refused" {
	cp -a "$W/oci/busybox" "$BATS_TEST_TMPDIR/b"
	skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$BATS_TEST_TMPDIR/b:latest" docker://$REG/swap:1
	layer=$(skopeo inspect --raw --tls-verify=false docker://$REG/swap:1 | jq -r '.layers[0].digest' | cut -c8-)
	data=$W/registry/docker/registry/v2/blobs/sha256/${layer:0:2}/$layer/data
	cp "$data" "$BATS_TEST_TMPDIR/good"
	printf 'X' | dd of="$data" bs=1 seek=5000 conv=notrunc status=none
	run -1 tool pull $REG/swap:1
	cp "$BATS_TEST_TMPDIR/good" "$data"
	[[ $output == "EBADMSG: "* ]]
	nothing_left
}

@test "mirrors are asked first, the registry itself last" {
	echo "{\"registries\":{\"docker.io\":{\"mirrors\":[\"127.0.0.1:1\",\"http://$REG\"]}}}" > "$R/registries.json"
	skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$W/oci/busybox:latest" docker://$REG/library/busybox:latest
	run -0 tool pull busybox
	[ "$(field ref)" = docker.io/library/busybox:latest ]
	[[ $(field repo_digest) == docker.io/library/busybox@sha256:* ]]
}

@test "credentials" {
	port=$((PORT + 1))
	python3 - $port "$REG" <<-'PY' >/dev/null 2>&1 3>&- &
		import base64, http.server, sys, urllib.request
		class H(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"user:pw").decode():
		            self.send_response(401); self.send_header("WWW-Authenticate", 'Basic realm="x"'); self.end_headers(); return
		        r = urllib.request.Request("http://%s%s" % (sys.argv[2], self.path), headers={"Accept": self.headers.get("Accept", "*/*")})
		        with urllib.request.urlopen(r) as a:
		            self.send_response(200)
		            for k in ("Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version"):
		                if a.headers.get(k): self.send_header(k, a.headers[k])
		            self.end_headers(); self.wfile.write(a.read())
		http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
	PY
	proxy=$!
	for i in $(seq 50); do curl -s "http://127.0.0.1:$port/v2/" >/dev/null && break; sleep 0.1; done
	run -1 tool pull 127.0.0.1:$port/busybox
	[[ $output == "EACCES: "*"pull access denied"* ]]
	AUTH="{\"auths\":{\"127.0.0.1:$port\":{\"username\":\"user\",\"password\":\"bad\"}}}" run -1 tool pull 127.0.0.1:$port/busybox
	[[ $output == "EACCES: "* ]]
	AUTH="{\"auths\":{\"http://127.0.0.1:$port/v2/\":{\"username\":\"user\",\"password\":\"pw\"}}}" run -0 tool pull 127.0.0.1:$port/busybox
	kill $proxy
	[ -z "$(ls -A "$R/images/tmp")" ]
}

@test "load: OCI layout, OCI archive, docker archive; names" {
	run -0 tool load "$W/oci/busybox"
	[[ $output == *docker.io/library/busybox:latest* ]]
	run -0 tool find busybox; id=$(field id)
	tar -C "$W/oci/busybox" -cf "$BATS_TEST_TMPDIR/oci.tar" .
	run -0 tool load "$BATS_TEST_TMPDIR/oci.tar"
	skopeo --insecure-policy copy -q "oci:$W/oci/nginx:latest" "docker-archive:$BATS_TEST_TMPDIR/d.tar:example.com/web:1"
	run -0 tool load "$BATS_TEST_TMPDIR/d.tar"
	[[ $output == *example.com/web:1* ]]
	run -0 tool find example.com/web:1
	fsck.erofs "$(field disk)"
	skopeo --insecure-policy copy -q "oci:$W/oci/busybox:latest" "docker-archive:$BATS_TEST_TMPDIR/n.tar"
	run -1 tool load "$BATS_TEST_TMPDIR/n.tar"
	[[ $output == "EINVAL: "*"gives its image no name"* ]]
	run -0 tool load "$BATS_TEST_TMPDIR/n.tar" box:2
	run -0 tool find box:2
	echo junk > "$BATS_TEST_TMPDIR/junk"
	run -1 tool load "$BATS_TEST_TMPDIR/junk"
	run -1 tool load /nonexistent
	[[ $output == "ENOENT: "* ]]
	[ -z "$(ls -A "$R/images/tmp")" ]
}

@test "an archive's symlinks cannot reach the host's files" {
	mkdir "$BATS_TEST_TMPDIR/a"
	echo '[{"Config":"c","RepoTags":["x:1"],"Layers":["l"]}]' > "$BATS_TEST_TMPDIR/a/manifest.json"
	ln -s /etc/hostname "$BATS_TEST_TMPDIR/a/c"
	run -1 tool load "$BATS_TEST_TMPDIR/a"
	[[ $output == "ENOENT: "*"archive: open c"* ]]
	rm "$BATS_TEST_TMPDIR/a/c"; mkfifo "$BATS_TEST_TMPDIR/a/c"
	run -1 tool load "$BATS_TEST_TMPDIR/a"
	[[ $output == "EINVAL: "*"no plain file"* ]]
}

@test "many pulls at once, of one and of several references" {
	run -0 tool pull $REG/nginx $REG/nginx $REG/nginx $REG/busybox $REG/nginx:docker $REG/odd $REG/nginx $REG/busybox
	[ "$(grep -c ^id= <<<"$output")" = 8 ]
	run -0 tool list
	[ "$(jq -r '.[].refs[]' <<<"$output" | sort | uniq -d)" = "" ]
	[ -z "$(ls -A "$R/images/tmp")" ]
}

@test "remove, garbage collection" {
	tool pull $REG/nginx $REG/busybox
	tool load "$W/oci/nginx"
	run -0 tool rm $REG/nginx
	run -0 tool find docker.io/library/nginx
	run -0 tool rm docker.io/library/nginx
	run -1 tool find "$(field id)"
	[ "$(ls "$R/images/disks" | wc -l)" = 1 ]
	run -0 --separate-stderr tool gc 1
	[ "$output" -gt 1000000 ]
	[ -z "$(ls -A "$R/images/disks" "$R/images/configs" | grep -v :)" ]
	run -1 tool rm $REG/busybox
}

@test "killed at any moment: the next start is clean and the pull works" {
	for ms in 5 20 50 80 120 160 200 260 320 400; do
		"$TOOL" "$R" pull $REG/nginx >/dev/null 2>&1 &
		pid=$!
		sleep "$(printf '0.%03d' $ms)"
		kill -9 $pid 2>/dev/null || true
		wait $pid || true
		run tool list
		[ "$status" = 0 ]
		[ -z "$(ls -A "$R/images/tmp")" ]
		[ "$(ls "$R/images/disks" | wc -l)" = "$(jq length <<<"$output")" ]
		tool rm $REG/nginx || true
	done
	run -0 tool pull $REG/nginx
}

@test "cancelled: -ECANCELED at once" {
	"$TOOL" "$R" pull $REG/nginx >"$BATS_TEST_TMPDIR/out" 2>&1 &
	pid=$!
	sleep 0.1
	kill -TERM $pid
	rc=0; wait $pid || rc=$?
	[ $rc = 1 ]
	grep -q '^ECANCELED: ' "$BATS_TEST_TMPDIR/out"
	[ -z "$(ls -A "$R/images/disks")" ]
}

@test "a pull that breaks off goes on where it was" {
	port=$((PORT + 2))
	# Passes everything on, counts the bytes, and breaks each connection after $LIMIT of them while the file exists.
	python3 - $port "$PORT" "$BATS_TEST_TMPDIR" <<-'PY' >/dev/null 2>&1 3>&- &
		import os, socket, sys, threading
		port, to, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
		def pump(a, b, count):
		    sent = 0
		    while data := a.recv(65536):
		        b.sendall(data); sent += len(data)
		        if count:
		            with open(folder + "/bytes", "a") as f: f.write("%d\n" % len(data))
		            if os.path.exists(folder + "/break") and sent > 2000000: break
		    for s in (a, b):
		        try: s.shutdown(socket.SHUT_RDWR)
		        except OSError: pass
		s = socket.create_server(("127.0.0.1", port))
		while True:
		    c = s.accept()[0]; u = socket.create_connection(("127.0.0.1", to))
		    threading.Thread(target=pump, args=(c, u, False), daemon=True).start()
		    threading.Thread(target=pump, args=(u, c, True), daemon=True).start()
	PY
	proxy=$!
	for i in $(seq 50); do curl -s "http://127.0.0.1:$port/v2/" >/dev/null && break; sleep 0.1; done
	sum() { awk '{n += $1} END {print n + 0}' "$BATS_TEST_TMPDIR/bytes"; }
	# One process for both attempts: a new one would start with an empty tmp/.
	touch "$BATS_TEST_TMPDIR/break"
	"$TOOL" "$R" pull-again 127.0.0.1:$port/nginx 3>&- > "$BATS_TEST_TMPDIR/out" 2>&1 &
	tool_pid=$!
	for i in $(seq 100); do grep -q EHOSTUNREACH "$BATS_TEST_TMPDIR/out" && break; sleep 0.1; done
	grep EHOSTUNREACH "$BATS_TEST_TMPDIR/out"
	small=$(jq -r '.manifests[0].digest' "$W/oci/nginx/index.json" | cut -c8-)
	small=$(jq -r '.layers[0].digest' "$W/oci/nginx/blobs/sha256/$small" | cut -c8-)
	[ -f "$(echo "$R"/images/tmp/pull-*/blobs/sha256/$small)" ]   # the first layer came through and stays
	rm "$BATS_TEST_TMPDIR/break"; : > "$BATS_TEST_TMPDIR/bytes"
	kill -USR1 $tool_pid
	rc=0; wait $tool_pid || rc=$?
	again=$(sum)
	kill $proxy
	[ $rc = 0 ]
	[ "$again" -lt $(($(du -sb "$W/oci/nginx/blobs" | cut -f1) - 1000000)) ]   # the first layer has 1.09 MB
	[ -z "$(ls -A "$R/images/tmp")" ]
}

@test "a full disk: -ENOSPC, nothing left, works again with room" {
	mount -t tmpfs -o size=12m tmpfs "$R"
	run -1 tool pull $REG/nginx
	[[ $output == "ENOSPC: "* ]]
	nothing_left
	mount -o remount,size=100m "$R"
	run -0 tool pull $REG/nginx
	umount "$R"
}
