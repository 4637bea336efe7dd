#!/usr/bin/env bats
# Startup, readiness and liveness probes, postStart and preStop, as a kubelet treats them.

load lib

setup_file() {
	cluster_up probes
	image busybox
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: ready}
	spec:
	  terminationGracePeriodSeconds: 3
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "mkdir /www; echo yes > /www/ok; trap 'echo got TERM; exit 0' TERM; httpd -f -p 8080 -h /www & while :; do sleep 0.2; done"]
	    ports: [{name: web, containerPort: 8080}]
	    readinessProbe: {httpGet: {path: /ok, port: web}, periodSeconds: 1, failureThreshold: 1}
	    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 30}
	    lifecycle:
	      postStart: {exec: {command: [sh, -c, "echo hello > /started"]}}
	      preStop: {exec: {command: [sh, -c, "echo stopping > /proc/1/fd/1"]}}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: sick}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "touch /healthy; sleep 3; rm /healthy; sleep 1000"]
	    livenessProbe: {exec: {command: [cat, /healthy]}, periodSeconds: 1, failureThreshold: 2}
	END
}

teardown_file() { cluster_down; }

ready_is() { [ "$($K get pod "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = "$2" ]; }
restarted() { [ "$($K get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}')" -ge 1 ]; }

@test "a pod is Ready when its startup and readiness probes say so, and not when they do not" {
	wait_for 60 ready_is ready True
	$K exec ready -- mv /www/ok /www/gone
	wait_for 20 ready_is ready False
	$K describe pod ready | grep -q 'Readiness probe failed: HTTP probe failed with statuscode: 404'
	$K exec ready -- mv /www/gone /www/ok
	wait_for 20 ready_is ready True
	[ "$($K get pod ready -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
}

@test "a failing liveness probe restarts the container" {
	wait_for 60 restarted sick
	$K describe pod sick | grep -q 'Container main failed liveness probe, will be restarted'
	$K describe pod sick | grep -q 'Liveness probe failed'
}

@test "postStart has run; preStop runs before SIGTERM" {
	[ "$($K exec ready -- cat /started)" = hello ]
	$K logs ready -f > "$BATS_TEST_TMPDIR/log" 3>&- &
	sleep 1
	$K delete pod ready
	wait
	[ "$(cat "$BATS_TEST_TMPDIR/log")" = $'stopping\ngot TERM' ]
}
