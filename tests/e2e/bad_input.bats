#!/usr/bin/env bats
# What goes wrong is said in the words users know, at once, and leaves nothing behind.

load lib

setup_file() {
	cluster_up bad
	image busybox
}

teardown_file() { cluster_down; }

events_of() { $K get events --field-selector "involvedObject.name=$1" -o jsonpath='{range .items[*]}{.reason}: {.message}{"\n"}{end}'; }
event_says() { events_of "$1" | grep -qF "$2"; }

@test "a manifest without an image is refused with the field's name" {
	run $K apply --validate=false -f - <<-'END'
	{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"a"}]}}
	END
	[ "$status" -ne 0 ]
	[[ $output == *'spec.containers[0].image: Required value'* ]]
}

@test "a manifest that is not YAML is refused" {
	run $K apply -f - <<< '{"apiVersion": '
	[ "$status" -ne 0 ]
}

@test "an unknown image: ErrImagePull, then ImagePullBackOff, events as from a kubelet" {
	$K run unknown --image=127.0.0.1:1/nothing:here --restart=Never
	wait_for 30 waiting_is unknown ImagePullBackOff
	event_says unknown 'Pulling image "127.0.0.1:1/nothing:here"'
	event_says unknown 'Error: ErrImagePull'
	event_says unknown 'Back-off pulling image'
	$K delete pod unknown
}

@test "a bad image name: InvalidImageName" {
	$K apply --validate=false -f - <<-'END'
	{"apiVersion":"v1","kind":"Pod","metadata":{"name":"badname"},"spec":{"containers":[{"name":"a","image":"UPPER/Case:::x"}]}}
	END
	wait_for 30 waiting_is badname InvalidImageName
	$K delete pod badname
}

@test "Never and not present: ErrImageNeverPull" {
	$K run never --image=bulkhead.example/absent:1 --image-pull-policy=Never --restart=Never
	wait_for 30 waiting_is never ErrImageNeverPull
	$K delete pod never
}

@test "a ConfigMap that is missing: CreateContainerConfigError, and it starts when it comes" {
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: waits}
	spec:
	  restartPolicy: Never
	  containers:
	  - {name: a, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "echo $WORD"],
	     env: [{name: WORD, valueFrom: {configMapKeyRef: {name: later, key: word}}}]}
	END
	wait_for 60 waiting_is waits CreateContainerConfigError
	event_says waits 'configmap'
	$K create configmap later --from-literal=word=arrived
	wait_for 60 phase_is waits Succeeded
	[ "$($K logs waits)" = arrived ]
	$K delete pod waits
	$K delete configmap later
}

@test "logs, exec and port-forward of what is not there answer at once" {
	run timeout 10 $K logs nobody
	[[ $output == *'pods "nobody" not found'* ]]
	busybox_pod there Always 'sleep 1000'
	wait_for 60 phase_is there Running
	run timeout 10 $K exec there -c nothere -- true
	[ "$status" -eq 1 ]
	[[ $output == *'container nothere'* ]]
	run timeout 10 $K logs there --previous
	[[ $output == *'previous terminated container'* ]]
	$K delete pod there
}

@test "a pod that nobody has room for stays Pending and says why" {
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: big}
	spec:
	  containers: [{name: a, image: "bulkhead.example/busybox:latest", resources: {requests: {cpu: "500"}}}]
	END
	wait_for 20 event_says big 'Insufficient cpu'
	phase_is big Pending
	$K delete pod big
}

@test "commands with wrong arguments exit with 2 and one sentence" {
	run "$BIN/bulkhead" nonsense
	[ "$status" -eq 2 ]
	run "$BIN/bulkhead" up --root relative
	[ "$status" -eq 2 ]
	run "$BIN/bulkhead" image pull --root "$ROOT" 'UPPER/Case:::x'
	[ "$status" -eq 1 ]
	run "$BIN/bulkhead" vm ls --root /nonexistent
	[ "$status" -eq 1 ]
	[[ $output == *"is the cluster up"* ]]
}

@test "a full disk: one sentence, nothing half made, and work goes on when there is room" {
	small=$(mktemp -d /tmp/bh-small-XXXXXX)
	mount -t tmpfs -o size=40m small "$small"
	"$BIN/bulkhead" up --root "$small/root"
	"$BIN/bulkhead" image load "$CACHE/demo/busybox" --name bulkhead.example/busybox:latest --root "$small/root"
	head -c 60000000 /dev/zero > "$small/filler" 2>/dev/null || true
	run "$BIN/bulkhead" image load "$CACHE/demo/nginx" --name bulkhead.example/nginx:latest --root "$small/root"
	[ "$status" -eq 1 ]
	[[ $output == *"o space left"* ]]
	[ -z "$(ls "$small/root/images/tmp")" ]
	rm "$small/filler"
	"$BIN/bulkhead" image load "$CACHE/demo/nginx" --name bulkhead.example/nginx:latest --root "$small/root"
	"$BIN/bulkhead" down --purge --root "$small/root"
	umount "$small"
	rmdir "$small"
}

