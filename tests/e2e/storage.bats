#!/usr/bin/env bats
# Claims: made with the node's disks, bound, mounted, grown, copied, snapshotted, kept and removed, by kubectl.

load lib

setup_file() {
	cluster_up storage
	image busybox
}

teardown_file() { cluster_down; }

claim() {   # claim NAME SIZE [MORE-OF-SPEC]
	$K apply -f - <<-END
	apiVersion: v1
	kind: PersistentVolumeClaim
	metadata: {name: $1}
	spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: $2}}${3:+, $3}}
	END
}

user() {   # user NAME CLAIM COMMAND [MORE-OF-SPEC]: a pod with the claim at /data
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  restartPolicy: Never
	  terminationGracePeriodSeconds: 1
	  ${4:-}
	  volumes: [{name: data, persistentVolumeClaim: {claimName: $2}}]
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "$3"]
	    volumeMounts: [{name: data, mountPath: /data}]
	END
}

claim_is() { [ "$($K get pvc "$1" -o jsonpath='{.status.phase}')" = "$2" ]; }
claim_has() { [ "$($K get pvc "$1" -o jsonpath='{.status.capacity.storage}')" = "$2" ]; }
volume_is() { [ "$($K get pv "$1" -o jsonpath='{.status.phase}')" = "$2" ]; }
snapshot_ready() { [ "$($K get volumesnapshot "$1" -o jsonpath='{.status.readyToUse}')" = true ]; }
hostd_answers() { [ "$("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq 'length')" -ge 1 ]; }
disks() { find "$ROOT/volumes/disks" -name '*.bhd' | wc -l; }
no_volumes() { [ -z "$($K get pv -o name)" ]; }
records() { find "$ROOT/volumes" -name '*.volume.json' | wc -l; }
only_recorded_disks() { [ "$(disks)" = "$(records)" ]; }     # a class that says Retain keeps its disk and record

@test "there is a default class, and a claim waits for its first consumer" {
	run $K get storageclass
	[[ $output == *"bulkhead-disk (default)"* && $output == *disk.bulkhead.dev*WaitForFirstConsumer* ]]
	claim first 64Mi
	wait_for 10 event_says "waiting for first consumer"
	claim_is first Pending
}

@test "a pod gets the claim's disk, and what it writes outlives it" {
	user writer first 'echo kept > /data/file; df -k /data | tail -1; sync'
	wait_for 90 phase_is writer Succeeded
	claim_is first Bound
	[ "$($K get pvc first -o jsonpath='{.status.capacity.storage}')" = 64Mi ]
	pv=$($K get pvc first -o jsonpath='{.spec.volumeName}')
	[ "$($K get pv "$pv" -o jsonpath='{.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]}')" = \
	  "$($K get pod writer -o jsonpath='{.spec.nodeName}')" ]
	$K delete pod writer
	user reader first 'cat /data/file; mount | grep /data'
	wait_for 90 phase_is reader Succeeded
	[[ $($K logs reader) == *kept*ext4* ]]
	$K delete pod reader
}

@test "a claim grows while its pod runs, and what lies in it stays" {
	user grower first 'sleep 1000'
	wait_for 90 phase_is grower Running
	$K patch pvc first -p '{"spec":{"resources":{"requests":{"storage":"192Mi"}}}}'
	wait_for 30 claim_has first 192Mi
	[ "$($K exec grower -- df -m /data | awk 'END { print ($2 > 150) }')" = 1 ]
	[ "$($K exec grower -- cat /data/file)" = kept ]
	run $K patch pvc first -p '{"spec":{"resources":{"requests":{"storage":"64Mi"}}}}'
	[[ $status -ne 0 && $output == *"can not be less than"* ]]
}

@test "a snapshot and a copy are taken of a claim in use, and stand for themselves" {
	$K exec grower -- sh -c 'echo at the snapshot > /data/file; sync'
	$K apply -f - <<-END
	apiVersion: snapshot.storage.k8s.io/v1
	kind: VolumeSnapshot
	metadata: {name: snap}
	spec: {source: {persistentVolumeClaimName: first}}
	END
	wait_for 30 snapshot_ready snap
	$K exec grower -- sh -c 'echo later > /data/file; sync'
	claim restored 192Mi "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: snap}"
	claim copy 192Mi "dataSource: {kind: PersistentVolumeClaim, name: first}"
	user restored restored 'cat /data/file; echo mine > /data/file; cat /data/file'
	user copy copy 'cat /data/file'
	wait_for 90 phase_is restored Succeeded
	wait_for 90 phase_is copy Succeeded
	[ "$($K logs restored)" = $'at the snapshot\nmine' ]
	[ "$($K logs copy)" = later ]
	[ "$($K exec grower -- cat /data/file)" = later ]
	run $K get volumesnapshot snap
	[[ $output == *true*first*192Mi* ]]
	$K delete pod restored copy grower
}

@test "a snapshot of a claim that nobody uses costs nothing and outlives the claim" {
	$K apply -f - <<-END
	apiVersion: snapshot.storage.k8s.io/v1
	kind: VolumeSnapshot
	metadata: {name: idle}
	spec: {source: {persistentVolumeClaimName: copy}}
	END
	wait_for 30 snapshot_ready idle
	$K delete pvc copy
	claim again 256Mi "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: idle}"
	user again again 'cat /data/file; df -m /data | tail -1'
	wait_for 90 phase_is again Succeeded
	[[ $($K logs again | head -1) == later ]]
	[ "$($K logs again | awk 'END { print ($2 > 200) }')" = 1 ]
	$K delete pod again
	$K delete pvc restored again
	$K delete volumesnapshot snap idle
	[ -z "$($K get volumesnapshotcontents -o name)" ]
}

@test "a block claim is a device, kept when its class says so" {
	$K apply -f - <<-END
	apiVersion: storage.k8s.io/v1
	kind: StorageClass
	metadata: {name: raw}
	provisioner: disk.bulkhead.dev
	reclaimPolicy: Retain
	allowVolumeExpansion: true
	parameters: {filters: "throttle:iops=100000 checksum compress:algorithm=zstd"}
	END
	claim raw 32Mi "volumeMode: Block, storageClassName: raw"
	wait_for 20 claim_is raw Bound
	for pod in 1 2; do
		$K apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: raw$pod}
		spec:
		  restartPolicy: Never
		  volumes: [{name: data, persistentVolumeClaim: {claimName: raw}}]
		  containers:
		  - name: main
		    image: bulkhead.example/busybox:latest
		    imagePullPolicy: IfNotPresent
		    command: [sh, -c, "head -c 9 /dev/xvda; echo written; printf 'raw bytes' | dd of=/dev/xvda conv=fsync 2>/dev/null"]
		    volumeDevices: [{name: data, devicePath: /dev/xvda}]
		END
		wait_for 90 phase_is raw$pod Succeeded
		$K logs raw$pod | tr -d '\000' > "$BATS_TEST_TMPDIR/raw$pod"
		$K delete pod raw$pod
	done
	[ "$(cat "$BATS_TEST_TMPDIR/raw2")" = "raw byteswritten" ]
	pv=$($K get pvc raw -o jsonpath='{.spec.volumeName}')
	"$BIN/bulkhead" disk filter ls "$(find "$ROOT/volumes/disks" -name "$(jq -r .disk "$ROOT/volumes/$pv.volume.json").bhd")" | grep -q compress
	$K delete pvc raw
	wait_for 20 volume_is "$pv" Released
	[ -e "$ROOT/volumes/$pv.volume.json" ]
	$K delete pv "$pv"
}

@test "what a class asks for in vain is said in one sentence" {
	$K apply -f - <<-END
	apiVersion: storage.k8s.io/v1
	kind: StorageClass
	metadata: {name: wrong}
	provisioner: disk.bulkhead.dev
	parameters: {filters: "nosuch"}
	END
	claim wrong 32Mi "storageClassName: wrong"
	wait_for 30 event_says "nosuch"
	claim big 900Ti
	user big big 'true'
	wait_for 30 event_says "the node has room for"
	$K apply -f - <<-END
	apiVersion: v1
	kind: PersistentVolumeClaim
	metadata: {name: many}
	spec: {storageClassName: raw, accessModes: [ReadWriteMany], resources: {requests: {storage: 32Mi}}}
	END
	wait_for 30 event_says "ReadWriteMany is not offered"
	$K delete pod big
	$K delete pvc wrong big many
}

@test "two pods read a claim at once; one that is written has one pod at a time" {
	$K apply -f - <<-END
	apiVersion: v1
	kind: PersistentVolumeClaim
	metadata: {name: shared}
	spec:
	  accessModes: [ReadOnlyMany]
	  resources: {requests: {storage: 192Mi}}
	  dataSource: {kind: PersistentVolumeClaim, name: first}
	END
	user one shared 'cat /data/file; touch /data/x || true; sleep 1000' &
	user two shared 'cat /data/file; sleep 1000'
	wait
	wait_for 90 phase_is one Running
	wait_for 90 phase_is two Running
	wait_for 20 logs_say one later
	wait_for 20 logs_say one "Read-only file system"
	wait_for 20 logs_say two later
	user alone first 'sleep 1000'
	wait_for 90 phase_is alone Running
	user second first 'sleep 1'
	wait_for 30 event_says "one virtual machine at a time"
	$K delete pod one two alone
	wait_for 90 phase_is second Succeeded
	$K delete pod second
	$K delete pvc shared
}

@test "a claim of one pod alone: the next one waits and is told, then has it" {
	$K apply -f - <<-END
	apiVersion: v1
	kind: PersistentVolumeClaim
	metadata: {name: own}
	spec: {accessModes: [ReadWriteOncePod], resources: {requests: {storage: 32Mi}}}
	END
	user owner own 'echo mine > /data/file; sync; sleep 1000'
	wait_for 90 phase_is owner Running
	user waiter own 'cat /data/file'
	wait_for 60 event_says "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
	[ -z "$($K get pod waiter -o jsonpath='{.spec.nodeName}')" ]
	$K delete pod owner
	wait_for 120 phase_is waiter Succeeded
	[ "$($K logs waiter)" = mine ]
	$K delete pod waiter
	$K delete pvc own
}

@test "a claim outlives kills of hostd, of the VM and a full disk" {
	user victim first 'sleep 1000' 'securityContext: {fsGroup: 1234}'
	wait_for 90 phase_is victim Running
	$K exec victim -- sh -c 'echo synced > /data/file; sync; stat -c %g /data/file' | grep -qx 1234
	kill -9 "$(pgrep -f "bulkhead-hostd.*$ROOT")"
	wait_for 30 hostd_answers
	reads() { [ "$($K exec victim -- cat /data/file)" = synced ]; }
	wait_for 30 reads      # the new hostd adopts the VM
	run $K exec victim -- dd if=/dev/zero of=/data/fill bs=1M
	[[ $output == *"No space left on device"* ]]
	kill -9 "$(vm victim pid)"
	wait_for 60 phase_is victim Failed
	$K delete pod victim
	user after first 'cat /data/file; rm /data/fill'
	wait_for 90 phase_is after Succeeded
	[ "$($K logs after)" = synced ]
	$K delete pod after
}

@test "a claim that a pod uses is deleted only when the pod is gone, and its disk with it" {
	user holder first 'sleep 1000'
	wait_for 90 phase_is holder Running
	pv=$($K get pvc first -o jsonpath='{.spec.volumeName}')
	$K delete pvc first --wait=false
	[ -n "$($K get pvc first -o jsonpath='{.metadata.deletionTimestamp}')" ]
	$K exec holder -- cat /data/file
	[ "$(disks)" -ge 1 ]
	$K delete pod holder
	wait_for 20 gone pvc first
	wait_for 20 no_volumes
	[ ! -e "$ROOT/volumes/$pv.volume.json" ]
	wait_for 30 only_recorded_disks
}
