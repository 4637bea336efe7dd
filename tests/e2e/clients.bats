#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The same tour of the API with every client there is: kubectl of Debian 12, 13 and sid, and the JavaScript client. Every command of
# kubectl's reference that needs no running container; those that do are in clients_pod.bats.

bats_require_minimum_version 1.5.0
load fakes

setup_file() { fakes_setup clients n1 n2; export CLIENTS="${BULKHEAD_BUILD:-$BATS_TEST_DIRNAME/../../build}/clients"; }
teardown_file() { fakes_teardown; }

# Each of these is one stage of the tour, in the namespace $NS with the kubectl $K of version 1.$MINOR. A line that is to fail says
# `run ! ...`; commands stand on lines of their own, as a failure inside of `a && b` would not be noticed.
since() { [ "$MINOR" -ge "$1" ]; }

about() {
	$K version >out 2>&1
	grep -q 'Server Version' out
	$K cluster-info | grep -q 'is running at'
	$K api-versions | grep -qx apps/v1
	$K api-resources --namespaced=true -o name | grep -qx deployments.apps
	$K api-resources --api-group=apps -o name | grep -q statefulsets
	$K api-resources --verbs=watch,delete -o wide | grep -q '^configmaps *cm *v1'
	$K explain pod.spec.containers.image | grep -q 'What to run, such as registry.example/name:tag.'
	$K explain pod | grep -q 'Containers that run together on one node'
	$K explain deployment.spec.strategy | grep -q 'How old pods are replaced.'
	$K explain deployment --recursive | grep -q maxUnavailable
	$K explain cronjobs --api-version=batch/v1 | grep -q '^ *spec'
	$K get --raw /readyz | grep -qx ok
	$K completion bash | grep -q __start_kubectl
	$K options | grep -q -- --kubeconfig
	$K plugin list >out 2>&1 || grep -q 'unable to find any kubectl plugins' out
}

configuration() {
	$K create namespace "$NS"
	$K config set-context --current --namespace="$NS"
	$K config view --minify | grep -q "namespace: $NS"
	[ "$($K config current-context)" = "$($K config get-contexts -o name)" ]
	$K config get-clusters | grep -q .
	$K config set-cluster other --server=https://127.0.0.1:1
	if since 21; then $K config set-credentials other --token=abc; fi   # Debian's 1.20 panics
	$K config set-context other --cluster=other --user=other
	$K config rename-context other another
	$K config set clusters.other.tls-server-name example
	$K config unset clusters.other.tls-server-name
	run ! $K --context=another --request-timeout=2s get namespaces
	$K config delete-context another
	if since 21; then $K config delete-user other; fi
	$K config delete-cluster other
	run $K config get-users
	[[ $output != *other* ]]
	$K config use-context "$($K config current-context)"
}

creation() {   # create, in all its forms, and run
	printf 'k=v\n' >env
	printf hello >file
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.crt -subj /CN=x.example 2>/dev/null
	$K create configmap cm --from-literal=a=1
	$K create configmap files --from-file=f=file
	$K create configmap envs --from-env-file=env
	[ "$($K get cm files -o jsonpath='{.data.f}') $($K get cm envs -o jsonpath='{.data.k}')" = "hello v" ]
	$K create secret generic se --from-literal=p=x
	$K create secret tls cert --cert=tls.crt --key=tls.key
	$K create secret docker-registry reg --docker-server=r.example --docker-username=u --docker-password=p
	[ "$($K get secret se cert reg -o jsonpath='{.items[*].type}')" = "Opaque kubernetes.io/tls kubernetes.io/dockerconfigjson" ]
	$K create serviceaccount sa
	$K create role r --verb=get,list --resource=pods
	$K create rolebinding rb --role=r --serviceaccount="$NS:sa"
	$K create clusterrole "$NS" --verb=get --resource=nodes
	$K create clusterrole "$NS-raw" --verb=get --non-resource-url='/healthz/*'
	$K create clusterrole "$NS-sum" --aggregation-rule="sum-of=$NS"
	$K create clusterrolebinding "$NS" --clusterrole="$NS" --serviceaccount="$NS:sa"
	$K create quota q --hard=count/deployments.apps=9
	$K create priorityclass "$NS" --value=5
	$K create poddisruptionbudget b --selector=app=web --min-available=1
	$K create service clusterip svc --tcp=80:80 --clusterip=None
	$K create service nodeport np --tcp=80
	$K create service loadbalancer lb --tcp=80:8080
	$K create service externalname en --external-name=x.example
	[ "$($K get svc svc np lb en -o jsonpath='{.items[*].spec.type}')" = "ClusterIP NodePort LoadBalancer ExternalName" ]
	$K create job one --image=i
	$K create cronjob tick --image=i --schedule='0 0 1 1 *'
	if since 21; then $K create job now --from=cronjob/tick; fi   # 1.20 does not know batch/v1
	$K create deployment web --image=i:1 --port=80
	$K run solo --image=i --labels=app=solo --env=A=b
	$K run shown --image=i --port=80 --expose
	[ "$($K get svc shown -o jsonpath='{.spec.selector.run}')" = shown ]
	$K create ingress ing --rule='x.example/*=svc:80'
	[ "$($K get ingress ing -o jsonpath='{.spec.rules[0].http.paths[0].pathType}')" = Prefix ]
	$K create -f - --dry-run=server -o name <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"dry"}}' | grep -q configmap/dry
	run ! $K get cm dry
	run ! $K create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"odd"},"date":{}}'   # validation
	[[ $output == *'unknown field "date"'* ]]
	$K create --raw "/api/v1/namespaces/$NS/configmaps" -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"},"data":{"a":"b"}}'
	$K replace --raw "/api/v1/namespaces/$NS/configmaps/raw" -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"}}'
	[ -z "$($K get cm raw -o jsonpath='{.data}')" ]
	$K delete --raw "/api/v1/namespaces/$NS/configmaps/raw"
	run ! $K get cm raw
}

looks() {
	$K rollout status deploy/web --timeout=60s
	$K wait --for=condition=Ready pod/solo --timeout=60s
	$K get all
	$K get pods -o wide --sort-by=.metadata.name --show-labels
	$K get pods -L app --no-headers | grep -q '^solo .* solo$'
	$K get pods -l app=solo -o json | jq -e '.items | length == 1'
	$K get pods -l 'app in (solo, other),!none' -o name | grep -qx pod/solo
	$K get pods --field-selector=status.phase=Running -o name | grep -q pod/solo
	$K get pods -A --chunk-size=1 -o name | grep -qx pod/solo
	[ "$($K get cm,secret,sa,role,rolebinding,quota,pdb,svc,job,cronjob,deploy,rs,ep,endpointslice,ingress -o name | wc -l)" -gt 20 ]
	$K get pod solo -o jsonpath='{.spec.containers[0].image}' | grep -qx i
	$K get pods -o custom-columns=N:.metadata.name | grep -qx solo
	$K get pod solo -o go-template='{{.metadata.name}}' | grep -qx solo
	$K get pod solo -o yaml | $K get -f - -o name | grep -qx pod/solo
	[ -z "$($K get pod none --ignore-not-found)" ]
	if since 24; then $K get deploy web --subresource=scale -o jsonpath='{.spec.replicas}' | grep -qx 1; fi
	$K describe pod solo | grep -q 'Successfully assigned'
	$K describe deploy web | grep -q NewReplicaSet
	$K describe node n1 | grep -q 'Non-terminated Pods'
	for kind in quota svc job cronjob secret cm sa role pdb rs ing ep rolebinding; do
		$K describe "$kind" >out
		grep -q "^Name: *[a-z]" out
	done
	if since 21; then $K describe endpointslice >out; fi   # 1.20 asks for discovery.k8s.io/v1beta1
	$K describe clusterrole,clusterrolebinding,priorityclass "$NS" >out
	$K describe namespace "$NS" | grep -q 'count/deployments.apps'
	$K get events --field-selector=involvedObject.name=solo | grep -q Scheduled
	if since 32; then $K events --for pod/solo --types=Normal | grep -q Scheduled; fi
	$K cluster-info dump --namespaces="$NS" --output-directory=dump
	jq -e '.items[] | select(.metadata.name == "web")' "dump/$NS/deployments.json" >/dev/null
}

watching() {   # get -w, wait, proxy, top
	local pid
	$K get cm -w -o name >seen 3>&- &
	pid=$!
	within 20 'grep -qx configmap/cm seen'
	$K create cm later
	within 20 'grep -qx configmap/later seen'
	kill $pid
	$K get cm later -w --output-watch-events >seen 3>&- &
	pid=$!
	within 20 'grep -q "^ADDED *later" seen'
	$K patch cm later --type=merge -p '{"metadata":{"finalizers":["x.example/held"]}}'
	$K delete cm later --wait=false
	run ! $K wait --for=delete cm/later --timeout=1s
	[[ $output == *"timed out waiting"* ]]
	$K patch cm later --type=merge -p '{"metadata":{"finalizers":null}}'
	within 20 'grep -q "^DELETED *later" seen'
	kill $pid
	run $K wait --for=delete cm/later --timeout=60s
	[ "$status" = 0 ] || [[ $output == *'no matching resources found'* ]]   # 1.20, of what is gone already
	if since 23; then $K wait --for=jsonpath='{.status.phase}'=Running pod/solo --timeout=60s; fi
	run ! $K wait --for=condition=None pod/solo --timeout=1s
	[[ $output == *"timed out waiting"* ]]

	$K proxy --port=0 >proxy 3>&- &
	pid=$!
	within 20 'grep -q "Starting to serve on" proxy'
	curl -s "http://$(sed -n 's/Starting to serve on //p' proxy)/api/v1/namespaces/$NS/pods/solo" | jq -e '.metadata.name == "solo"'
	kill $pid

	$K run busy --image=i --annotations=fake/cpu=250 --annotations=fake/memory=100
	within 30 "$K top pod busy --no-headers 2>/dev/null | grep -Eq '^busy +[1-9][0-9]*m +100Mi'"
	$K top pod --containers --sort-by=cpu | grep -q '^busy *busy'
	within 30 "$K top node n1"
}

changes() {
	$K label pod solo tier=x
	run ! $K label pod solo tier=y
	$K label pod solo tier=y --overwrite
	$K label pods -l app=solo tier-
	$K label pod solo --list | grep -qx app=solo
	$K annotate pod solo note=y
	$K annotate pod --all note-
	$K patch cm cm -p '{"data":{"b":"2"}}'
	$K patch cm cm --type=merge -p '{"data":{"a":null}}'
	$K patch cm cm --type=json -p '[{"op":"add","path":"/data/c","value":"3"}]'
	[ "$($K get cm cm -o jsonpath='{.data}')" = '{"b":"2","c":"3"}' ]
	if since 24; then $K patch pod solo --subresource=status --type=merge -p '{"status":{"message":"hi"}}'; fi
	$K create cm cm --from-literal=z=9 -o yaml --dry-run=client >cm.yaml
	$K replace -f cm.yaml
	EDITOR='sed -i s/z:/w:/' $K edit cm cm
	[ "$($K get cm cm -o jsonpath='{.data.w}')" = 9 ]
	local uid
	uid=$($K get cm cm -o jsonpath='{.metadata.uid}')
	$K replace --force -f cm.yaml
	[ "$($K get cm cm -o jsonpath='{.metadata.uid}')" != "$uid" ]
	$K set image deploy/web i=i:2
	$K set env deploy/web X=1
	$K set env deploy/web --from=configmap/cm
	$K set env deploy/web --list | grep -q '^X=1'
	$K set resources deploy/web --requests=cpu=1m
	$K set serviceaccount deploy/web sa
	$K set selector svc/svc app=web
	$K set subject rolebinding rb --user=jane
	[ "$($K get deploy web -o jsonpath='{.spec.template.spec.serviceAccountName} {.spec.template.spec.containers[0].image}')" = "sa i:2" ]
	[ "$($K get rolebinding rb -o jsonpath='{.subjects[*].name}')" = "sa jane" ]
}

application() {   # apply, diff, kustomize
	cat >app.yaml <<-END
	apiVersion: v1
	kind: ConfigMap
	metadata: {name: applied, labels: {set: mine}}
	data: {a: "1", b: "1"}
	END
	$K apply -f app.yaml
	sed -i 's/a: "1", //' app.yaml
	run -1 $K diff -f app.yaml
	grep -q '^-  a: "1"' <<<"$output"
	$K apply -f app.yaml
	run -0 $K diff -f app.yaml
	[ "$($K get cm applied -o jsonpath='{.data}')" = '{"b":"1"}' ]
	$K apply view-last-applied cm/applied | grep -q 'b:'
	EDITOR='sed -i s/b:/bb:/' $K apply edit-last-applied cm/applied
	$K apply view-last-applied cm/applied | grep -q 'bb:'
	$K apply set-last-applied -f app.yaml
	run ! bash -c "$K apply view-last-applied cm/applied | grep -q bb:"
	$K apply --server-side --field-manager=other -f app.yaml --force-conflicts
	sed 's/b: "1"/b: "2"/' app.yaml >conflict.yaml
	run ! $K apply --server-side --field-manager=third -f conflict.yaml
	[[ $output == *conflict* ]]
	printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {pruned: "yes"}}\n---\n' one two >prune.yaml
	$K apply -f prune.yaml
	printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two, labels: {pruned: "yes"}}\n' >prune.yaml
	if since 26; then allow=--prune-allowlist; else allow=--prune-whitelist; fi   # what 1.20 prunes by default is gone from the API
	$K apply -f prune.yaml --prune -l pruned=yes $allow=core/v1/ConfigMap
	[ "$($K get cm -l pruned=yes -o name)" = configmap/two ]
	printf 'resources: [app.yaml]\nnamePrefix: k-\n' >kustomization.yaml
	$K apply -k .
	$K get cm k-applied
	$K kustomize . | grep -q k-applied
	$K delete -k .
	run ! $K get cm k-applied
}

rollouts() {   # rollout, scale, autoscale, expose
	$K rollout status deploy/web --timeout=60s
	$K rollout history deploy/web | grep -q '^2'
	$K rollout history deploy/web --revision=1 | grep -q 'Image:.*i:1'
	$K rollout pause deploy/web
	run ! $K rollout restart deploy/web
	[[ $output == *paused* ]]
	$K rollout resume deploy/web
	$K rollout undo deploy/web --to-revision=1
	$K rollout status deploy/web --timeout=60s
	[ "$($K get deploy web -o jsonpath='{.spec.template.spec.containers[0].image}')" = i:1 ]
	$K rollout undo deploy/web
	$K rollout restart deploy/web
	$K rollout status deploy/web --timeout=60s
	for kind in StatefulSet DaemonSet; do
		cat >set.yaml <<-END
		apiVersion: apps/v1
		kind: $kind
		metadata: {name: set}
		spec:
		  selector: {matchLabels: {set: $kind}}
		  template: {metadata: {labels: {set: $kind}}, spec: {containers: [{name: main, image: "i:1"}]}}
		END
		$K apply -f set.yaml
		$K rollout status "$kind/set" --timeout=60s
		$K set image "$kind/set" main=i:2
		$K rollout status "$kind/set" --timeout=60s
		$K rollout history "$kind/set" | grep -q '^2'
		$K rollout undo "$kind/set"
		$K rollout status "$kind/set" --timeout=60s
		[ "$($K get "$kind" set -o jsonpath='{.spec.template.spec.containers[0].image}')" = i:1 ]
		$K rollout restart "$kind/set"
		$K rollout status "$kind/set" --timeout=60s
	done
	$K scale sts/set --replicas=2
	$K rollout status sts/set --timeout=60s
	run ! $K scale deploy/web --current-replicas=7 --replicas=2
	$K scale deploy/web --current-replicas=1 --replicas=2
	$K rollout status deploy/web --timeout=60s
	if since 34; then $K autoscale deploy/web --min=1 --max=3 --cpu=50%; else $K autoscale deploy/web --min=1 --max=3 --cpu-percent=50; fi
	[ "$($K get hpa web -o jsonpath='{.spec.maxReplicas}')" = 3 ]
	$K describe hpa web | grep -q 'Max replicas: *3'
	$K delete hpa web
	$K expose deploy/web --port=80 --name=exposed --cluster-ip=None
	$K expose pod solo --port=80 --type=NodePort --name=solo-port
	within 20 "[ \"\$(get ep/exposed '.subsets[0].addresses[*].ip' | wc -w)\" = 2 ]"
}

nodes() {
	$K cordon n1
	$K get node n1 | grep -q SchedulingDisabled
	$K uncordon n1
	$K taint node n1 k=v:PreferNoSchedule
	run ! $K taint node n1 k=w:PreferNoSchedule
	$K taint node n1 k=w:PreferNoSchedule --overwrite
	$K taint node n1 k-
	run ! $K drain n2 --timeout=5s            # pods of nobody, or of a DaemonSet
	$K uncordon n2
	$K drain n2 --force --ignore-daemonsets --timeout=120s
	[ -z "$($K get pods --field-selector=spec.nodeName=n2 -l 'set!=DaemonSet' -o name)" ]
	$K uncordon n2
	$K rollout status deploy/web --timeout=60s
}

access() {
	$K auth can-i create pods | grep -qx yes
	run ! $K auth can-i list secrets --as="system:serviceaccount:$NS:sa"
	[[ $output == *no* ]]
	$K auth can-i get nodes --as="system:serviceaccount:$NS:sa" 2>/dev/null | grep -qx yes
	$K auth can-i --list --as="system:serviceaccount:$NS:sa" | grep -q '^pods .*\[get list\]'
	run ! $K get secrets --as="system:serviceaccount:$NS:sa"
	[[ $output == *'secrets is forbidden: User "system:serviceaccount:'*'cannot list resource "secrets"'* ]]
	$K auth reconcile -f - <<-END
	{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r","namespace":"$NS"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["watch"]}]}
	END
	$K auth can-i watch pods --as="system:serviceaccount:$NS:sa" | grep -qx yes
	if since 28; then $K auth whoami | grep -q kubernetes-admin; fi
	if since 24; then
		token=$($K create token sa --duration=10m)
		run ! $K --kubeconfig=/dev/null --server="https://127.0.0.1:$PORT" --certificate-authority="$DIR/root/pki/ca.crt" --token="$token" get secrets -n "$NS"
		[[ $output == *"serviceaccount:$NS:sa"*"cannot list"* ]]
	fi
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout csr.key -subj "/CN=jane" -out csr 2>/dev/null
	for name in yes no; do
		$K create -f - <<-END
		apiVersion: certificates.k8s.io/v1
		kind: CertificateSigningRequest
		metadata: {name: $NS-$name}
		spec: {request: $(base64 -w0 csr), signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}
		END
	done
	$K certificate approve "$NS-yes"
	$K certificate deny "$NS-no"
	within 20 "$K get csr $NS-yes | grep -q Approved,Issued"
	$K get csr "$NS-no" | grep -q Denied
	$K describe csr "$NS-yes" | grep -q 'Common Name: *jane'
	$K delete csr "$NS-yes" "$NS-no"
}

custom() {   # a kind of its own
	sed "s/NS/$NS/g" >crd.yaml <<-END
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
	$K wait --for=condition=Established crd/boats.$NS.example.com --timeout=60s
	printf 'apiVersion: %s.example.com/v1\nkind: Boat\nmetadata: {name: one}\nspec: {}\n' "$NS" >boat.yaml
	$K apply -f boat.yaml
	$K get "boats.$NS.example.com" | grep -q '^one *2'
	$K patch "boats.$NS.example.com" one --type=merge -p '{"spec":{"oars":3}}'
	$K scale "boats.$NS.example.com/one" --replicas=4
	[ "$($K get "boats.$NS.example.com" one -o jsonpath='{.spec.oars}')" = 4 ]
	run $K patch "boats.$NS.example.com" one --type=merge -p '{"spec":{"oars":9}}'
	[ "$status" = 1 ]
	[[ $output == *'spec.oars: Invalid value: 9'* ]]
	$K explain "boats.spec" --api-version="$NS.example.com/v1" | grep -q oars
	$K delete crd "boats.$NS.example.com" --timeout=60s
	run ! $K get "boats.$NS.example.com" one
}

ends() {
	$K run last --image=i
	$K run least --image=i
	$K delete pod last --grace-period=0 --force
	$K delete pod least --now
	$K delete deploy web --cascade=orphan
	[ -n "$($K get rs -l app=web -o name)" ]
	$K delete rs -l app=web --cascade=foreground --timeout=60s
	within 30 "[ -z \"\$($K get pods -l app=web -o name)\" ]"
	$K delete sts,ds,job,cronjob --all --cascade=background --timeout=60s
	$K delete svc --field-selector=metadata.name=np
	$K delete cm -l set=mine
	$K delete -f cm.yaml
	$K delete cm none --ignore-not-found
	$K delete secret se cert --wait=false
	$K delete clusterrole "$NS-raw" "$NS-sum"
	$K delete clusterrole,clusterrolebinding,priorityclass "$NS"
	$K delete namespace "$NS" --timeout=60s
	run ! $K get namespace "$NS"
}

tour() {   # tour KUBECTL
	export K="$CLIENTS/$1" NS="t-${1//[^a-z0-9]/}" MINOR
	[ -x "$K" ] || skip "$1 is not here"
	MINOR=$($K version --client -o json | jq -r .clientVersion.minor)
	export KUBECONFIG="$DIR/$NS.kubeconfig"
	cp "$DIR/root/admin.kubeconfig" "$KUBECONFIG"
	mkdir "$DIR/$NS"
	cd "$DIR/$NS"
	about
	configuration
	creation
	looks
	watching
	changes
	application
	rollouts
	nodes
	access
	custom
	ends
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
