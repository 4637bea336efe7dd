#!/usr/bin/env bats
# Pods that start as clones of a template: what they share, what they must not share, and templates that are no good.
# TEMPLATE_CLONES: how many clones start at once (10).

load lib
load clones

setup_file() {
	load lib
	export PATIENCE=120
	need qemu-system-x86_64 jq skopeo umoci mkfs.erofs
	cluster_up template --waiting 0     # waiting.bats has those that wait
	image busybox >&2
	"$BIN/bulkhead" template build --root "$ROOT" >&2
}

teardown_file() {
	load lib
	cluster_down
}

teardown() {
	[ "${BATS_TEST_COMPLETED:-}" = 1 ] || { what_happened; "$BIN/bulkhead" template ls --root "$ROOT" >&2; } || true
	$K delete pod --all --grace-period=0 --force >/dev/null 2>&1 || true
}

bh() { "$BIN/bulkhead" "$@" --root "$ROOT"; }
templates() { bh template ls -o json | jq -r ".templates[] | $1"; }
ready() { [ "$(templates 'select(.vcpus == 1) | .state')" = Ready ]; }
running() { wait_for 120 phase_is "$1" Running; }
folder() { echo "$ROOT"/templates/[0-9a-f]*; }
logged() { grep -q "$1" "$ROOT/log/hostd.log"; }
hostd_answers() { bh template ls; }

hostd_killed() {   # SIGKILL, and wait for the next one
	local was; was=$(hostd_pid)
	kill -9 "$was"
	wait_for 30 hostd_is_not "$was"
	wait_for 30 hostd_answers
}
hostd_is_not() { local now; now=$(hostd_pid) && [ "$now" != "$1" ]; }

@test "a template is there after up, and ls tells what it is" {
	wait_for 120 ready
	run bh template ls
	[ "$status" = 0 ]
	[[ "$output" == *NAME*STATE*ENGINE* ]]
	[[ "$output" == *" Ready "* ]]
	templates '.key' | grep -Eq '^[0-9a-f]{64}$'
	# Compressed, and no page twice.
	templates 'select(.fileBytes < .distinctBytes and .distinctBytes <= .usedBytes and .usedBytes < 200000000) | .name' | grep -q .
}

@test "a pod starts from it; an annotation asks for a boot" {
	busybox_pod clone Never 'sleep 1000'
	running clone
	[ "$(start_of clone)" = template ]
	bh vm ls -o json | jq -e '.vms[] | select(.pod == "clone") | .stagesMs | has("template") and (has("boot") | not)'
	$K run boot --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never \
		--overrides='{"metadata":{"annotations":{"bulkhead.dev/start":"boot"}}}' -- sleep 1000
	running boot
	[ "$(start_of boot)" = boot ]
}

@test "the first clones show the working set, the next ones have it and fault less" {
	set_of() { templates "select(.vcpus == 1) | $1"; }
	bh template rm all
	bh template build
	[ "$(set_of .samples) $(set_of .workingSetBytes)" = "0 0" ]
	for i in 1 2 3; do
		busybox_pod "w$i" Never 'sleep 1000'
		running "w$i"
		wait_for 30 samples_are "$i"
	done
	bytes=$(set_of .workingSetBytes)
	[ "$bytes" -gt 1000000 ] && [ "$bytes" -lt "$(set_of .usedBytes)" ]
	busybox_pod w4 Never 'sleep 1000'
	running w4
	[ "$(set_of .samples)" = 3 ]
	faults() { bh vm ls -o json | jq -r ".vms[] | select(.pod == \"$1\") | .faults"; }
	[ "$(faults w4)" -lt $(($(faults w1) / 2)) ]
	# Recorded: another hostd begins with it.
	hostd_killed
	wait_for 60 ready
	[ "$(set_of .samples) $(set_of .workingSetBytes)" = "3 $bytes" ] || { busybox_pod w5 Never 'sleep 1000'; running w5; [ "$(set_of .samples)" = 3 ]; }
}
samples_are() { [ "$(templates 'select(.vcpus == 1) | .samples')" = "$1" ]; }

@test "logs, exec, volumes, network and port-forward work in a clone" {
	$K create configmap words --from-literal=greeting=hello
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: full}
	spec:
	  terminationGracePeriodSeconds: 1
	  initContainers:
	  - {name: first, image: bulkhead.example/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo from-init > /data/x"],
	     volumeMounts: [{name: data, mountPath: /data}]}
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "mkdir /www; cat /words/greeting /data/x > /www/index.html; echo serving; exec httpd -f -p 80 -h /www"]
	    volumeMounts: [{name: data, mountPath: /data}, {name: words, mountPath: /words}]
	  volumes:
	  - {name: data, emptyDir: {}}
	  - {name: words, configMap: {name: words}}
	END
	running full
	[ "$(start_of full)" = template ]
	wait_for 30 has_log full serving
	[ "$(pod_in full 'cat /data/x')" = from-init ]
	ip=$($K get pod full -o jsonpath='{.status.podIP}')
	[ "$(curl -s --max-time 20 "http://$ip/")" = hellofrom-init ]
	port=$((20000 + RANDOM % 10000))
	$K port-forward full $port:80 >/dev/null 3>&- &
	forward=$!
	wait_for 20 curl -sf --max-time 5 "http://127.0.0.1:$port/"
	kill $forward
	$K delete configmap words
}
has_log() { $K logs "$1" | grep -q "$2"; }

@test "clones share no secret, and each is a machine of its own" {
	n=${TEMPLATE_CLONES:-10}
	for i in $(seq "$n"); do clone_pod "c$i" & done
	wait
	for i in $(seq "$n"); do
		clone_runs "c$i"
		[ "$(start_of "c$i")" = template ]
	done
	clones_differ $(seq -f 'c%.0f' "$n")
	clone_is_as_all c1
	# Their hostd dies and comes back: they stay what they are.
	id=$(pod_in c1 'cat /proc/sys/kernel/random/boot_id')
	hostd_killed
	wait_for 60 pod_in c1 true
	[ "$(pod_in c1 'cat /proc/sys/kernel/random/boot_id')" = "$id" ]
}

# What programs make secrets from, with the host's own: OpenSSL's keys and TLS randoms, and those of busybox.
key_pod() {   # NAME
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  restartPolicy: Never
	  terminationGracePeriodSeconds: 1
	  volumes: [{name: host, hostPath: {path: /usr, type: Directory}}]
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    volumeMounts: [{name: host, mountPath: /host, readOnly: true}]
	    command:
	    - sh
	    - -c
	    - |
	      export OPENSSL_CONF=/dev/null
	      libs=/host/lib/x86_64-linux-gnu
	      ssl() { \$libs/ld-linux-x86-64.so.2 --library-path \$libs /host/bin/openssl "\$@"; }
	      hello() {   # the random of the ClientHello that a command sends
	        nc -l -p 4433 >/tmp/hello & server=\$!
	        sleep 0.5; "\$@" >/dev/null 2>&1 </dev/null & client=\$!
	        for i in \$(seq 300); do [ "\$(stat -c %s /tmp/hello)" -lt 43 ] || break; sleep 0.1; done
	        kill \$client \$server 2>/dev/null; wait
	        head -c 43 /tmp/hello | tail -c 32 | hexdump -v -e '1/1 "%02x"'; echo
	      }
	      ssl genpkey -algorithm ed25519 | ssl pkey -pubout -outform DER | sha256sum
	      ssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | ssl pkey -pubout -outform DER | sha256sum
	      hello ssl s_client -connect 127.0.0.1:4433
	      hello wget -q -O /dev/null https://127.0.0.1:4433/
	      mkpasswd -m sha512 secret
	      grep -o '^.*stack' /proc/self/maps
	      echo done
	      sleep 1000
	END
}
made_keys() { [ "$($K logs "$1" | tail -1)" = done ]; }

@test "keys, TLS randoms and salts made first thing in clones are all different" {
	for i in 1 2 3; do key_pod "k$i" & done
	wait
	for i in 1 2 3; do
		wait_for 240 made_keys "k$i"
		[ "$(start_of "k$i")" = template ]
	done
	for line in 1 2 3 4 5 6; do
		[ "$(for i in 1 2 3; do $K logs "k$i" | sed -n ${line}p; done | sort -u | grep -c .)" = 3 ]
	done
	$K logs k1
	[ "$($K logs k1 | sed -n 1,4p | awk '{print length($1)}' | xargs)" = "64 64 64 64" ]
}

@test "a template that was altered, cut or robbed of a file is refused, and made again" {
	for harm in 'printf x | dd of=memory bs=1 seek=100000 conv=notrunc status=none' 'truncate -s -1 memory' 'truncate -s 100 state' \
		'rm state' 'echo {} > template.json'; do
		wait_for 120 ready
		(cd "$(folder)" && eval "$harm")
		hostd_killed                        # the next one has nothing in memory
		wait_for 120 logged 'warn hostd template: \(refused and \)\?removed'
		: > "$ROOT/log/hostd.log"
		wait_for 120 ready
	done
	busybox_pod after Never 'sleep 1000'
	running after
	[ "$(start_of after)" = template ]
}

@test "a clone gets its untouched pages after pagerd, hostd and the template are gone" {
	wait_for 120 ready
	busybox_pod keeps Never 'sleep 1000'
	running keeps
	[ "$(start_of keeps)" = template ]
	was=$(pgrep -f "bulkhead-pagerd.*$ROOT")
	kill -9 "$was"
	bh template rm all
	hostd_killed
	wait_for 60 pod_in keeps true
	# What has never run in this guest: kernel code and data that only the template's image has.
	pod_in keeps 'seq 2000 | sort -r | md5sum; find / -xdev >/dev/null 2>&1; ps; df; ping -c 1 127.0.0.1; dmesg; awk "BEGIN { for (i = 0; i < 2000; i++) x = x i }"' >/dev/null
	! pod_in keeps dmesg | grep -E 'BUG|Oops|general protection|segfault'
	[ "$(start_of keeps)" = template ]
	[ "$($K get pod keeps -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
}

@test "SIGKILL of hostd while it makes one leaves nothing behind" {
	bh template rm all
	bh template build >/dev/null 2>&1 3>&- &
	wait_for 30 making
	hostd_killed
	wait_for 120 ready
	! making
	wait_for 10 no_template_runs
}
no_template_runs() { [ "$(pgrep -fc "qemu-system.*-name template ")" = 0 ]; }
making() { [ -e "$(echo "$ROOT"/templates/.new-*/vm/control.sock)" ]; }

@test "SIGKILL of pagerd while one is made: it is made, and clones of it run" {
	bh template rm all
	bh template build >/dev/null 2>&1 3>&- &
	job=$!
	wait_for 30 making
	kill -9 "$(pgrep -f "bulkhead-pagerd.*$ROOT")"
	wait $job
	wait_for 60 ready
	busybox_pod unharmed Never 'sleep 1000'
	running unharmed
	[ "$(start_of unharmed)" = template ]
}

@test "SIGKILL of the template's VM is told, and the next build is as good as any" {
	bh template rm all
	bh template build >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	job=$!
	wait_for 30 making
	kill -9 $(pgrep -f "$ROOT.*bulkhead-vmx" || pgrep -P "$(hostd_pid)" bulkhead-vmx | head -1)
	! wait $job
	grep -q "VM" "$BATS_TEST_TMPDIR/out"
	bh template build
	wait_for 60 ready
}

@test "SIGKILL of a clone's vmx while it comes up: the pod runs nevertheless" {
	wait_for 120 ready
	busybox_pod hit Always 'sleep 1000'
	wait_for 30 vm_of hit
	kill -9 "$(vm_of hit)"
	wait_for 120 pod_in hit true
}
vm_of() { bh vm ls -o json | jq -e -r ".vms[] | select(.pod == \"$1\" and .pid > 0) | .pid"; }

@test "bad sizes and names are refused" {
	run bh template build --vcpus 0
	[ "$status" = 1 ]
	[[ "$output" == *"a number from 1 to 32"* ]]
	run bh template rm nosuch
	[ "$status" = 1 ]
	[[ "$output" == *"no template 'nosuch'"* ]]
	run bh template frob
	[ "$status" = 2 ]
}

@test "a template is made anew when the guest it was made of changes, and the old one goes" {
	bh down
	cp -r "$(dirname "$(readlink -f "$BIN/bulkhead")")" "$ROOT/own-bin"
	cp -r "$BIN/../guest" "$ROOT/guest"
	mv "$ROOT/own-bin" "$ROOT/bin"
	"$ROOT/bin/bulkhead" up --root "$ROOT" --waiting 0
	wait_for 120 ready                          # same bytes, another place: the same template
	was=$(templates .name)
	logged "template: read name=${was:0:12}"
	for input in initramfs.cpio vmlinux; do
		was=$(templates .name)
		head -c 512 /dev/zero >>"$ROOT/guest/$input"   # the guest is the same, its bytes are not
		busybox_pod "old-$input" Never 'sleep 1000'
		running "old-$input"
		[ "$(start_of "old-$input")" = boot ]   # there is none of this guest yet
		wait_for 120 another_than "$was"
		wait_for 60 logged "removed name=${was:0:12}: what it was made of has changed"
		[ "$(ls -d "$ROOT"/templates/[0-9a-f]* | wc -l)" = 1 ]
		busybox_pod "new-$input" Never 'sleep 1000'
		running "new-$input"
		[ "$(start_of "new-$input")" = template ]
		$K delete pod "old-$input" "new-$input" --wait=false
	done
	bh down
	bh up --waiting 0
}
another_than() { ready && [ "$(templates .name)" != "$1" ]; }

@test "with --templates off every VM is booted" {
	bh down
	bh up --templates off
	busybox_pod plain Never 'sleep 1000'
	running plain
	[ "$(start_of plain)" = boot ]
	[ -z "$(templates .name)" ]
	run bh template build
	[ "$status" = 1 ]
	[[ "$output" == *"--templates off"* ]]
}
