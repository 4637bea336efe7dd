#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What docs/api.md promises and no other file shows, by kubectl and curl, with nodes that run nothing: no host, no VM, no root.

bats_require_minimum_version 1.5.0
load fakes

setup_file() {
	fakes_setup api n1 n2
	export CLIENTS="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/clients"
	export CM=/api/v1/namespaces/default/configmaps POD=/api/v1/namespaces/default/pods
}
teardown_file() { fakes_teardown; }

# send METHOD PATH [BODY [CONTENT-TYPE]]: the answer in $DIR/answer, its head in $DIR/head, its code in $CODE.
send() {
	local data=()
	[ $# -ge 3 ] && data=(-H "Content-Type: ${4:-application/json}" --data-binary "$3")
	CODE=$(curl -sS -X "$1" --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/${USER_CERT:-admin}.crt" --key "$DIR/root/pki/${USER_CERT:-admin}.key" \
		-H "Accept: ${ACCEPT:-application/json}" "${data[@]}" -D "$DIR/head" -o "$DIR/answer" -w '%{http_code}' "https://127.0.0.1:$PORT$2")
}
want() {   # CODE [JQ-EXPRESSION that is to be true of the answer]
	[ "$CODE" = "$1" ] && { [ $# = 1 ] || jq -e "$2" "$DIR/answer" >/dev/null; } && return 0
	echo "code $CODE, not $1 $2:" >&2
	cat "$DIR/answer" >&2
	return 1
}
cm() { echo "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"$1\",\"labels\":{\"set\":\"${2:-none}\"}},\"data\":{\"k\":\"v\"}}"; }
newest() { curl -s --cacert "$DIR/root/pki/ca.crt" --cert "$DIR/root/pki/admin.crt" --key "$DIR/root/pki/admin.key" "https://127.0.0.1:$PORT$CM" | jq -r .metadata.resourceVersion; }
clients() { for K in "$CLIENTS"/kubectl-*; do [ -x "$K" ] && export K && "$1"; done; }   # FUNCTION with each kubectl there is

@test "dry run: every verb answers as if it had happened, and nothing has" {
	send POST $CM "$(cm dry dry)"; want 201
	$K run evicted --image=i
	within 10 '[ "$(get pod/evicted .status.phase)" = Running ]'
	before=$(get cm/dry .metadata.resourceVersion)
	send POST "$CM?dryRun=All" "$(cm new)"; want 201 '.metadata.name == "new" and .metadata.uid != null'
	send POST "$CM?dryRun=All" "$(cm dry)"; want 409
	send PUT "$CM/dry?dryRun=All" '{"metadata":{"name":"dry"},"data":{"k":"w"}}'; want 200 '.data.k == "w"'
	send PATCH "$CM/dry?dryRun=All" '{"data":{"k":"w"}}' application/merge-patch+json; want 200 '.data.k == "w"'
	send PATCH "$CM/made?dryRun=All&fieldManager=f" '{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"w"}}' application/apply-patch+yaml; want 201
	send DELETE "$CM/dry?dryRun=All"; want 200
	send DELETE "$CM/dry" '{"dryRun":["All"]}'; want 200 '.status == "Success"'
	send DELETE "$CM?dryRun=All&labelSelector=set=dry"; want 200
	send DELETE "$CM?labelSelector=set=dry" '{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}'; want 200
	send POST "$POD/evicted/eviction" '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"evicted"},"deleteOptions":{"dryRun":["All"]}}'; want 201
	send POST "$POD/evicted/eviction?dryRun=All" '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"evicted"}}'; want 201
	send DELETE "$POD/evicted?dryRun=All"; want 200
	dry() {
		$K delete cm dry --dry-run=server
		$K delete cm -l set=dry --dry-run=server
		$K drain n1 n2 --force --ignore-daemonsets --dry-run=server
		$K apply -f - --dry-run=server <<<"$(cm dry other)"
		$K apply -f - --server-side --dry-run=server --force-conflicts <<<"$(cm dry other)"
		$K label cm dry x=y --dry-run=server
		$K create deployment none --image=i --dry-run=server
		run ! $K get deploy none
	}
	clients dry
	[ "$(get cm/dry .metadata.resourceVersion)" = "$before" ]
	[ -z "$(get pod/evicted .metadata.deletionTimestamp)" ]
	[ "$($K get cm -o name | xargs)" = "configmap/dry configmap/kube-root-ca.crt" ]
	$K delete pod/evicted cm/dry
}

@test "preconditions: only the object and the version that is meant" {
	send POST $CM "$(cm p)"; want 201
	uid=$(jq -r .metadata.uid "$DIR/answer") rv=$(jq -r .metadata.resourceVersion "$DIR/answer")
	send DELETE $CM/p '{"preconditions":{"uid":"other"}}'
	want 409 ".message == \"Operation cannot be fulfilled on ConfigMap \\\"p\\\": the UID in the precondition (other) does not match the UID in record ($uid). The object might have been deleted and then recreated\""
	send DELETE $CM/p '{"preconditions":{"resourceVersion":"1"}}'
	want 409 ".message == \"Operation cannot be fulfilled on ConfigMap \\\"p\\\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ($rv). The object might have been modified\""
	send DELETE $CM/p "{\"preconditions\":{\"uid\":\"$uid\",\"resourceVersion\":\"$rv\"}}"; want 200
}

@test "from client-side apply to server-side apply and back, without a conflict" {
	change() {
		local maps='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"moved"},"data":'
		$K apply -f - <<<"$maps{\"a\":\"1\",\"b\":\"1\"}}"
		$K apply --server-side -f - <<<"$maps{\"a\":\"2\"}}"
		[ "$(get cm/moved .data.a)" = 2 ]
		$K apply -f - <<<"$maps{\"a\":\"3\"}}"
		[ "$(get cm/moved .data.a)" = 3 ]
		$K apply --server-side -f - <<<"$maps{\"a\":\"4\"}}"
		$K patch cm moved --type=merge -p '{"data":{"a":"9"}}'
		run ! $K apply --server-side -f - <<<"$maps{\"a\":\"4\"}}"
		[[ $output == *'Apply failed with 1 conflict: conflict with "kubectl-patch" using v1: .data.a'* ]]
		$K delete cm moved
		$K create cm moved --from-literal=a=1 --from-literal=b=1
		run ! $K apply --server-side -f - <<<"$maps{\"a\":\"2\",\"b\":\"2\"}}"
		[[ $output == *$'Apply failed with 2 conflicts: conflicts with "kubectl-create" using v1:\n- .data.a\n- .data.b'* ]]
		$K apply --server-side --force-conflicts -f - <<<"$maps{\"a\":\"2\",\"b\":\"2\"}}"
		$K delete cm moved
	}
	clients change
	# What newer ones hand over themselves: a field that is left out goes.
	K=$CLIENTS/kubectl-sid
	[ -x "$K" ] || skip "kubectl of sid is not here"
	$K apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"moved"},"data":{"a":"1","b":"1"}}'
	$K apply --server-side -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"moved"},"data":{"a":"2"}}'
	[ "$(get cm/moved .data)" = '{"a":"2"}' ]
	$K delete cm moved
}

@test "managedFields: written by clients as far as they are whole, a subresource's apart" {
	send PATCH "$CM/m?fieldManager=one" "$(cm m)" application/apply-patch+yaml; want 201 '.metadata.managedFields[0].manager == "one"'
	send PATCH "$CM/m" '[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"two"}]' application/json-patch+json
	want 200 '.metadata.managedFields[0].manager == "two"'
	send PATCH "$CM/m" '[{"op":"replace","path":"/metadata/managedFields/0/fieldsV1","value":{"f":{"q":5}}}]' application/json-patch+json
	want 200 '.metadata.managedFields[0].fieldsV1["f:data"]["f:k"] == {}'
	send PATCH "$CM/m" '{"metadata":{"managedFields":[{}]}}' application/merge-patch+json; want 200 '.metadata.managedFields == null'
	send DELETE $CM/m; want 200
	$K create deployment m --image=i      # its controller writes a status meanwhile, and leaves this one's condition as it is
	local d=/apis/apps/v1/namespaces/default/deployments/m
	send PATCH "$d/status?fieldManager=s" '{"apiVersion":"apps/v1","kind":"Deployment","status":{"conditions":[{"type":"X","status":"True"}]}}' \
		application/apply-patch+yaml
	want 200 '.metadata.managedFields[] | select(.manager == "s") | .subresource == "status" and .operation == "Apply"'
	send PATCH "$d/status?fieldManager=t" '{"apiVersion":"apps/v1","kind":"Deployment","status":{"conditions":[{"type":"X","status":"False"}]}}' \
		application/apply-patch+yaml
	want 409 '.message == "Apply failed with 1 conflict: conflict with \"s\" with subresource \"status\": .status.conditions[type=\"X\"].status"'
	$K delete deployment m
}

@test "every version of a kind has the rules and defaults of the one that is stored" {
	local meta='"metadata":{"name":"v"}' job='"jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}'
	send POST /apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers "{$meta,\"spec\":{}}"
	want 422 '.message | contains("spec.maxReplicas: Invalid value: 0: must be greater than 0")'
	send POST /apis/batch/v1beta1/namespaces/default/cronjobs "{$meta,\"spec\":{\"schedule\":\"x\",$job}}"
	want 422 '.message | contains("spec.schedule: Invalid value: \"x\"")'
	send POST /apis/batch/v1beta1/namespaces/default/cronjobs "{$meta,\"spec\":{\"schedule\":\"0 0 1 1 *\",$job}}"
	want 201 '.apiVersion == "batch/v1beta1" and .spec.concurrencyPolicy == "Allow" and .spec.jobTemplate.spec.template.spec.dnsPolicy == "ClusterFirst"'
	send PATCH /apis/batch/v1beta1/namespaces/default/cronjobs/v '{"spec":{"schedule":"y"}}' application/merge-patch+json; want 422
	send DELETE /apis/batch/v1beta1/namespaces/default/cronjobs/v; want 200
	send POST /apis/policy/v1beta1/namespaces/default/poddisruptionbudgets "{$meta,\"spec\":{\"minAvailable\":1,\"maxUnavailable\":1}}"
	want 422 '.message | contains("minAvailable and maxUnavailable cannot be both set")'
	send POST /api/v1/namespaces/default/endpoints "{$meta,\"subsets\":[{\"addresses\":[{\"ip\":\"x\"}],\"ports\":[{\"port\":0}]}]}"
	want 422 '[.details.causes[].field] == ["subsets[0].addresses[0].ip", "subsets[0].ports[0].port"]'
	send POST /apis/apps/v1/namespaces/default/deployments "{$meta,\"spec\":{}}"
	want 422 '[.details.causes[].field] == ["spec.selector", "spec.template.spec.containers"]'
}

@test "quotas name what there is; one priority class is the default" {
	send POST /api/v1/namespaces/default/resourcequotas '{"metadata":{"name":"q"},"spec":{"hard":{"foo":"1","pods":"1.5"}}}'
	want 422 '[.details.causes[].message | split(": ") | last] ==
		["must be a standard resource type or fully qualified", "must be a standard resource for quota", "must be an integer"]'
	send POST /api/v1/namespaces/default/resourcequotas \
		'{"metadata":{"name":"q"},"spec":{"hard":{"requests.cpu":"1k","count/deployments.apps":"99","gold.storageclass.storage.k8s.io/requests.storage":"1Gi","requests.example.com/gpu":"1"}}}'
	want 201
	$K delete quota q
	local classes=/apis/scheduling.k8s.io/v1/priorityclasses
	send POST $classes '{"metadata":{"name":"usual"},"value":7,"globalDefault":true}'; want 201
	send POST $classes '{"metadata":{"name":"other"},"value":8,"globalDefault":true}'
	want 403 '.message == "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"'
	send POST $classes '{"metadata":{"name":"other"},"value":8}'; want 201
	send PATCH $classes/other '{"globalDefault":true}' application/merge-patch+json; want 403
	send PATCH $classes/usual '{"description":"d"}' application/merge-patch+json; want 200
	$K run prior --image=i
	[ "$(get pod/prior '.spec.priority} {.spec.priorityClassName')" = "7 usual" ]
	$K delete pod/prior priorityclass/usual priorityclass/other
}

@test "a RuntimeClass adds its overhead, and where its pods may run" {
	send POST /apis/node.k8s.io/v1/runtimeclasses '{"metadata":{"name":"rc"},"handler":"q","overhead":{"podFixed":{"cpu":"250m","memory":"64Mi"}},
		"scheduling":{"nodeSelector":{"kubernetes.io/hostname":"n2"},"tolerations":[{"key":"k","operator":"Exists"},{"key":"m","value":"v","operator":"Equal","effect":"NoSchedule"}]}}'; want 201
	pod() { echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"rc\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],$1}}"; }
	send POST $POD "$(pod '"runtimeClassName":"none"')"; want 403 '.message == "pods \"rc\" is forbidden: pod rejected: RuntimeClass \"none\" not found"'
	send POST $POD "$(pod '"runtimeClassName":"rc","overhead":{"cpu":"1"}')"; want 403 '.message | endswith("doesn'"'"'t match RuntimeClass'"'"'s defined Overhead")'
	send POST $POD "$(pod '"overhead":{"cpu":"1"}')"; want 403 '.message | endswith("Pod Overhead set without corresponding RuntimeClass defined Overhead")'
	send POST $POD "$(pod '"runtimeClassName":"rc","nodeSelector":{"kubernetes.io/hostname":"n1"}')"
	want 403 '.message | endswith("is forbidden: conflict: runtimeClass.scheduling.nodeSelector[kubernetes.io/hostname] = n2; pod.spec.nodeSelector[kubernetes.io/hostname] = n1")'
	# Quantities that are the same in other words; tolerations that say less than another are dropped.
	send POST $POD "$(pod '"runtimeClassName":"rc","overhead":{"cpu":"0.25","memory":"65536Ki"},"tolerations":[
		{"key":"k","value":"v","operator":"Equal","effect":"NoSchedule"},{"key":"m","operator":"Exists"},{"key":"o","operator":"Exists","effect":"NoSchedule"}]')"
	want 201 '.spec.overhead == {"cpu":"250m","memory":"64Mi"} and
		([.spec.tolerations[] | select(.key | length == 1) | .key + "/" + (.effect // "") + "/" + .operator] == ["m//Exists","o/NoSchedule/Exists","k//Exists"])'
	within 10 '[ "$(get pod/rc .spec.nodeName)" = n2 ]'
	$K delete pod/rc runtimeclass/rc
}

@test "bindings, by the pod's subresource and by a Binding of its own" {
	pod() { echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"schedulerName\":\"mine\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"; }
	send POST $POD "$(pod b1)"; want 201
	send POST $POD "$(pod b2)"; want 201
	send POST $POD/b1/binding '{"metadata":{"name":"b2"},"target":{"kind":"Node","name":"n1"}}'
	want 400 '.message == "name in URL does not match name in Binding object"'
	send POST $POD/b1/binding '{"kind":"Pod","apiVersion":"v1","metadata":{"name":"b1"},"target":{"kind":"Node","name":"n1"}}'
	want 400 '.message == "Pod in version \"v1\" cannot be handled as a Binding"'
	send POST $POD/b1/binding '{"metadata":{"name":"b1","namespace":"other"},"target":{"kind":"Node","name":"n1"}}'
	want 400 '.message == "the namespace of the provided object does not match the namespace sent on the request"'
	send POST /api/v1/namespaces/default/bindings '{"metadata":{"name":"b1","namespace":"other"},"target":{"kind":"Node","name":"n1"}}'; want 400
	send POST /api/v1/namespaces/default/bindings '{"kind":"Pod","metadata":{"name":"b1"},"target":{"kind":"Node","name":"n1"}}'; want 400
	send POST $POD/b1/binding '{"metadata":{"name":"b1","uid":"other"},"target":{"kind":"Node","name":"n1"}}'
	want 409 '.message | contains("Precondition failed: UID in precondition: other, UID in object meta: ")'
	send POST $POD/b1/binding "{\"metadata\":{\"name\":\"b1\",\"uid\":\"$(get pod/b1 .metadata.uid)\"},\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}"; want 201
	send POST /api/v1/namespaces/default/bindings '{"metadata":{"name":"b2"},"target":{"kind":"Node","name":"n2"}}'; want 201
	send POST /api/v1/namespaces/default/bindings '{"metadata":{"name":"b2"},"target":{"kind":"Node","name":"n1"}}'; want 409
	send POST /api/v1/namespaces/default/bindings '{"metadata":{"name":"none"},"target":{"kind":"Node","name":"n1"}}'; want 404
	within 10 '[ "$(get pod/b1 .spec.nodeName) $(get pod/b2 .spec.nodeName) $(get pod/b2 .status.phase)" = "n1 n2 Running" ]'
	send POST $POD/b1/eviction '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"b2"}}'
	want 400 '.message == "name in URL does not match name in Eviction object"'
	send POST $POD/b1/eviction '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"b1","namespace":"other"}}'; want 400 '.message | startswith("the namespace")'
	send POST $POD/b1/eviction '{"apiVersion":"v1","kind":"Binding","metadata":{"name":"b1"}}'; want 400
	$K delete pod b1 b2
}

@test "what a resized pod no longer asks for is there for others" {
	pod() { echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"nodeSelector\":{\"kubernetes.io/hostname\":\"n1\"},\"containers\":[{\"name\":\"c\",
		\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"$2\"}}}]}}"; }
	local most=750   # of fake_node.py's 1000
	send POST $POD "$(pod large $most)"; want 201
	within 10 '[ "$(get pod/large .spec.nodeName)" = n1 ]'
	send POST $POD "$(pod later $most)"; want 201
	within 10 '[[ "$(get pod/later .status.conditions[0].message)" = *"Insufficient cpu"* ]]'
	send PATCH $POD/large/resize '{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"100m"}}}]}}' application/strategic-merge-patch+json; want 200
	within 20 '[ "$(get pod/later .spec.nodeName)" = n1 ]'
	$K delete pod large later
}

@test "reviews that say too little are refused as upstream refuses them" {
	local a=/apis/authorization.k8s.io/v1
	send POST $a/subjectaccessreviews '{"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}'
	want 422 '.message | endswith("spec.user: Invalid value: \"\": at least one of user or group must be specified")'
	send POST $a/selfsubjectaccessreviews '{"spec":{}}'
	want 422 '.message | endswith("exactly one of nonResourceAttributes or resourceAttributes must be specified")'
	send POST $a/namespaces/default/localsubjectaccessreviews '{"spec":{"user":"u","resourceAttributes":{"verb":"get","resource":"pods","namespace":"x"}}}'
	want 422 '.message | endswith("must match metadata.namespace")'
	send POST $a/namespaces/default/localsubjectaccessreviews '{"spec":{"groups":["system:masters"],"resourceAttributes":{"verb":"get","resource":"pods","namespace":"default"}}}'
	want 201 .status.allowed
	send POST $a/selfsubjectrulesreviews '{"spec":{}}'; want 400 '.message == "no namespace on request"'
}

crd() {   # NAME-OF-RULE: a definition with several versions, columns, subresources, fields to select on and rules
	jq -n --arg rule "$1" '{apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: {name: "boats.api.example.com"},
		spec: {group: "api.example.com", scope: "Namespaced", names: {plural: "boats", singular: "boat", kind: "Boat", shortNames: ["bt"], categories: ["sea"]},
		versions: [{name: "v1", served: true, storage: true, subresources: {status: {}, scale: {specReplicasPath: ".spec.oars", statusReplicasPath: ".status.oars"}},
			selectableFields: [{jsonPath: ".spec.color"}],
			additionalPrinterColumns: [{name: "Oars", type: "integer", jsonPath: ".spec.oars"}, {name: "Color", type: "string", priority: 1, jsonPath: ".spec.color"}],
			schema: {openAPIV3Schema: {type: "object", properties: {spec: {type: "object", properties: {oars: {type: "integer", default: 2, maximum: 8},
				color: {type: "string", enum: ["red", "blue"], "x-kubernetes-validations": [{rule: $rule, message: "color is immutable"}]},
				parts: {type: "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], items: {type: "object", required: ["name"],
					properties: {name: {type: "string"}, maker: {type: "string", "x-kubernetes-validations": [{rule: "self == oldSelf"}]}}}}}},
				status: {type: "object", properties: {oars: {type: "integer"}}}}}}},
		{name: "v1beta1", served: true, storage: false, schema: {openAPIV3Schema: {type: "object", "x-kubernetes-preserve-unknown-fields": true}}},
		{name: "v1alpha1", served: false, storage: false, schema: {openAPIV3Schema: {type: "object"}}}]}}'
}

@test "custom resources: versions, fields to select on, columns, status, immutable fields" {
	local boats=/apis/api.example.com/v1/namespaces/default/boats beta=/apis/api.example.com/v1beta1/namespaces/default/boats
	local crds=/apis/apiextensions.k8s.io/v1/customresourcedefinitions
	send POST $crds "$(crd 'self.size() > 2')"; want 201
	grep -qi '^warning: 299 - "1 rule of x-kubernetes-validations is kept but not evaluated by this server (only \\"self == oldSelf\\" is): self.size() > 2"' "$DIR/head"
	send PATCH $crds/boats.api.example.com "$(crd 'self == oldSelf')" application/merge-patch+json; want 200
	within 10 '$K get boats'
	send POST "$boats" '{"apiVersion":"api.example.com/v1","kind":"Boat","metadata":{"name":"one"},"spec":{"color":"red","depth":1,"parts":[{"name":"a","maker":"x"}]},"status":{"oars":5}}'
	want 201 '.spec == {"oars":2,"color":"red","parts":[{"name":"a","maker":"x"}]} and .status == null'
	send POST "$beta" '{"apiVersion":"api.example.com/v1beta1","kind":"Boat","metadata":{"name":"two"},"spec":{"color":"blue"}}'; want 201
	send GET "$beta/one"; want 200 '.apiVersion == "api.example.com/v1beta1" and .spec.color == "red"'
	send GET /apis/api.example.com/v1alpha1/namespaces/default/boats; want 404
	send GET "$boats?fieldSelector=spec.color%3Dred"; want 200 '[.items[].metadata.name] == ["one"]'
	send GET "$boats?fieldSelector=spec.oars%3D2"; want 400 '.message == "field label not supported: spec.oars"'
	send PATCH "$boats/one" '{"spec":{"color":"blue"}}' application/merge-patch+json
	want 422 '.message == "Boat.api.example.com \"one\" is invalid: spec.color: Invalid value: \"string\": color is immutable"'
	send PATCH "$boats/one" '{"spec":{"parts":[{"name":"b","maker":"z"},{"name":"a","maker":"y"}]}}' application/merge-patch+json
	want 422 '.message | endswith("spec.parts[1].maker: Invalid value: \"string\": failed rule: self == oldSelf")'
	send PATCH "$boats/one" '{"spec":{"oars":4,"parts":[{"name":"b","maker":"z"},{"name":"a","maker":"x"}]}}' application/merge-patch+json; want 200 '.spec.oars == 4 and .metadata.generation == 2'
	send PATCH "$boats/one/status" '{"status":{"oars":4},"spec":{"oars":1}}' application/merge-patch+json; want 200 '.spec.oars == 4 and .status.oars == 4 and .metadata.generation == 2'
	send GET "$boats/one/scale"; want 200 '.spec.replicas == 4 and .status.replicas == 4'
	[ "$($K get bt -o wide --no-headers | xargs)" = "one 4 red two blue" ]
	[ "$($K get sea -o name | wc -l)" = 2 ]
	send PATCH $crds/boats.api.example.com '{"spec":{"scope":"Cluster"}}' application/merge-patch+json; want 422
	$K delete crd boats.api.example.com
	run ! $K get boats
}

@test "unknown and duplicate fields: warned of, refused or ignored, in patches too" {
	local odd='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"odd"},"data":{"a":"1","a":"2"},"date":{}}'
	warnings() { grep -ci '^warning: 299' "$DIR/head" || true; }
	send POST "$CM?fieldValidation=Strict" "$odd"; want 400 '.message | contains("strict decoding error: duplicate field \"data.a\", unknown field \"date\"")'
	send POST "$CM?fieldValidation=Ignore&dryRun=All" "$odd"; want 201; [ "$(warnings)" = 0 ]
	send POST "$CM" "$odd"; want 201 '.data == {"a":"2"} and .date == null'
	[ "$(warnings)" = 2 ]
	grep -qi '^warning: 299 - "unknown field \\"date\\""' "$DIR/head"
	for type in merge strategic-merge; do
		send PATCH "$CM/odd?fieldValidation=Strict" '{"data":{"b":"1","b":"2"},"date":{}}' application/$type-patch+json
		want 400 '.message | contains("unknown field \"date\"")'
		send PATCH "$CM/odd" '{"data":{"b":"1","b":"2"},"date":{}}' application/$type-patch+json; want 200
		[ "$(warnings)" = 2 ]
	done
	send PATCH "$CM/odd?fieldValidation=Strict" '[{"op":"add","path":"/date","value":1}]' application/json-patch+json; want 400
	send PATCH "$CM/odd?fieldValidation=Strict&fieldManager=m" '{"apiVersion":"v1","kind":"ConfigMap","date":1}' application/apply-patch+yaml; want 400
	send DELETE "$CM/odd"; want 200
	send POST /apis/networking.k8s.io/v1/namespaces/default/networkpolicies '{"metadata":{"name":"np"},"spec":{"podSelector":{}}}'; want 201
	grep -qi '^warning: 299 - "NetworkPolicies are kept but not enforced' "$DIR/head"
	send DELETE /apis/networking.k8s.io/v1/namespaces/default/networkpolicies/np; want 200
}

@test "deletecollection: selectors, limits, options" {
	for i in 1 2 3 4 5 6; do send POST $CM "$(cm d$i "s$((i % 2))")"; want 201; done
	names() { $K get cm -o jsonpath='{.items[*].metadata.name}'; }
	send DELETE "$CM?fieldSelector=metadata.name%3Dd1"; want 200
	send DELETE "$CM?labelSelector=set%3Ds1&limit=1"; want 200
	[ "$(names)" = "d2 d4 d5 d6 kube-root-ca.crt" ]
	send DELETE "$CM?labelSelector=set%3Ds1" '{"preconditions":{"uid":"other"}}'; want 409
	send DELETE "$CM?labelSelector=set%3Ds1" '{"propagationPolicy":"x"}'; want 422
	[ "$(names)" = "d2 d4 d5 d6 kube-root-ca.crt" ]
	send DELETE "$CM?labelSelector=set+in+(s0,s1)" '{"propagationPolicy":"Background"}'; want 200
	[ "$(names)" = kube-root-ca.crt ]
}

@test "a namespace that does not end says what is left in it" {
	$K create namespace ends
	send POST /api/v1/namespaces/ends/configmaps '{"metadata":{"name":"f","finalizers":["example.com/held"]}}'; want 201
	send DELETE /api/v1/namespaces/ends; want 200 '.status.phase == "Terminating" and .metadata.deletionTimestamp != null'
	reason() { get namespace/ends ".status.conditions[?(@.type==\"$1\")].message"; }
	within 10 '[ "$(reason NamespaceContentRemaining)" = "Some resources are remaining: configmaps. has 1 resource instances" ]'
	[ "$(reason NamespaceFinalizersRemaining)" = "Some content in the namespace has finalizers remaining: example.com/held in 1 resource instances" ]
	send PATCH /api/v1/namespaces/ends/configmaps/f '{"metadata":{"finalizers":null}}' application/merge-patch+json; want 200
	within 20 '! $K get namespace ends'
}

@test "propagation: orphans, background and foreground, of every owner" {
	owner() {   # KIND: one with dependents
		case $1 in
		deployment) $K create deployment own --image=i; within 10 '[ "$(get deploy/own .status.readyReplicas)" = 1 ]' ;;
		job) $K create job own --image=i; within 10 '[ "$(get job/own .status.active)" = 1 ]' ;;
		*) $K apply -f - <<-END
			apiVersion: apps/v1
			kind: $1
			metadata: {name: own}
			spec: {selector: {matchLabels: {own: $1}}, template: {metadata: {labels: {own: $1}}, spec: {containers: [{name: c, image: i}]}}}
			END
			within 10 '[ -n "$(get '"$1"'/own .status)" ] && [ -n "$($K get pods -l own='"$1"' -o name)" ]' ;;
		esac
	}
	dependents() { $K get rs,pods -o json | jq -r '[.items[] | select(.metadata.ownerReferences[]?.name | startswith("own"))] | length'; }
	for kind in deployment job ReplicaSet StatefulSet DaemonSet; do
		case $kind in job) url=/apis/batch/v1/namespaces/default/jobs/own ;; *) url=/apis/apps/v1/namespaces/default/$(tr A-Z a-z <<<"$kind")s/own ;; esac
		for policy in Background Foreground; do
			owner $kind
			[ "$(dependents)" -ge 1 ]
			send DELETE "$url" "{\"propagationPolicy\":\"$policy\"}"
			if [ $policy = Foreground ]; then want 200 '.metadata.finalizers == ["foregroundDeletion"]'; else want 200 '.status == "Success"'; fi
			within 20 '! $K get '"$kind"' own && [ "$(dependents)" = 0 ]'
		done
		owner $kind
		send DELETE "$url" '{"propagationPolicy":"Orphan"}'; want 200 '.metadata.finalizers == ["orphan"]'
		within 20 '! $K get '"$kind"' own'
		[ -n "$($K get pods -o name)" ]
		[ "$($K get rs,pods -o json | jq '[.items[] | select(.metadata.ownerReferences[]?.name == "own")] | length')" = 0 ]
		$K delete rs --all --cascade=background >/dev/null 2>&1 || $K delete rs --all
		$K delete pods --all
	done
}

@test "every kind: tables, wide, described and explained; nothing unknown" {
	K=$CLIENTS/kubectl-sid
	[ -x "$K" ] || K=$CLIENTS/kubectl-1.20
	run -0 $K apply -f "$BATS_TEST_DIRNAME/kinds.yaml"
	[[ "${output,,}" != *error* ]]
	[ "$(grep -c -e ' created$' -e ' configured$' -e ' unchanged$' <<<"$output")" = "$(grep -c '^- {' "$BATS_TEST_DIRNAME/kinds.yaml")" ]
	within 20 '[ "$(get deploy/a .status.readyReplicas) $(get pvc/a .status.phase)" = "1 Bound" ]'
	for kind in $($K api-resources --verbs=get,list,create -o name); do
		$K get "$kind" -A -o wide >"$DIR/got" 2>&1
		grep -q -e '^\(NAMESPACE *\)\?\(NAME\|LAST SEEN\) ' -e '^No resources found' "$DIR/got" || { echo "$kind:" >&2; cat "$DIR/got" >&2; false; }
		$K describe "$kind" >"$DIR/described"
		grep -v 'cpu on pods' "$DIR/described" | run ! grep -n -e '<unknown>' -e '^Error' || { echo "$kind:" >&2; false; }
		[ "$kind" = events.events.k8s.io ] || $K explain "$kind" | grep -q '^FIELDS:\|^DESCRIPTION:'   # a group that begins with its resource's name
	done
	$K delete -f "$BATS_TEST_DIRNAME/kinds.yaml" --wait=false
}

@test "lists and watches from a version: exact, not older, all there is and then a bookmark" {
	for i in 1 2 3; do send POST $CM "$(cm l$i l)"; want 201; done
	send GET "$CM?labelSelector=set%3Dl"; want 200
	rv=$(jq -r .metadata.resourceVersion "$DIR/answer")
	send DELETE $CM/l1; want 200
	send POST $CM "$(cm l4 l)"; want 201
	send GET "$CM?labelSelector=set%3Dl&resourceVersion=$rv&resourceVersionMatch=Exact"
	want 200 "[.items[].metadata.name] == [\"l1\",\"l2\",\"l3\"] and .metadata.resourceVersion == \"$rv\""
	send GET "$CM?labelSelector=set%3Dl&resourceVersion=$rv&resourceVersionMatch=NotOlderThan"
	want 200 "[.items[].metadata.name] == [\"l2\",\"l3\",\"l4\"] and (.metadata.resourceVersion | tonumber) > $rv"
	send GET "$CM?labelSelector=set%3Dl&resourceVersion=0"; want 200 '.items | length == 3'
	send GET "$CM?labelSelector=set%3Dl&watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
	[ "$(jq -r '.type + " " + (.object.metadata.name // "")' "$DIR/answer" | head -4 | xargs)" = "ADDED l2 ADDED l3 ADDED l4 BOOKMARK" ]
	[ "$(jq -r 'select(.type == "BOOKMARK") | .object.metadata.annotations["k8s.io/initial-events-end"]' "$DIR/answer" | head -1)" = true ]
	send GET "$CM?labelSelector=set%3Dl&watch=1&resourceVersion=$rv&timeoutSeconds=1"
	[ "$(jq -r '.type + " " + .object.metadata.name' "$DIR/answer" | xargs)" = "DELETED l1 ADDED l4" ]
	send GET "$CM?labelSelector=set%3Dl&limit=-1"; want 200 '.items | length == 3'
	send DELETE "$CM?labelSelector=set%3Dl"; want 200
}

@test "a token ends with the Secret or the Node that it was made for" {
	local url=/api/v1/namespaces/default/serviceaccounts/default/token
	as_token() { CODE=$(curl -sS --cacert "$DIR/root/pki/ca.crt" -H "Authorization: Bearer $1" -o "$DIR/answer" -w '%{http_code}' "https://127.0.0.1:$PORT$2"); }
	send POST /api/v1/namespaces/default/secrets '{"metadata":{"name":"bound"}}'; want 201
	send POST /api/v1/nodes '{"metadata":{"name":"short"}}'; want 201
	for bound in Secret/bound/namespaces/default/secrets/bound Node/short/nodes/short; do
		kind=${bound%%/*} rest=${bound#*/}
		send POST $url "{\"spec\":{\"boundObjectRef\":{\"kind\":\"$kind\",\"apiVersion\":\"v1\",\"name\":\"${rest%%/*}\"}}}"; want 201
		token=$(jq -r .status.token "$DIR/answer")
		as_token "$token" /api; [ "$CODE" = 200 ]
		as_token "$token" /openid/v1/jwks; want 200 '.keys[0].use == "sig"'
		as_token "$token" /.well-known/openid-configuration; want 200 '.jwks_uri | endswith("/openid/v1/jwks")'
		send DELETE "/api/v1/${rest#*/}"; want 200
		as_token "$token" /api; [ "$CODE" = 401 ]
	done
	send POST $url '{"spec":{"boundObjectRef":{"kind":"Pod","name":"none"}}}'; want 404
	send POST $url '{"spec":{"boundObjectRef":{"kind":"ConfigMap","name":"none","apiVersion":"v1"}}}'
	want 400 '.message == "cannot bind token to object of type /v1, Kind=ConfigMap"'
}
