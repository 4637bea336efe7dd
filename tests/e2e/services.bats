#!/usr/bin/env bats
# Services: addresses and node ports, connections from pods and from the host, names, variables, and a rolling update that
# loses no request.

load lib

setup_file() {
	cluster_up services
	image busybox
	$K apply -f - <<-END
	apiVersion: apps/v1
	kind: Deployment
	metadata: {name: web}
	spec:
	  replicas: 2
	  selector: {matchLabels: {app: web}}
	  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
	  template:
	    metadata: {labels: {app: web}}
	    spec:
	      terminationGracePeriodSeconds: 5
	      containers:
	      - name: main
	        image: bulkhead.example/busybox:latest
	        imagePullPolicy: IfNotPresent
	        command: [sh, -c, "mkdir /www; hostname > /www/name; exec httpd -f -p 8080 -h /www"]
	        readinessProbe: {httpGet: {path: /name, port: 8080}, periodSeconds: 1}
	        lifecycle: {preStop: {exec: {command: [sleep, "2"]}}}
	---
	apiVersion: v1
	kind: Service
	metadata: {name: web}
	spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
	---
	apiVersion: apps/v1
	kind: StatefulSet
	metadata: {name: db}
	spec:
	  serviceName: db
	  replicas: 1
	  selector: {matchLabels: {app: db}}
	  template:
	    metadata: {labels: {app: db}}
	    spec:
	      terminationGracePeriodSeconds: 1
	      containers:
	      - {name: main, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sleep, "10000"]}
	---
	apiVersion: v1
	kind: Service
	metadata: {name: db}
	spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432}]}
	END
	busybox_pod client Always 'sleep 10000'
}

teardown_file() { cluster_down; }

address() { $K get svc "$1" -o jsonpath='{.spec.clusterIP}'; }
node_port() { $K get svc "$1" -o jsonpath='{.spec.ports[0].nodePort}'; }
gateway() { $K get endpoints kubernetes -o jsonpath='{.subsets[0].addresses[0].ip}'; }
from_pod() { $K exec client -- "$@"; }
ready() { [ "$($K get deploy web -o jsonpath='{.status.readyReplicas}')" = "${1:-2}" ]; }

@test "Services get addresses and node ports; what is taken or outside of the range is refused" {
	$K create service clusterip one --tcp=80
	$K create service nodeport two --tcp=80
	ip=$(address one)
	[[ $ip == 10.* ]] && [ "$ip" != "$(address two)" ]
	[ "$(node_port two)" -ge 30000 ] && [ "$(node_port two)" -le 32767 ]
	run $K create service clusterip three --tcp=80 --clusterip="$ip"
	[ "$status" -eq 1 ]
	[[ $output == *'spec.clusterIPs: Invalid value: []string{"'"$ip"'"}: failed to allocate IP '"$ip"': provided IP is already allocated'* ]]
	run $K create service clusterip three --tcp=80 --clusterip=192.0.2.1
	[[ $output == *'is not in the valid range. The range of valid IPs is 10.'* ]]
	run $K create service nodeport three --tcp=80 --node-port="$(node_port two)"
	[[ $output == *"spec.ports[0].nodePort: Invalid value: $(node_port two): provided port is already allocated"* ]]
	run $K create service nodeport three --tcp=80 --node-port=80
	[[ $output == *'The range of valid ports is 30000-32767'* ]]
	# Replacing it without saying the address keeps it; another type loses its port; what is deleted is free again.
	$K get svc two -o json | jq 'del(.spec.clusterIP, .spec.clusterIPs) | .spec.type = "ClusterIP"' | $K replace -f -
	[[ $(address two) == 10.* ]] && [ -z "$(node_port two)" ]
	$K delete svc one two
	$K create service clusterip three --tcp=80 --clusterip="$ip"
	[ "$(address three)" = "$ip" ]
	$K delete svc three
}

@test "connections from the host and from pods reach the endpoints" {
	wait_for 120 ready
	wait_for 60 phase_is client Running
	wait_for 20 curl -s -m 5 "http://$(address web)/name"
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do curl -s -m 5 "http://$(address web)/name"; done | sort -u > "$ROOT/names"
	[ "$(wc -l < "$ROOT/names")" = 2 ]
	curl -s -m 5 "http://$(gateway):$(node_port web)/name" | grep -q ^web-
	from_pod wget -qO- "http://$(address web)/name" | grep -q ^web-
	from_pod wget -qO- "http://$(gateway):$(node_port web)/name" | grep -q ^web-
	# A pod reaches itself, and the API server, through their Services.
	web=$($K get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
	for i in 1 2 3 4 5 6; do $K exec "$web" -- wget -qO- http://web/name; done | sort -u > "$ROOT/names"
	[ "$(wc -l < "$ROOT/names")" = 2 ]
	from_pod wget -qO- --no-check-certificate https://kubernetes/version 2>/dev/null | grep -q gitVersion
}

@test "names lead to Services, members and external names" {
	from_pod cat /etc/resolv.conf | grep -q '^search default.svc.cluster.local svc.cluster.local cluster.local$'
	from_pod nslookup web.default.svc.cluster.local | grep -q "Address: $(address web)"
	wait_for 60 phase_is db-0 Running
	pod=$($K get pod db-0 -o jsonpath='{.status.podIP}')
	named() { from_pod nslookup db-0.db.default.svc.cluster.local | grep -q "Address: $pod"; }
	wait_for 20 named
	from_pod nslookup db.default.svc.cluster.local | grep -q "Address: $pod"
	$K create service externalname out --external-name web.default.svc.cluster.local
	external() { from_pod nslookup out.default.svc.cluster.local | grep -q "Address: $(address web)"; }
	wait_for 20 external
	run from_pod nslookup nothing.default.svc.cluster.local
	[[ $output == *NXDOMAIN* ]]
	from_pod nslookup "$(address web)" | grep -q 'name = web.default.svc.cluster.local'
}

@test "containers have the variables of the Services of their namespace" {
	busybox_pod linked Never 'env'
	$K run plain --image=bulkhead.example/busybox:latest --image-pull-policy=IfNotPresent --restart=Never \
		--overrides='{"spec":{"enableServiceLinks":false}}' -- env
	wait_for 60 phase_is linked Succeeded
	wait_for 60 phase_is plain Succeeded
	$K logs linked > "$ROOT/env"
	grep -qx "WEB_SERVICE_HOST=$(address web)" "$ROOT/env"
	grep -qx "WEB_SERVICE_PORT_HTTP=80" "$ROOT/env"
	grep -qx "WEB_PORT_80_TCP=tcp://$(address web):80" "$ROOT/env"
	grep -qx "KUBERNETES_SERVICE_HOST=$(address kubernetes)" "$ROOT/env"
	$K logs plain | grep -q KUBERNETES_SERVICE_PORT_HTTPS=443
	run -1 bash -c "$K logs plain | grep WEB_"
	$K delete pod linked plain
}

@test "a client with session affinity stays with its endpoint" {
	$K patch svc web -p '{"spec":{"sessionAffinity":"ClientIP"}}'
	one() {
		for i in 1 2 3 4 5 6 7 8; do curl -s -m 5 "http://$(address web)/name"; done | sort -u > "$ROOT/names"
		[ "$(wc -l < "$ROOT/names")" = 1 ]
	}
	wait_for 20 one
	$K patch svc web -p '{"spec":{"sessionAffinity":"None"}}'
}

@test "a rolling update loses no request" {
	two() { [ "$(for i in 1 2 3 4 5 6 7 8; do curl -s -m 5 "http://$(address web)/name"; done | sort -u | wc -l)" = 2 ]; }
	wait_for 20 two
	ip=$(address web)
	rm -f "$ROOT/stop"
	( while [ ! -e "$ROOT/stop" ]; do
		curl -s -m 10 "http://$ip/name" || echo "failed: $?"
		sleep 0.02
	done ) > "$ROOT/answers" 3>&- &
	loop=$!
	before=$($K get pods -l app=web -o name | sort)
	$K rollout restart deploy web
	$K rollout status deploy web --timeout=180s
	replaced() { [ "$($K get pods -l app=web -o name | wc -l)" = 2 ]; }
	wait_for 60 replaced
	sleep 1
	touch "$ROOT/stop"
	wait $loop
	echo "$(wc -l < "$ROOT/answers") requests, $(sort -u "$ROOT/answers" | wc -l) different answers"
	[ "$($K get pods -l app=web -o name | sort)" != "$before" ]
	[ "$(wc -l < "$ROOT/answers")" -gt 50 ]
	[ "$(sort -u "$ROOT/answers" | grep -c ^web-)" = 4 ]
	run -1 grep failed "$ROOT/answers"
}

@test "a Service without endpoints refuses at once" {
	$K scale deploy web --replicas=0
	refused() { curl -s -m 5 "http://$(address web)/name"; [ $? = 7 ]; }
	wait_for 30 refused
	run from_pod wget -qO- "http://$(address web)/name"
	[[ $output == *refused* ]]
}
