#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# HorizontalPodAutoscalers, through kubectl, with a node that says what its pods use (fake_node.py).

load fakes

setup_file() {
	fakes_setup autoscale n1
	other=${K%1.20}1.32
	export K132="$([ -x "$other" ] && echo "$other" || echo "$K")"
}
teardown_file() { fakes_teardown; }

busy() {   # busy NAME MILLI-CPU [REPLICAS]: a Deployment of pods that use so much; half a processor is asked for
	$K apply -f - <<-END
	apiVersion: apps/v1
	kind: Deployment
	metadata: {name: $1}
	spec:
	  ${3:+replicas: $3}
	  selector: {matchLabels: {app: $1}}
	  template:
	    metadata: {labels: {app: $1}, annotations: {fake/cpu: "$2", fake/memory: "100"}}
	    spec: {containers: [{name: c, image: i, resources: {requests: {cpu: 500m, memory: 200Mi}}}]}
	END
}
condition() { $K132 get "hpa.v2.autoscaling/$1" -o jsonpath="{.status.conditions[?(@.type==\"$2\")].$3}"; }

@test "kubectl autoscale: up with the load, within the bounds, and it says why" {
	busy web 400 2
	$K autoscale deployment web --cpu-percent=50 --min=1 --max=3
	within 60 '[ "$(get deploy/web .spec.replicas)" = 3 ]'
	[ "$(condition web AbleToScale status)" = True ]
	within 60 '[ "$(condition web ScalingActive reason)" = ValidMetricFound ]'
	within 60 '[ "$(condition web ScalingLimited reason)" = TooManyReplicas ]'
	within 60 '$K get hpa web --no-headers | grep -E "^web +Deployment/web +cpu: 80%/50% +1 +3 +3 "'
	[ "$(get hpa.v1.autoscaling/web .status.currentCPUUtilizationPercentage)" = 80 ]
	for k in "$K" "$K132"; do
		$k describe hpa web >"$DIR/out"
		grep -q "Reference:.*Deployment/web" "$DIR/out"
		grep -Eq "resource cpu.*: *80% .*/ 50%|^Current CPU utilization: +80%" "$DIR/out"
		grep -q "SuccessfulRescale.*New size: 3; reason: cpu resource utilization (percentage of request) above target" "$DIR/out"
	done
	grep -q "ScalingLimited.*True.*TooManyReplicas" "$DIR/out"
}

@test "what an old client writes keeps what it cannot see" {
	$K132 patch hpa.v2.autoscaling web --type=merge -p '{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}}}}'
	$K get hpa.v1.autoscaling web -o json | jq '.spec.maxReplicas = 4 | del(.status)' | $K replace -f -
	[ "$($K132 get hpa.v2.autoscaling/web -o jsonpath='{.spec.behavior.scaleDown.stabilizationWindowSeconds} {.spec.maxReplicas}')" = "0 4" ]
	[ -z "$($K132 get hpa.v2.autoscaling/web -o jsonpath='{.metadata.annotations}' | grep alpha)" ]
	within 60 '[ "$(get deploy/web .spec.replicas)" = 4 ]'
}

@test "down again when the load is gone, as fast as its policy lets it" {
	$K132 patch hpa.v2.autoscaling web --type=merge \
		-p '{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0,"policies":[{"type":"Pods","value":1,"periodSeconds":600}]}}}}'
	for pod in $(pods app=web); do $K annotate pod "$pod" fake/cpu=10 --overwrite; done
	within 60 '[ "$(get deploy/web .spec.replicas)" = 2 ]'      # 3 ten minutes ago at most, less one
	within 60 '[ "$(condition web ScalingLimited reason)" = ScaleDownLimit ]'
	[ "$(get deploy/web .spec.replicas)" = 2 ]
	$K get events | grep -q 'New size: 2; reason: All metrics below target'
	$K delete hpa web
}

@test "memory, a custom resource's scale, and what cannot be measured" {
	$K apply -f - <<-END
	apiVersion: apiextensions.k8s.io/v1
	kind: CustomResourceDefinition
	metadata: {name: farms.e2e.example}
	spec:
	  group: e2e.example
	  scope: Namespaced
	  names: {plural: farms, singular: farm, kind: Farm}
	  versions:
	  - name: v1
	    served: true
	    storage: true
	    schema: {openAPIV3Schema: {type: object, properties: {spec: &any {type: object, x-kubernetes-preserve-unknown-fields: true}, status: *any}}}
	    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.selector}}
	END
	within 10 '$K get farms'
	$K apply -f - <<-END
	apiVersion: e2e.example/v1
	kind: Farm
	metadata: {name: f}
	spec: {size: 2}
	END
	$K proxy --port=0 >"$DIR/proxy" 3>&- & proxy=$!
	within 5 'grep -q Starting "$DIR/proxy"'
	curl -sf -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{"status":{"size":2,"selector":"app=web"}}' \
		"http://$(grep -o '127.0.0.1:[0-9]*' "$DIR/proxy")/apis/e2e.example/v1/namespaces/default/farms/f/status"
	kill $proxy
	hpa() {
		$K132 apply -f - <<-END
		apiVersion: autoscaling/v2
		kind: HorizontalPodAutoscaler
		metadata: {name: $1}
		spec: {maxReplicas: 6, scaleTargetRef: $2, metrics: [$3]}
		END
	}
	hpa farm '{apiVersion: e2e.example/v1, kind: Farm, name: f}' \
		'{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 50Mi}}}'
	hpa nowhere '{apiVersion: apps/v1, kind: Deployment, name: absent}' \
		'{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}'
	hpa queue '{apiVersion: apps/v1, kind: Deployment, name: web}' \
		'{type: External, external: {metric: {name: depth}, target: {type: Value, value: "5"}}}'
	within 60 '[ "$(get farm/f .spec.size)" = 4 ]'
	within 60 '[ "$(condition nowhere AbleToScale reason)" = FailedGetScale ]'
	$K get events | grep -q 'deployments/scale.apps "absent" not found'
	within 60 '[ "$(condition queue ScalingActive reason)" = FailedGetExternalMetric ]'
	$K132 get hpa queue --no-headers | grep -q '<unknown>/5'
	run $K132 apply -f - <<-END
	apiVersion: autoscaling/v2
	kind: HorizontalPodAutoscaler
	metadata: {name: bad}
	spec: {maxReplicas: 0, scaleTargetRef: {kind: Deployment, name: web}, behavior: {scaleUp: {selectPolicy: Most}}}
	END
	[ "$status" != 0 ]
	[[ "$output" == *'spec.maxReplicas: Invalid value: 0: must be greater than 0'* ]]
	[[ "$output" == *'spec.behavior.scaleUp.selectPolicy: Unsupported value: "Most"'* ]]
}
