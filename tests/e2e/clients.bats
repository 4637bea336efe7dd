#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The same tour of the API with every client there is: kubectl of Debian 12, 13 and sid, and the JavaScript client.

load fakes

setup_file() { fakes_setup clients n1 n2; export CLIENTS="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/clients"; }
teardown_file() { fakes_teardown; }

# Every verb of kubectl's reference that needs no running container, in a namespace of its own.
tour() {   # tour KUBECTL
	export K="$CLIENTS/$1"
	[ -x "$K" ] || skip "$1 is not here"
	local ns="t-${1//[^a-z0-9]/}"
	export KUBECONFIG="$DIR/$ns.kubeconfig"
	cp "$DIR/root/admin.kubeconfig" "$KUBECONFIG"
	cd "$DIR"

	$K version >"$DIR/out" 2>&1
	grep -q 'Server Version' "$DIR/out"
	$K cluster-info | grep -q 'is running at'
	$K api-versions | grep -qx apps/v1
	$K api-resources --namespaced=true -o name | grep -qx deployments.apps
	$K api-resources --api-group=apps -o name | grep -q statefulsets
	$K explain pod.spec.containers.image | grep -q 'What to run, such as registry.example/name:tag.'
	$K explain pod | grep -q 'Containers that run together on one node'
	$K explain deployment.spec.strategy | grep -q 'How old pods are replaced.'
	$K explain deployment --recursive | grep -q maxUnavailable
	$K get --raw /readyz | grep -qx ok
	$K create namespace "$ns"
	$K config set-context --current --namespace="$ns"
	$K config view --minify | grep -q "namespace: $ns"

	# create, in all its forms
	$K create configmap cm --from-literal=a=1
	$K create secret generic se --from-literal=p=x
	$K create secret docker-registry reg --docker-server=r.example --docker-username=u --docker-password=p
	$K create serviceaccount sa
	$K create role r --verb=get,list --resource=pods
	$K create rolebinding rb --role=r --serviceaccount="$ns:sa"
	$K create clusterrole "$ns" --verb=get --resource=nodes
	$K create clusterrolebinding "$ns" --clusterrole="$ns" --serviceaccount="$ns:sa"
	$K create quota q --hard=count/deployments.apps=9
	$K create priorityclass "$ns" --value=5
	$K create poddisruptionbudget b --selector=app=web --min-available=1
	$K create service clusterip svc --tcp=80:80 --clusterip=None
	$K create job one --image=i
	$K create cronjob tick --image=i --schedule='0 0 1 1 *'
	$K create deployment web --image=i:1
	$K run solo --image=i --labels=app=solo --env=A=b
	$K create ingress ing --rule='x.example/*=svc:80' || true        # not in 1.20 of every version
	$K create -f - --dry-run=server -o name <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"dry"}}' | grep -q configmap/dry
	! $K get cm dry

	# look
	$K rollout status deploy/web --timeout=60s
	$K wait --for=condition=Ready pod/solo --timeout=60s
	$K get all
	$K get pods -o wide --sort-by=.metadata.name --show-labels
	$K get pods -l app=solo -o json | jq -e '.items | length == 1'
	$K get pods --field-selector=status.phase=Running -o name | grep -q pod/solo
	$K get cm,secret,sa,role,rolebinding,quota,pdb,svc,job,cronjob,deploy,rs,ep,endpointslice,lease -o name | wc -l
	$K get pod solo -o jsonpath='{.spec.containers[0].image}' | grep -qx i
	$K get pods -o custom-columns=N:.metadata.name | grep -qx solo
	$K get pod solo -o go-template='{{.metadata.name}}' | grep -qx solo
	$K describe pod solo | grep -q 'Successfully assigned'
	$K describe deploy web | grep -q NewReplicaSet
	$K describe node n1 | grep -q 'Non-terminated Pods'
	$K describe quota,svc,job,cronjob,secret,cm,sa,role,pdb >/dev/null
	timeout 20 $K get pods -w --request-timeout=2s -o name | grep -q pod/solo || true
	$K events --for pod/solo 2>/dev/null | grep -q Scheduled || $K get events | grep -q Scheduled

	# change
	$K label pod solo tier=x && $K label pod solo tier-
	$K annotate pod solo note=y && $K annotate pod solo note-
	$K patch cm cm -p '{"data":{"b":"2"}}'
	$K patch cm cm --type=merge -p '{"data":{"a":null}}'
	$K patch cm cm --type=json -p '[{"op":"add","path":"/data/c","value":"3"}]'
	[ "$($K get cm cm -o jsonpath='{.data}')" = '{"b":"2","c":"3"}' ]
	$K create cm cm --from-literal=z=9 -o yaml --dry-run=client | $K replace -f -
	EDITOR='sed -i s/z:/w:/' $K edit cm cm
	[ "$($K get cm cm -o jsonpath='{.data.w}')" = 9 ]
	cat >app.yaml <<-END
	apiVersion: v1
	kind: ConfigMap
	metadata: {name: applied, labels: {set: mine}}
	data: {a: "1", b: "1"}
	END
	$K apply -f app.yaml
	sed -i 's/a: "1", //' app.yaml
	$K diff -f app.yaml >"$DIR/out" || [ $? = 1 ]
	grep -q '^-  a: "1"' "$DIR/out"
	$K apply -f app.yaml
	[ "$($K get cm applied -o jsonpath='{.data}')" = '{"b":"1"}' ]
	$K apply view-last-applied cm/applied | grep -q 'b:'
	$K apply set-last-applied -f app.yaml
	$K apply --server-side --field-manager=other -f app.yaml --force-conflicts
	run $K apply --server-side --field-manager=third -f <(sed 's/b: "1"/b: "2"/' app.yaml)
	[ "$status" != 0 ] && [[ "$output" == *conflict* ]]
	printf 'resources: [app.yaml]\nnamePrefix: k-\n' >kustomization.yaml
	$K apply -k . && $K get cm k-applied && $K kustomize . | grep -q k-applied
	$K set image deploy/web i=i:2 2>/dev/null || $K set image deploy/web "*=i:2"
	$K set env deploy/web X=1 && $K set resources deploy/web --requests=cpu=1m && $K set serviceaccount deploy/web sa
	$K set selector svc/svc app=web && $K set subject rolebinding rb --user=jane
	$K rollout status deploy/web --timeout=60s
	$K rollout history deploy/web | grep -q '^2'
	$K rollout pause deploy/web && $K rollout resume deploy/web
	$K rollout undo deploy/web && $K rollout status deploy/web --timeout=60s
	$K rollout restart deploy/web && $K rollout status deploy/web --timeout=60s
	$K scale deploy/web --replicas=2 && $K rollout status deploy/web --timeout=60s
	$K autoscale deploy/web --min=1 --max=3 --cpu-percent=50 2>/dev/null || $K autoscale deploy/web --min=1 --max=3 --cpu=50%
	$K expose deploy/web --port=80 --name=exposed --cluster-ip=None
	$K cordon n1 && $K uncordon n1
	$K taint node n1 k=v:PreferNoSchedule && $K taint node n1 k-
	$K drain n2 --force --ignore-daemonsets --timeout=60s --pod-selector=app=nobody && $K uncordon n2

	# who may what
	$K auth can-i create pods | grep -qx yes
	! $K auth can-i list secrets --as="system:serviceaccount:$ns:sa"
	$K auth can-i get nodes --as="system:serviceaccount:$ns:sa" 2>/dev/null | grep -qx yes
	$K auth reconcile -f - <<-END
	{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r","namespace":"$ns"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["watch"]}]}
	END
	[[ "$1" == kubectl-1.20 ]] || { $K auth whoami | grep -q kubernetes-admin; $K create token sa | grep -q '^ey'; }

	# a kind of its own
	sed "s/NS/$ns/g" >crd.yaml <<-END
	apiVersion: apiextensions.k8s.io/v1
	kind: CustomResourceDefinition
	metadata: {name: boats.NS.example.com}
	spec:
	  group: NS.example.com
	  scope: Namespaced
	  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bo]}
	  versions:
	  - name: v1
	    served: true
	    storage: true
	    subresources: {status: {}, scale: {specReplicasPath: .spec.oars, statusReplicasPath: .status.oars}}
	    additionalPrinterColumns: [{name: Oars, type: integer, jsonPath: .spec.oars}]
	    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, description: Of a boat., properties: {oars: {type: integer, default: 2, maximum: 8}}}, status: {type: object, properties: {oars: {type: integer}}}}}}
	END
	$K apply -f crd.yaml
	$K wait --for=condition=Established crd/boats.$ns.example.com --timeout=60s
	printf 'apiVersion: %s.example.com/v1\nkind: Boat\nmetadata: {name: one}\nspec: {}\n' "$ns" >boat.yaml
	$K apply -f boat.yaml
	$K get "boats.$ns.example.com" | grep -q '^one *2'
	$K patch "boats.$ns.example.com" one --type=merge -p '{"spec":{"oars":3}}'
	$K scale "boats.$ns.example.com/one" --replicas=4
	[ "$($K get "boats.$ns.example.com" one -o jsonpath='{.spec.oars}')" = 4 ]
	run $K patch "boats.$ns.example.com" one --type=merge -p '{"spec":{"oars":9}}'
	[ "$status" = 1 ] && [[ "$output" == *'spec.oars: Invalid value: 9'* ]]
	$K explain "boats.spec" --api-version="$ns.example.com/v1" | grep -q oars
	$K delete crd "boats.$ns.example.com" --timeout=60s
	! $K get "boats.$ns.example.com" one

	# end
	$K delete pod solo --grace-period=0 --force
	$K delete deploy,job,cronjob --all --timeout=60s
	$K delete cm -l set=mine
	$K delete clusterrole,clusterrolebinding,priorityclass "$ns"
	$K delete namespace "$ns" --timeout=60s
	! $K get namespace "$ns"
}

@test "kubectl of Debian 12 (1.20)" { tour kubectl-1.20; }
@test "kubectl of Debian 13 (1.32)" { tour kubectl-1.32; }
@test "kubectl of Debian sid" { tour kubectl-sid; }

@test "the JavaScript client: objects, patches, pages, watches, informers, tokens, custom resources" {
	[ -e "$CLIENTS/node_modules" ] || skip "@kubernetes/client-node is not here"
	mkdir -p "$DIR/js"
	cp "$BATS_TEST_DIRNAME/../clients/tour.mjs" "$DIR/js"
	ln -sfn "$(readlink -f "$CLIENTS/node_modules")" "$DIR/js/node_modules"
	KUBECONFIG="$DIR/root/admin.kubeconfig" timeout 300 node "$DIR/js/tour.mjs"
}
