#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Where pods go, what they may take and when they may be moved: scheduling, preemption, quotas, limits, evictions.

load fakes

setup_file() { fakes_setup policy a1=2,zone=a a2=2,zone=a b1=2,zone=b; }
teardown_file() { fakes_teardown; }

pod() {   # pod NAME [extra of spec] [labels] [cpu]
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1, labels: {${3:-app: $1}}}
	spec:
	  ${2:-}
	  containers: [{name: c, image: i, resources: {requests: {cpu: ${4:-100m}}}}]
	END
}

node_of() { get "pod/$1" .spec.nodeName; }
running() { within 10 "[ \"\$(get pod/$1 .status.phase)\" = Running ]"; }
gone() { $K delete pod --all --wait=false; within 10 '[ -z "$($K get pods -o name)" ]'; }

@test "affinity, anti-affinity: with whom, and without" {
	pod db '' 'app: db'
	running db
	zone=$(get "node/$(node_of db)" .metadata.labels.zone)
	for i in 1 2 3; do
		pod near$i 'affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}]}}'
		running near$i
		[ "$(get "node/$(node_of near$i)" .metadata.labels.zone)" = "$zone" ]
	done
	apart='affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: lone}}}]}}'
	for i in 1 2 3 4; do pod lone$i "$apart" 'app: lone'; done
	for i in 1 2 3; do running lone$i; done
	[ "$(for i in 1 2 3; do node_of lone$i; echo; done | sort -u | xargs)" = "a1 a2 b1" ]
	within 5 '[ "$(get pod/lone4 ".status.conditions[0].reason")" = Unschedulable ]'
	get pod/lone4 '.status.conditions[0].message' | grep -qF "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
	$K delete pod lone2                # room for the fourth
	running lone4
	gone
}

@test "spread over zones, and replicas over nodes" {
	spread='topologySpreadConstraints: [{topologyKey: zone, maxSkew: 1, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: s}}}]'
	for i in 1 2 3 4; do pod s$i "$spread" 'app: s'; running s$i; done
	[ "$(for i in 1 2 3 4; do get "node/$(node_of s$i)" .metadata.labels.zone; echo; done | sort | uniq -c | xargs)" = "2 a 2 b" ]
	gone
	$K create deployment web --image=i
	$K scale deployment web --replicas=3
	within 10 '[ "$(get deploy/web .status.readyReplicas)" = 3 ]'
	[ "$($K get pods -o jsonpath='{.items[*].spec.nodeName}' | xargs -n1 | sort | xargs)" = "a1 a2 b1" ]
	$K delete deployment web
	gone
}

@test "a pod that matters more takes the room of one that matters less" {
	$K apply -f - <<-END
	apiVersion: scheduling.k8s.io/v1
	kind: PriorityClass
	metadata: {name: high}
	value: 1000
	END
	$K apply -f - <<-END
	apiVersion: scheduling.k8s.io/v1
	kind: PriorityClass
	metadata: {name: polite}
	value: 1000
	preemptionPolicy: Never
	END
	for n in a1 a2 b1; do pod low-$n "nodeSelector: {kubernetes.io/hostname: $n}" '' 1500m; running low-$n; done
	pod polite 'priorityClassName: polite' '' 1500m
	within 5 '[ "$(get pod/polite ".status.conditions[0].reason")" = Unschedulable ]'
	[ "$($K get pods -o name | wc -l)" = 4 ]
	$K delete pod polite
	pod high $'priorityClassName: high\n  nodeSelector: {kubernetes.io/hostname: a2}' '' 1500m
	running high
	[ "$(node_of high)" = a2 ]
	[ "$($K get pods -o name | sort | xargs)" = "pod/high pod/low-a1 pod/low-b1" ]
	within 5 '$K get events | grep -q "Preempted by pod .* on node a2"'
	gone
}

@test "quotas: what is too much is refused, what goes makes room" {
	$K create namespace q
	$K -n q create quota few --hard=pods=2,requests.cpu=1,count/configmaps=3
	within 5 '[ "$($K -n q get quota few -o jsonpath="{.status.used.pods}")" = 0 ]'
	run $K -n q run x --image=i --restart=Never
	[ "$status" = 1 ]
	[[ "$output" == *'pods "x" is forbidden: failed quota: few: must specify requests.cpu for: x'* ]]
	for i in 1 2; do $K -n q run p$i --image=i --restart=Never --requests=cpu=500m; done
	[ "$($K -n q get quota few -o jsonpath='{.status.used.pods} {.status.used.requests\.cpu}')" = "2 1" ]
	run $K -n q run p3 --image=i --restart=Never --requests=cpu=500m
	[ "$status" = 1 ]
	[[ "$output" == *'exceeded quota: few, requested: pods=1,requests.cpu=500m, used: pods=2,requests.cpu=1, limited: pods=2,requests.cpu=1'* ]]
	whole() { $K -n q apply -f - <<< "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},
		\"spec\":{\"resources\":{\"requests\":{\"cpu\":\"$2\"}},\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}}"; }
	$K -n q delete pod p2
	within 5 '[ "$($K -n q get quota few -o jsonpath="{.status.used.pods}")" = 1 ]'
	run whole w 600m                         # of the pod as a whole: stated, and counted
	[ "$status" = 1 ]
	[[ "$output" == *'exceeded quota: few, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1'* ]]
	whole p2 500m
	[ "$($K -n q get quota few -o jsonpath='{.status.used.pods} {.status.used.requests\.cpu}')" = "2 1" ]
	$K -n q delete pod p1
	within 5 '[ "$($K -n q get quota few -o jsonpath="{.status.used.pods}")" = 1 ]'
	$K -n q run p3 --image=i --restart=Never --requests=cpu=500m
	for i in $(seq 12); do $K -n q create cm c$i >/dev/null 2>&1 & done; wait   # at the same time; kube-root-ca.crt is there
	[ "$($K -n q get cm -o name | wc -l)" = 3 ]
	$K -n q describe quota few | grep -q 'count/configmaps *3 *3'
	$K delete namespace q
}

@test "limit ranges: defaults and bounds" {
	$K create namespace l
	$K -n l apply -f - <<-END
	apiVersion: v1
	kind: LimitRange
	metadata: {name: r}
	spec:
	  limits:
	  - {type: Container, default: {cpu: 300m, memory: 64Mi}, defaultRequest: {cpu: 200m}, min: {cpu: 100m}, max: {cpu: "1"}}
	  - {type: Pod, max: {memory: 1Gi}}
	END
	$K -n l run d --image=i --restart=Never
	[ "$($K -n l get pod d -o jsonpath='{.spec.containers[0].resources.requests.cpu} {.spec.containers[0].resources.limits.cpu} {.spec.containers[0].resources.requests.memory}')" = "200m 300m 64Mi" ]
	run $K -n l run e --image=i --restart=Never --requests=cpu=50m --limits=cpu=2,memory=2Gi
	[ "$status" = 1 ]
	[[ "$output" == *'minimum cpu usage per Container is 100m, but request is 50m'* ]]
	[[ "$output" == *'maximum cpu usage per Container is 1, but limit is 2'* ]]
	[[ "$output" == *'maximum memory usage per Pod is 1Gi, but limit is 2Gi'* ]]
	$K delete namespace l
}

@test "evictions ask the disruption budget: kubectl drain waits" {
	$K create deployment web --image=i
	$K scale deployment web --replicas=3
	within 10 '[ "$(get deploy/web .status.readyReplicas)" = 3 ]'
	$K apply -f - <<-END
	apiVersion: policy/v1
	kind: PodDisruptionBudget
	metadata: {name: web}
	spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
	END
	within 5 '[ "$(get poddisruptionbudgets.v1.policy/web .status.currentHealthy)" = 3 ]'
	[ "$(get poddisruptionbudgets.v1.policy/web .status.disruptionsAllowed)" = 0 ]
	run $K drain a1 --timeout=3s
	[ "$status" = 1 ]
	[[ "$output" == *"Cannot evict pod as it would violate the pod's disruption budget."* ]]
	[ "$(get deploy/web .status.readyReplicas)" = 3 ]
	$K patch poddisruptionbudgets.v1.policy web --type=merge -p '{"spec":{"minAvailable":2}}'
	$K drain a1 --timeout=30s
	within 10 '[ "$(get deploy/web .status.readyReplicas)" = 3 ]'
	[ "$($K get pods -o jsonpath='{.items[*].spec.nodeName}' | xargs -n1 | sort -u | xargs)" = "a2 b1" ]
	$K uncordon a1
	$K delete deployment web
	$K delete poddisruptionbudgets.v1.policy web
	gone
}
