#!/usr/bin/env bats
# Pods from a folder of the host, and a host that goes down in order.

load lib

setup_file() {
	cluster_up static
	image busybox
	export MANIFESTS=$ROOT/manifests NODE
	NODE=$(jq -r .nodeName "$ROOT/cluster.json")
}

teardown_file() { cluster_down; }

manifest() {   # manifest NAME COMMAND: whole at once, as an editor does
	cat > "$MANIFESTS/.$1" <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1, labels: {app: $1}}
	spec:
	  terminationGracePeriodSeconds: 2
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "$2"]
	END
	mv "$MANIFESTS/.$1" "$MANIFESTS/$1.yaml"
}
annotation() { $K get pod "$1" -o json | jq -r ".metadata.annotations[\"kubernetes.io/config.$2\"]"; }
uid() { $K get pod "$1" -o jsonpath='{.metadata.uid}'; }
boot_id() { $K exec "$1" -- cat /proc/sys/kernel/random/boot_id; }
vms() { "$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq '.vms | length'; }
pid_of() { pgrep -f "bulkhead-$1 --root $ROOT( |\$)" | head -1; }

@test "a file in the folder is a pod, shown by a mirror" {
	manifest web 'echo one; exec sleep 1000'
	wait_for 90 phase_is web-$NODE Running
	[ "$(annotation web-$NODE source)" = file ]
	[ "$(annotation web-$NODE mirror)" = "$(annotation web-$NODE hash)" ]
	$K get pod web-$NODE -o json | jq -e ".metadata.ownerReferences[0] | .kind == \"Node\" and .name == \"$NODE\" and .controller"
	[ "$($K logs web-$NODE)" = one ]
	$K exec web-$NODE -- true
	$K describe pod web-$NODE | grep -q 'Started container main'
}

@test "a mirror that is deleted comes back, the pod goes on" {
	before=$(boot_id web-$NODE) shown=$(uid web-$NODE)
	$K delete pod web-$NODE --wait=false
	another() { [ -n "$(uid web-$NODE)" ] && [ "$(uid web-$NODE)" != "$shown" ]; }
	wait_for 30 another
	wait_for 30 phase_is web-$NODE Running
	[ "$(boot_id web-$NODE)" = "$before" ]
	[ "$(vms)" = 1 ]
}

@test "a hostd that is killed adopts it; what changed meanwhile is done" {
	before=$(boot_id web-$NODE) shown=$(uid web-$NODE)
	kill -9 "$(pid_of hostd)"
	wait_for 30 boot_id web-$NODE
	[ "$(boot_id web-$NODE)" = "$before" ]
	[ "$(uid web-$NODE)" = "$shown" ]
	manifest web 'echo two; exec sleep 1000'
	kill -9 "$(pid_of hostd)"
	replaced() { [ "$($K logs web-$NODE)" = two ]; }
	wait_for 90 replaced
	[ "$(uid web-$NODE)" != "$shown" ]
	wait_for 30 phase_is web-$NODE Running
	[ "$(vms)" = 1 ]
}

@test "a file that is wrong is told of, and the pod goes on; what it may not use is said" {
	before=$(boot_id web-$NODE)
	echo 'kind: [' > "$MANIFESTS/web.yaml"
	printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: needy}\nspec: {volumes: [{name: v, secret: {secretName: s}}], containers: [{name: a, image: i}]}\n' > "$MANIFESTS/needy.yaml"
	told() { $K get events -o json | jq -e '[.items[] | select(.reason == "FailedStaticPod" and .involvedObject.kind == "Node") | .message] |
		any(test("web.yaml: .*line")) and any(test("cannot use objects of the API .secret.$"))'; }
	wait_for 30 told
	[ "$(boot_id web-$NODE)" = "$before" ]
	rm "$MANIFESTS/needy.yaml"
}

@test "it runs without the API server and is shown when that is back" {
	server=$(pid_of server)
	kill -STOP "$server"
	manifest alone 'exec sleep 1000'
	there() { [ "$(vms)" = 2 ]; }
	wait_for 90 there
	kill -CONT "$server"
	wait_for 60 phase_is alone-$NODE Running
}

@test "a file that goes takes its pod with it, also while nobody looks" {
	rm "$MANIFESTS/alone.yaml"
	wait_for 40 gone pod alone-$NODE
	kill -9 "$(pid_of hostd)"
	rm "$MANIFESTS/web.yaml"
	wait_for 60 gone pod web-$NODE
	nobody() { [ "$(vms)" = 0 ]; }
	wait_for 20 nobody
	[ -z "$(ls "$ROOT/pods")" ]
}

@test "an object that claims to show a pod of a file, which is not there, is deleted" {
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: false-$NODE, annotations: {kubernetes.io/config.mirror: "0123456789abcdef0123456789abcdef"}}
	spec: {nodeName: $NODE, containers: [{name: main, image: "bulkhead.example/busybox:latest"}]}
	END
	wait_for 20 gone pod false-$NODE
}

ending_pod() {   # ending_pod NAME CLASS: ends two seconds after SIGTERM, with 7
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  priorityClassName: $2
	  restartPolicy: OnFailure
	  terminationGracePeriodSeconds: 60
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "trap 'sleep 2; exit 7' TERM; while :; do sleep 0.1; done"]
	END
}
status_of() { $K get pod "$1" -o jsonpath="{.status.$2}"; }
ready() { $K get node "$NODE" -o json | jq -r '.status.conditions[] | select(.type == "Ready") | .status + " " + .message'; }
ready_is() { [[ "$(ready)" == $1 ]]; }

@test "the host goes down: pods end by priority, within their time, and say why; new ones are refused" {
	manifest web 'echo three; exec sleep 1000'
	ending_pod plain ''
	ending_pod critical system-cluster-critical
	for p in web-$NODE plain critical; do wait_for 90 phase_is $p Running; done
	sleep 1    # their traps are set
	hostd=$(pid_of hostd) before=$(boot_id web-$NODE)
	kill -PWR "$hostd"
	wait_for 20 ready_is "False node is shutting down"
	busybox_pod late Never 'true'
	$K get pod late -o json | jq -e '.spec.nodeName' || $K create --raw "/api/v1/namespaces/default/pods/late/binding" -f - <<-END
	{"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "late"}, "target": {"kind": "Node", "name": "$NODE"}}
	END
	refused() { [ "$(status_of late reason)" = NodeShutdown ]; }
	wait_for 20 refused
	wait_for 60 phase_is critical Failed
	for p in plain critical; do
		[ "$(status_of $p reason)" = Terminated ]
		[ "$(status_of $p message)" = "Pod was terminated in response to imminent node shutdown." ]
		[ "$(status_of $p 'containerStatuses[0].state.terminated.exitCode')" = 7 ]
	done
	[[ "$(status_of plain 'containerStatuses[0].state.terminated.finishedAt')" < "$(status_of critical 'containerStatuses[0].state.terminated.finishedAt')" ]]
	$K get events -o json | jq -e '[.items[] | select(.reason == "Shutdown" and .involvedObject.kind == "Node")] | length >= 1'
	# It ends when they have; the next one is Ready again, and starts what is in its folder.
	another() { [ -n "$(pid_of hostd)" ] && [ "$(pid_of hostd)" != "$hostd" ]; }
	wait_for 30 another
	wait_for 30 ready_is "True *"
	anew() { [ "$(boot_id web-$NODE)" != "$before" ]; }
	wait_for 90 anew
	wait_for 30 phase_is web-$NODE Running
	[ "$(vms)" = 1 ]
	$K delete pod plain critical late
}

@test "down --drain does the same before it stops everything" {
	ending_pod plain ''
	wait_for 90 phase_is plain Running
	sleep 1
	"$BIN/bulkhead" down --drain --root "$ROOT"
	[ -z "$(pgrep -f "(bulkhead|qemu-system).*$ROOT")" ]
	"$BIN/bulkhead" up --root "$ROOT"
	[ "$(status_of plain reason)" = Terminated ]
	[ "$(status_of plain 'containerStatuses[0].state.terminated.exitCode')" = 7 ]
	wait_for 90 phase_is web-$NODE Running
}
