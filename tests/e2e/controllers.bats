#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The controllers, through kubectl, with a node that runs nothing (fake_node.py): no host, no VM, no root.

load fakes

setup_file() { fakes_setup controllers n1 n2; }
teardown_file() { fakes_teardown; }

workload() {   # workload KIND NAME REPLICAS [extra of spec] [annotations]
	$K apply -f - <<-END
	apiVersion: apps/v1
	kind: $1
	metadata: {name: $2}
	spec:
	  ${3:+replicas: $3}
	  selector: {matchLabels: {app: $2}}
	  ${4:-}
	  template:
	    metadata: {labels: {app: $2}, annotations: {${5:-}}}
	    spec: {containers: [{name: c, image: "i:1", ports: [{name: http, containerPort: 8080}]}]}
	END
}

job() {   # job NAME EXIT [extra of spec]
	$K apply -f - <<-END
	apiVersion: batch/v1
	kind: Job
	metadata: {name: $1}
	spec:
	  ${3:-}
	  template:
	    metadata: {annotations: {$([ -z "$2" ] || echo "fake/exit: '$2'")}}
	    spec: {restartPolicy: Never, containers: [{name: c, image: i}]}
	END
}

@test "a Deployment comes up, is updated, undone, restarted, and takes its pods along" {
	workload Deployment web 3
	timeout 10 $K rollout status deploy/web
	[ "$(get deploy/web '.status.conditions[?(@.type=="Available")].status')" = True ]
	$K set image deploy/web c=i:2
	timeout 10 $K rollout status deploy/web
	[ "$($K get rs --no-headers | wc -l)" = 2 ]
	$K rollout undo deploy/web
	timeout 10 $K rollout status deploy/web
	[ "$(get deploy/web '.spec.template.spec.containers[0].image')" = i:1 ]
	[ "$(get deploy/web '.metadata.annotations.deployment\.kubernetes\.io/revision')" = 3 ]
	[ "$($K get rs --no-headers | wc -l)" = 2 ]      # the old set is used again
	$K rollout history deploy/web | grep -q '^2 '
	$K rollout restart deploy/web
	timeout 10 $K rollout status deploy/web
	[ "$(pods app=web | wc -w)" = 3 ]
	$K delete deploy web
	within 5 '[ -z "$(pods app=web)" ] && [ -z "$($K get rs -o name)" ]'
}

@test "a paused Deployment is scaled but not rolled; a stuck one says so" {
	workload Deployment slow 2 "progressDeadlineSeconds: 2"
	timeout 10 $K rollout status deploy/slow
	$K rollout pause deploy/slow
	$K set image deploy/slow c=i:2
	$K patch deploy slow -p '{"spec":{"replicas":3}}'
	within 5 '[ "$(get deploy/slow .status.readyReplicas)" = 3 ]'
	[ "$($K get rs --no-headers | wc -l)" = 1 ]
	$K patch deploy slow -p '{"spec":{"template":{"metadata":{"annotations":{"fake/ready":"false"}}}}}'
	$K rollout resume deploy/slow
	within 10 '[ "$(get deploy/slow ".status.conditions[?(@.type==\"Progressing\")].reason")" = ProgressDeadlineExceeded ]'
	[ "$(get deploy/slow .status.readyReplicas)" -ge 2 ]      # the old ones still serve
	run timeout 10 $K rollout status deploy/slow
	[ "$status" != 0 ]
	$K delete deploy slow
}

@test "Recreate: no two templates at the same time" {
	workload Deployment one 2 "strategy: {type: Recreate}"
	timeout 10 $K rollout status deploy/one
	$K set image deploy/one c=i:2
	timeout 10 $K rollout status deploy/one
	[ "$($K get pods -l app=one -o jsonpath='{.items[*].spec.containers[0].image}')" = "i:2 i:2" ]
	$K delete deploy one
}

@test "a ReplicaSet replaces, adopts and lets go" {
	workload ReplicaSet rs 2
	within 5 '[ "$(get rs/rs .status.readyReplicas)" = 2 ]'
	first=$(pods app=rs | cut -d' ' -f1)
	$K delete pod "$first"
	within 5 '[ "$(get rs/rs .status.readyReplicas)" = 2 ] && ! $K get pod '"$first"
	second=$(pods app=rs | cut -d' ' -f1)
	$K label pod "$second" app=other --overwrite
	within 5 '[ "$(pods app=rs | wc -w)" = 2 ]'
	[ -z "$(get "pod/$second" '.metadata.ownerReferences')" ]
	$K label pod "$second" app=rs --overwrite           # three match now: it is adopted and one of them goes
	within 5 '[ "$(pods app=rs | wc -w)" = 2 ]'
	$K delete pod --all
	$K delete rs rs
}

@test "deletion: orphan, background, foreground" {
	workload Deployment del 1
	timeout 10 $K rollout status deploy/del
	rs=$($K get rs -o name)
	$K delete deploy del --cascade=orphan 2>/dev/null || $K delete deploy del --cascade=false
	within 5 '! $K get deploy/del'
	sleep 0.3
	[ "$($K get rs -o name)" = "$rs" ]
	[ -z "$(get "$rs" .metadata.ownerReferences)" ]
	$K proxy --port=0 >"$DIR/proxy" 3>&- & proxy=$!
	within 5 'grep -q Starting "$DIR/proxy"'
	address=$(grep -o '127.0.0.1:[0-9]*' "$DIR/proxy")
	curl -s -X DELETE -H 'Content-Type: application/json' -d '{"propagationPolicy":"Foreground"}' \
		"http://$address/apis/apps/v1/namespaces/default/replicasets/${rs#*/}" >"$DIR/out"
	kill $proxy
	[ "$(jq -r '.metadata.finalizers[0]' "$DIR/out")" = foregroundDeletion ]
	within 5 '[ -z "$($K get rs -o name)" ] && [ -z "$(pods app=del)" ]'
}

@test "an object whose owner never was is garbage" {
	$K create -f - <<-END
	{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"lost","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"00000000-0000-4000-8000-000000000000"}]}}
	END
	within 5 '! $K get cm lost'
}

@test "Jobs: completions, indexes, failure, deadline, end of life" {
	job ok 0 $'completions: 4\n  parallelism: 2'
	timeout 10 $K wait --for=condition=complete job/ok
	[ "$(get job/ok .status.succeeded)" = 4 ]
	job indexed 0 $'completions: 3\n  parallelism: 2\n  completionMode: Indexed'
	timeout 10 $K wait --for=condition=complete job/indexed
	[ "$(get job/indexed .status.completedIndexes)" = 0-2 ]
	[ "$($K get pods -l job-name=indexed -o jsonpath='{.items[*].metadata.finalizers}')" = "" ]
	job bad 1 "backoffLimit: 0"
	timeout 10 $K wait --for=condition=failed job/bad
	[ "$(get job/bad '.status.conditions[?(@.type=="Failed")].reason')" = BackoffLimitExceeded ]
	job late "" "activeDeadlineSeconds: 1"
	timeout 10 $K wait --for=condition=failed job/late
	[ "$(get job/late '.status.conditions[?(@.type=="Failed")].reason')" = DeadlineExceeded ]
	within 5 '[ -z "$(pods job-name=late)" ]'
	job brief 0 "ttlSecondsAfterFinished: 0"
	within 5 '! $K get job brief'
	job running ""
	within 5 '[ "$(get job/running .status.active)" = 1 ]'
	$K delete job --all
	within 5 '[ -z "$(pods job-name)" ]'      # also of a Job that was deleted while it ran
}

@test "Jobs: what a failure means, what is success, each index for itself, suspended" {
	reason() { get "job/$1" ".status.conditions[?(@.type==\"$2\")].reason"; }
	job fatal 42 $'podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}'
	within 10 '[ "$(reason fatal Failed)" = PodFailurePolicy ]'
	[[ "$(get job/fatal '.status.conditions[?(@.type=="Failed")].message')" == "Container c for pod default/fatal-"*"failed with exit code 42 matching FailJob rule at index 0" ]]
	job some 0 $'completionMode: Indexed\n  completions: 3\n  parallelism: 1\n  successPolicy: {rules: [{succeededIndexes: "0-1"}]}'
	within 10 '[ "$(reason some Complete)" = SuccessPolicy ]'
	[ "$(get job/some .status.completedIndexes)" = 0,1 ]
	job lost 1 $'completionMode: Indexed\n  completions: 2\n  parallelism: 2\n  backoffLimitPerIndex: 0'
	within 10 '[ "$(reason lost Failed)" = FailedIndexes ]'
	[ "$(get job/lost .status.failedIndexes)" = 0,1 ]
	job toomany 1 $'completionMode: Indexed\n  completions: 9\n  parallelism: 1\n  backoffLimitPerIndex: 0\n  maxFailedIndexes: 1'
	within 10 '[ "$(reason toomany Failed)" = MaxFailedIndexesExceeded ]'
	job again 1 $'completionMode: Indexed\n  completions: 1\n  backoffLimitPerIndex: 1'
	job ignored 7 $'backoffLimit: 0\n  podFailurePolicy: {rules: [{action: Ignore, onExitCodes: {operator: In, values: [7]}}]}'
	job rest "" $'backoffLimit: 0\n  parallelism: 2'
	within 10 '[ "$(get job/rest .status.active)" = 2 ]'
	$K patch job rest -p '{"spec":{"suspend":true}}'
	within 10 '[ -z "$(get job/rest .status.active)" ] && [ "$(get job/rest ".status.conditions[?(@.type==\"Suspended\")].status")" = True ]'
	$K patch job rest -p '{"spec":{"suspend":false}}'
	within 10 '[ "$(get job/rest .status.active)" = 2 ]'
	[ -z "$(get job/rest .status.failed)$(reason rest Failed)" ]
	within 30 '[ "$(get job/again .status.failed)" = 2 ]'
	[ "$(reason again Failed)" = FailedIndexes ]
	[ "$($K get pods -l job-name=again -o jsonpath='{.items[*].metadata.annotations.batch\.kubernetes\.io/job-index-failure-count}' | xargs -n1 | sort | xargs)" = "0 1" ]
	within 30 '[ "$(pods job-name=ignored | wc -w)" -ge 2 ]'
	[ -z "$(get job/ignored .status.failed)$(reason ignored Failed)" ]
	$K delete job --all
	within 10 '[ -z "$(pods job-name)" ]'
}

@test "a CronJob's time zone is known or refused" {
	cron() {
		$K apply -f - <<-END
		apiVersion: batch/v1
		kind: CronJob
		metadata: {name: zoned}
		spec:
		  schedule: "0 3 * * *"
		  timeZone: $1
		  suspend: true
		  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}
		END
	}
	run cron Middle/Earth
	[ "$status" != 0 ]
	[[ "$output" == *'spec.timeZone: Invalid value: "Middle/Earth": unknown time zone Middle/Earth'* ]]
	cron Asia/Kolkata
	[ "$(get cronjobs.v1.batch/zoned .spec.timeZone)" = Asia/Kolkata ]
	$K delete cronjobs.v1.batch zoned
}

@test "a CronJob starts Jobs and keeps the latest" {
	$K apply -f - <<-END
	apiVersion: batch/v1
	kind: CronJob
	metadata: {name: tick}
	spec:
	  schedule: "@every 1s"
	  successfulJobsHistoryLimit: 1
	  jobTemplate: {spec: {template: {metadata: {annotations: {fake/exit: "0"}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}
	END
	within 10 '[ -n "$(get cronjobs.v1.batch/tick .status.lastSuccessfulTime)" ]'
	$K patch cronjobs.v1.batch tick -p '{"spec":{"suspend":true}}'
	$K delete cronjobs.v1.batch tick
	within 5 '[ -z "$($K get jobs -o name)" ]'
}

@test "a StatefulSet: order, identity, partition, undo" {
	workload StatefulSet db 3 "serviceName: db"
	timeout 10 $K rollout status sts/db
	[ "$(pods app=db)" = "db-0 db-1 db-2" ]
	uid=$(get pod/db-1 .metadata.uid)
	$K patch sts db -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}'
	$K set image sts/db c=i:2
	within 10 '[ "$(get sts/db .status.updatedReplicas)" = 1 ] && [ "$(get sts/db .status.readyReplicas)" = 3 ]'
	[ "$(get pod/db-1 .metadata.uid)" = "$uid" ]
	[ "$(get pod/db-2 '.spec.containers[0].image')" = i:2 ]
	$K delete pod db-0
	within 5 '[ "$(get sts/db .status.readyReplicas)" = 3 ]'
	[ "$(get pod/db-0 '.spec.containers[0].image')" = i:1 ]      # below the partition: as it was
	$K patch sts db -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'
	timeout 10 $K rollout status sts/db
	$K rollout undo sts/db
	timeout 10 $K rollout status sts/db
	[ "$(get pod/db-2 '.spec.containers[0].image')" = i:1 ]
	$K patch sts db -p '{"spec":{"replicas":1}}'
	within 5 '[ "$(pods app=db)" = db-0 ]'
	$K delete sts db
	within 5 '[ -z "$(pods app=db)" ] && [ -z "$($K get controllerrevisions -o name)" ]'
}

@test "a DaemonSet: a pod on every node that suits" {
	workload DaemonSet agent ""
	timeout 10 $K rollout status ds/agent
	[ "$($K get pods -l app=agent -o jsonpath='{.items[*].spec.nodeName}' | xargs -n1 | sort | xargs)" = "n1 n2" ]
	$K set image ds/agent c=i:2
	timeout 10 $K rollout status ds/agent
	[ "$($K get pods -l app=agent -o jsonpath='{.items[*].spec.containers[0].image}')" = "i:2 i:2" ]
	$K patch ds agent -p '{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"n2"}}}}}'
	within 5 '[ "$(get ds/agent .status.desiredNumberScheduled)" = 1 ] && [ "$(pods app=agent | wc -w)" = 1 ]'
	$K delete ds agent
	within 5 '[ -z "$(pods app=agent)" ]'
}

@test "endpoints follow the pods of a Service" {
	workload Deployment web 2
	$K apply -f - <<-END
	apiVersion: v1
	kind: Service
	metadata: {name: web}
	spec: {selector: {app: web}, clusterIP: None, ports: [{port: 80, targetPort: http}]}
	END
	within 5 '[ "$(get ep/web ".subsets[0].addresses[*].ip" | wc -w)" = 2 ]'
	[ "$(get ep/web '.subsets[0].ports[0].port')" = 8080 ]
	[ "$($K get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[*].endpoints[*].conditions.ready}')" = "true true" ]
	$K patch deploy web -p '{"spec":{"replicas":1}}'
	within 5 '[ "$(get ep/web ".subsets[0].addresses[*].ip" | wc -w)" = 1 ]'
	$K delete svc web
	within 5 '[ -z "$($K get ep,endpointslices -o name)" ]'
	$K delete deploy web
}

@test "a budget says how many pods may be evicted" {
	workload Deployment web 3
	$K apply -f - <<-END
	apiVersion: policy/v1
	kind: PodDisruptionBudget
	metadata: {name: web}
	spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
	END
	within 5 '[ "$(get poddisruptionbudgets.v1.policy/web .status.disruptionsAllowed)" = 1 ]'
	$K patch deploy web -p '{"spec":{"replicas":2}}'
	within 5 '[ "$(get poddisruptionbudgets.v1.policy/web .status.conditions[0].reason)" = InsufficientPods ]'
	$K delete poddisruptionbudgets.v1.policy web
	$K delete deploy web
}

@test "nothing happens while nothing happens" {
	within 5 '[ -z "$($K get pods -o name)" ]'
	sleep 1
	pid=$(cat "$DIR/server.pid")
	sleeps() { cat /proc/$pid/task/*/status | awk '/^voluntary/ { n += $2 } END { print n }'; }
	before=$(sleeps)
	sleep 3
	after=$(sleeps)
	echo "$((after - before)) times a thread went to sleep"
	[ $((after - before)) -le 30 ]          # the nodes say that they live, and their watches may come back
}
