#!/usr/bin/env bats
# Startup, readiness and liveness probes, postStart and preStop, as a kubelet treats them.

load lib

setup_file() {
	cluster_up probes
	image busybox
	image nginx
	$K create configmap ways --from-literal=conf='daemon off; events {} pid /tmp/pid; error_log stderr;
	http { access_log /v/access; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
	  server { listen 8000;
	    location /hook { return 200 started; }
	    location /moved { return 302 /there; }
	    location /there { if ($http_x_probe != "yes") { return 403; } return 200 here; }
	    location /away { return 302 http://elsewhere.example/; }
	    location /lost { return 302 /nowhere; }
	    location /nowhere { return 404; } } }'
	$K apply -f - <<-END
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
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: crew}
	spec:
	  terminationGracePeriodSeconds: 60
	  volumes: [{name: v, hostPath: {path: $ROOT/crew, type: DirectoryOrCreate}}]
	  initContainers:
	  - &c
	    name: first
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    restartPolicy: Always
	    volumeMounts: [{name: v, mountPath: /v}]
	    env: [{name: WHO, value: first}]
	    command: [sh, -c, 'trap "sleep 1; echo \$WHO ends >> /v/log; exit 0" TERM; echo \$WHO runs >> /v/log; while :; do sleep 0.2; done']
	    startupProbe: {exec: {command: [sh, -c, 'sleep 2; echo first is up >> /v/log']}, timeoutSeconds: 20}
	    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo first is told >> /v/log']}}}
	  - {<<: *c, name: task, restartPolicy: null, startupProbe: null, lifecycle: null, command: [sh, -c, echo task runs >> /v/log]}
	  - {<<: *c, name: second, startupProbe: null, lifecycle: null, env: [{name: WHO, value: second}]}
	  containers:
	  - {<<: *c, name: main, restartPolicy: null, startupProbe: null, lifecycle: {preStop: {sleep: {seconds: 2}}}, env: [{name: WHO, value: main}]}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: ways}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - &w
	    name: server
	    image: bulkhead.example/nginx:latest
	    imagePullPolicy: IfNotPresent
	    command: [nginx, -c, /conf/conf]
	    volumeMounts: [{name: conf, mountPath: /conf}, {name: v, mountPath: /v}]
	    ports: [{name: web, containerPort: 8000}]
	    readinessProbe: {httpGet: {path: /moved, port: web, httpHeaders: [{name: X-Probe, value: "yes"}]}, periodSeconds: 1}
	  - {<<: *w, name: away, ports: null, command: [sleep, "100000"], readinessProbe: {httpGet: {path: /away, port: 8000}, periodSeconds: 1}}
	  - {<<: *w, name: lost, ports: null, command: [sleep, "100000"], readinessProbe: {httpGet: {path: /lost, port: 8000}, periodSeconds: 1}}
	  - {<<: *w, name: slow, ports: null, command: [sleep, "100000"], readinessProbe: {exec: {command: [sleep, "10"]}, periodSeconds: 1}}
	  - {<<: *w, name: closed, ports: null, command: [sleep, "100000"], lifecycle: {preStop: {httpGet: {path: /hook, port: 8000}}}, readinessProbe: {tcpSocket: {port: 8001}, periodSeconds: 1}}
	  volumes: [{name: conf, configMap: {name: ways}}, {name: v, hostPath: {path: $ROOT/crew, type: DirectoryOrCreate}}]
	END
}

teardown_file() { cluster_down; }

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

@test "sidecars start before those they serve, when their startup probe says so, and end after them, the last one first" {
	wait_for 90 ready_is crew True
	[ "$(cat "$ROOT/crew/log")" = $'first runs\nfirst is up\ntask runs\nsecond runs\nmain runs' ]
	$K delete pod crew
	[ "$(tail -n +6 "$ROOT/crew/log")" = $'first is told\nmain ends\nsecond ends\nfirst ends' ]
}

@test "HTTP probes follow redirects on their host; what a probe failed of is said" {
	container_ready() { [ "$($K get pod ways -o json | jq ".status.containerStatuses[] | select(.name == \"$1\") | .ready")" = "$2" ]; }
	says() { $K describe pod ways | grep -qF "$1"; }
	wait_for 90 container_ready server true
	wait_for 30 container_ready away true          # another host: an answer like any other
	local ip; ip=$($K get pod ways -o jsonpath='{.status.podIP}')
	wait_for 30 says 'Readiness probe failed: HTTP probe failed with statuscode: 404'
	wait_for 30 says 'Readiness probe failed: command "sleep 10" timed out'
	wait_for 30 says "Readiness probe failed: dial tcp $ip:8001: connect: connection refused"
	container_ready lost false
	container_ready slow false
	container_ready closed false
	$K delete pod ways
	grep -q 'GET /hook HTTP/1.1" 200' "$ROOT/crew/access"     # the preStop hook
}
