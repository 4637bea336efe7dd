#!/usr/bin/env bats
# Volumes other than claims: folders, files and devices of the host, images as volumes, sub paths, live updates, memory.

load lib

setup_file() {
	cluster_up volumes
	image busybox
	image nginx
	mkdir "$ROOT/host" && echo from the host > "$ROOT/host/file" && mkdir "$ROOT/host/sub"
	ln -s /etc/passwd "$ROOT/host/link"
}

teardown_file() { cluster_down; }

pod() {   # pod NAME COMMAND VOLUMES MOUNTS [MORE-OF-SPEC]
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1, labels: {colour: red}}
	spec:
	  restartPolicy: Never
	  terminationGracePeriodSeconds: 1
	  ${5:-}
	  volumes: [$3]
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "$2"]
	    volumeMounts: [$4]
	END
}

file_says() { [ "$($K exec "$1" -- cat "$2")" = "$3" ]; }
shares() { pgrep -fc "bulkhead-share.*$ROOT" || true; }
no_shares() { [ "$(shares)" = 0 ]; }

@test "a folder of the host is read and written, both see what the other writes" {
	pod folder 'sleep 1000' "{name: v, hostPath: {path: $ROOT/host, type: Directory}}" '{name: v, mountPath: /host}'
	wait_for 90 phase_is folder Running
	[ "$($K exec folder -- cat /host/file)" = "from the host" ]
	$K exec folder -- sh -c 'echo from the pod > /host/sub/new; chmod 640 /host/sub/new; chown 12:34 /host/sub/new; mkdir /host/sub/d;
		mv /host/sub/new /host/sub/d/moved; ln -s moved /host/sub/d/l; cat /host/sub/d/l'
	[ "$(cat "$ROOT/host/sub/d/moved")" = "from the pod" ]
	[ "$(stat -c %a:%u:%g "$ROOT/host/sub/d/moved")" = 640:12:34 ]
	echo later > "$ROOT/host/late"
	wait_for 10 file_says folder /host/late later
	$K exec folder -- sh -c 'dd if=/dev/urandom of=/host/big bs=1M count=20 2>/dev/null; sync'
	[ "$($K exec folder -- sha256sum /host/big | cut -d' ' -f1)" = "$(sha256sum < "$ROOT/host/big" | cut -d' ' -f1)" ]
	$K exec folder -- cat /host/link | grep -q root:   # the guest's own file, not the host's
	! $K exec folder -- mknod /host/dev b 8 0
	! $K exec folder -- ls /host/../../etc/bulkhead-nothing
}

@test "the kinds of hostPath, and what cannot be" {
	pod kinds 'cat /f; echo x >> /f; ls -d /made; cat /made/../f; touch /ro/x || echo refused' \
		"{name: f, hostPath: {path: $ROOT/host/made-file, type: FileOrCreate}}, {name: d, hostPath: {path: $ROOT/host/a/b, type: DirectoryOrCreate}},
		 {name: r, hostPath: {path: $ROOT/host, type: Directory}}" \
		'{name: f, mountPath: /f}, {name: d, mountPath: /made}, {name: r, mountPath: /ro, readOnly: true}'
	wait_for 90 phase_is kinds Succeeded
	[[ $($K logs kinds) == */made*refused* ]]
	[ "$(cat "$ROOT/host/made-file")" = x ] && [ -d "$ROOT/host/a/b" ]
	pod file 'true' "{name: v, hostPath: {path: $ROOT/host, type: File}}" '{name: v, mountPath: /v}'
	wait_for 60 event_says "is not a file"
	pod absent 'true' "{name: v, hostPath: {path: $ROOT/absent, type: Directory}}" '{name: v, mountPath: /v}'
	wait_for 60 event_says "$ROOT/absent does not exist"
	pod socket 'true' "{name: v, hostPath: {path: /run/x.sock, type: Socket}}" '{name: v, mountPath: /v}'
	wait_for 60 event_says "is a socket: what is behind it"
	pod nodisk 'true' "{name: v, hostPath: {path: $ROOT/host/file, type: BlockDevice}}" '{name: v, mountPath: /v}'
	wait_for 60 event_says "$ROOT/host/file is not a block device"
	$K delete pod kinds file absent socket nodisk --wait=false
}

@test "a block device of the host is one in the pod" {
	head -c 4M /dev/zero > "$ROOT/device"
	printf 'from the host' | dd of="$ROOT/device" conv=notrunc status=none
	local device; device=$(losetup -f --show "$ROOT/device")
	pod disk 'head -c 13 /dev/xvda; echo; printf of-the-pod | dd of=/dev/xvda bs=512 seek=8 conv=fsync 2>/dev/null; ls -l /dev/xvda' \
		"{name: v, hostPath: {path: $device, type: BlockDevice}}" '{name: v, mountPath: /dev/xvda}'
	wait_for 120 phase_is disk Succeeded || { losetup -d "$device"; false; }
	[[ $($K logs disk) == "from the host"*brw-* ]] || { losetup -d "$device"; false; }
	$K delete pod disk
	losetup -d "$device"
	[ "$(dd if="$ROOT/device" bs=512 skip=8 count=1 status=none | head -c 10)" = of-the-pod ]
}

@test "read-only holds below what is mounted below; a pod's own claim comes and goes with it" {
	mkdir "$ROOT/host/below"
	mount -t tmpfs none "$ROOT/host/below"
	pod own '! touch /ro/below/x && echo refused; echo kept > /own/f; cat /own/f; sleep 1000' \
		"{name: r, hostPath: {path: $ROOT/host}}, {name: c, ephemeral: {volumeClaimTemplate: {metadata: {labels: {of: own}}, spec: {
		  accessModes: [ReadWriteOncePod], resources: {requests: {storage: 16Mi}}}}}}" \
		'{name: r, mountPath: /ro, readOnly: true, recursiveReadOnly: Enabled}, {name: c, mountPath: /own}'
	wait_for 90 phase_is own Running
	umount -l "$ROOT/host/below"
	wait_for 30 logs_say own kept
	$K logs own | grep -q refused
	[ "$($K get pvc own-c -o jsonpath='{.metadata.labels.of} {.status.phase} {.metadata.ownerReferences[0].kind}')" = "own Bound Pod" ]
	$K delete pod own
	wait_for 30 gone pvc own-c
	pod device 'true' "{name: v, hostPath: {path: /dev/null, type: CharDevice}}" '{name: v, mountPath: /v}'
	wait_for 60 event_says "is a character device: what is behind it"
	$K delete pod device
}

@test "sub paths stay in their volume" {
	pod inside 'cat /one; ls /two' "{name: v, hostPath: {path: $ROOT/host}}" \
		'{name: v, mountPath: /one, subPath: file}, {name: v, mountPath: /two, subPathExpr: sub/d}'
	wait_for 90 phase_is inside Succeeded
	[[ $($K logs inside) == *"from the host"*moved* ]]
	ln -sfn / "$ROOT/host/root"
	pod outside 'ls /out' "{name: v, hostPath: {path: $ROOT/host}}" '{name: v, mountPath: /out, subPath: root/etc}'
	wait_for 60 waiting_is outside CreateContainerError
	$K delete pod inside outside --wait=false
}

@test "shares end with their pod and survive hostd" {
	kill -9 "$(pgrep -f "bulkhead-hostd.*$ROOT")"
	wait_for 60 file_says folder /host/file "from the host"
	$K delete pod folder
	wait_for 60 no_shares
}

@test "what a privileged container mounts below a volume, others of the pod see as they asked to" {
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: mounts}
	spec:
	  terminationGracePeriodSeconds: 1
	  volumes: [{name: v, emptyDir: {}}, {name: m, emptyDir: {medium: Memory}}]
	  containers:
	  - &c {name: none, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent,
	    command: [sh, -c, "trap 'exit 1' TERM; while :; do sleep 0.2; done"], securityContext: {privileged: true}, volumeMounts: [{name: v, mountPath: /v}, {name: m, mountPath: /m}]}
	  - {<<: *c, name: sees, volumeMounts: [{name: v, mountPath: /v, mountPropagation: HostToContainer}, {name: m, mountPath: /m, mountPropagation: HostToContainer}]}
	  - {<<: *c, name: both, volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}, {name: m, mountPath: /m, mountPropagation: Bidirectional}]}
	END
	wait_for 120 phase_is mounts Running
	in_() { $K exec mounts -c "$1" -- sh -c "$2; echo ok"; }   # an exec that fails says nothing
	[ "$(in_ both 'set -e; mkdir /v/a /v/b /m/c; mount -t tmpfs none /v/a; mount -t tmpfs none /m/c; echo one > /v/a/f; echo two > /m/c/f')" = ok ]
	[ "$(in_ sees 'cat /v/a/f /m/c/f')" = $'one\ntwo\nok' ]
	[ "$(in_ none 'set -e; ls -A /v/a; ls -A /m/c')" = ok ]
	[ "$(in_ sees 'set -e; mount -t tmpfs none /v/b; touch /v/b/own')" = ok ]
	[ "$(in_ both 'set -e; ls -A /v/b')" = ok ]
	[ "$(in_ both 'set -e; umount /v/a')" = ok ]
	[ "$(in_ sees 'set -e; ls -A /v/a')" = ok ]
	# One that starts anew finds what is mounted.
	$K exec mounts -c sees -- sh -c 'kill 1'
	restarted() { [ "$($K get pod mounts -o json | jq '.status.containerStatuses[] | select(.name == "sees" and .ready) | .restartCount')" = 1 ]; }
	wait_for 60 restarted
	[ "$(in_ sees 'cat /m/c/f')" = $'two\nok' ]
	$K delete pod mounts --wait=false
}

@test "an image is a volume" {
	pod image 'ls /nginx/usr/sbin/nginx; touch /nginx/x || echo read-only; ls /conf' \
		'{name: i, image: {reference: "bulkhead.example/nginx:latest", pullPolicy: IfNotPresent}}' \
		'{name: i, mountPath: /nginx}, {name: i, mountPath: /conf, subPath: etc/nginx}'
	wait_for 90 phase_is image Succeeded
	[[ $($K logs image) == */nginx/usr/sbin/nginx*read-only*nginx.conf* ]]
	pod noimage 'true' '{name: i, image: {reference: "bulkhead.example/absent:latest", pullPolicy: Never}}' '{name: i, mountPath: /i}'
	wait_for 60 event_says "is not present with pull policy of Never"
	$K delete pod image noimage --wait=false
}

@test "memory volumes have a size, and files of objects follow them" {
	$K create configmap conf --from-literal=key=one
	pod live 'sleep 1000' '{name: m, emptyDir: {medium: Memory, sizeLimit: 4Mi}}, {name: c, configMap: {name: conf}},
		{name: d, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}' \
		'{name: m, mountPath: /m}, {name: c, mountPath: /c}, {name: d, mountPath: /d}'
	wait_for 90 phase_is live Running
	run $K exec live -- dd if=/dev/zero of=/m/x bs=1M count=8
	[[ $output == *"No space left"* ]]
	[ "$($K exec live -- cat /d/labels)" = 'colour="red"' ]
	$K patch configmap conf -p '{"data":{"key":"two"}}'
	$K label pod live colour=blue --overwrite
	wait_for 90 file_says live /c/key two
	wait_for 90 file_says live /d/labels 'colour="blue"'
	$K delete pod live --wait=false
}
