#!/usr/bin/env bats
# Several hosts: they join with tokens, have certificates and pod ranges of their own, their pods reach each other; one that
# is cut off loses its pods to the others, one that is drained gives them away; the kubelet API asks who is there.

load lib

HOSTS=3

setup_file() {
	export ROOT TAG NODE
	ROOT=$(mktemp -d /tmp/bh-hosts-XXXXXX)
	"$BIN/bulkhead" up --root "$ROOT" --hosts $HOSTS >"$ROOT/up.out" 2>"$ROOT/up.err" ||
		{ cat "$ROOT/up.err" "$ROOT"/log/* "$ROOT"/hosts/*/log/* >&2; return 1; }
	TAG=$(jq -r .tag "$ROOT/cluster.json")
	NODE=$(jq -r .nodeName "$ROOT/cluster.json")
	export KUBECONFIG=$ROOT/admin.kubeconfig K=$CLIENTS/kubectl-1.20
	[ -d "$CACHE/demo/busybox" ] || tools/make-image busybox "$CACHE/demo/busybox" >&2
	for n in 1 2 3; do
		"$BIN/bulkhead" image load "$CACHE/demo/busybox" --name bulkhead.example/busybox:latest --root "$ROOT/hosts/$n"
	done
	for n in 1 2 3; do pod_on $n; done | $K apply -f -
}

teardown_file() {
	cluster_down
	left=$(ip -br link | grep -E "bh[nvp]-?$TAG"; ip netns list | grep "bhn-$TAG"; nft list tables | grep "bhn-$TAG") || true
	[ -z "$left" ] || { echo "left behind: $left" >&2; return 1; }
}

pod_on() {   # pod_on N: serves its name from host N
	cat <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: on-$1, labels: {app: member}}
	spec:
	  nodeName: $NODE-$1
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "mkdir /www; hostname > /www/name; exec httpd -f -p 8080 -h /www"]
	---
	END
}

node_is() {   # node_is N STATUS
	[ "$($K get node "$NODE-$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = "$2" ]
}
all_on() {   # all_on N...: the Deployment's two pods run on these hosts only
	local nodes wanted
	nodes=$($K get pods -l app=spread --field-selector=status.phase=Running -o json |
		jq -r '[.items[] | select(.metadata.deletionTimestamp == null) | .spec.nodeName] | .[]')
	[ "$(wc -w <<<"$nodes")" = 2 ] || return 1
	wanted=$(printf "$NODE-%s|" "$@")
	! grep -vqE "^(${wanted%|})$" <<<"$nodes"
}

@test "hosts join with approved certificates and get ranges of their own" {
	[ "$($K get nodes -o jsonpath='{.items[*].spec.podCIDR}' | tr ' ' '\n' | sort -u | wc -l)" = $HOSTS ]
	[ "$($K get csr -o json | jq '[.items[] | select(.status.certificate and .status.conditions[0].type == "Approved")] | length')" -ge 6 ]
	openssl x509 -in "$ROOT/hosts/1/pki/client.pem" -noout -subject | grep -q "O = system:nodes, CN = system:node:$NODE-1"
	openssl verify -CAfile "$ROOT/pki/ca.crt" "$ROOT/hosts/1/pki/client.pem" "$ROOT/hosts/1/pki/serving.pem"
}

@test "pods of all hosts reach each other, their Services and their names" {
	for n in 1 2 3; do wait_for 120 phase_is on-$n Running; done
	for a in 1 2 3; do
		for b in 1 2 3; do
			served() { [ "$($K exec on-$a -- wget -qO- "http://$(ip_of on-$b):8080/name")" = on-$b ]; }
			wait_for 30 served
		done
	done
	$K create service clusterip member --tcp=80:8080
	$K patch svc member -p "{\"spec\":{\"selector\":{\"app\":\"member\"}}}"
	everybody() {
		[ "$($K exec on-1 -- sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do wget -qO- http://member/name; done' | sort -u | wc -l)" = 3 ]
	}
	wait_for 30 everybody
	[ "$($K exec on-1 -- wget -qO- --no-check-certificate https://kubernetes/version 2>/dev/null | jq -r .major)" = 1 ]
}

@test "logs, exec, cp and port-forward go to the right host" {
	for n in 1 2 3; do
		[ "$($K exec on-$n -- cat /www/name)" = on-$n ]
		$K exec on-$n -- sh -c "echo line of $n > /proc/1/fd/1"
		logged() { $K logs on-$n | grep -q "line of $n"; }
		wait_for 20 logged
	done
	$K port-forward pod/on-3 :8080 > "$ROOT/forward" 3>&- &
	pid=$!
	forwarded() { curl -s -m 5 "http://$(sed -n 's/^Forwarding from \(127[^ ]*\).*/\1/p' "$ROOT/forward")/name" | grep -qx on-3; }
	wait_for 30 forwarded
	kill $pid
}

token_of() { echo '{}' | $K create --raw "/api/v1/namespaces/default/serviceaccounts/$1/token" -f - | jq -r .status.token; }

@test "the kubelet API refuses strangers and asks the API server about the others" {
	at=https://$($K get node "$NODE-1" -o jsonpath='{.status.addresses[0].address}'):10250
	code() { curl -s -m 10 --cacert "$ROOT/pki/ca.crt" -o /dev/null -w '%{http_code}' "$@"; }
	[ "$(code "$at/pods")" = 401 ]
	[ "$(code -H 'Authorization: Bearer nonsense' "$at/pods")" = 401 ]
	token=$(token_of default)
	[ "$(code -H "Authorization: Bearer $token" "$at/pods")" = 403 ]
	[ "$(code --cert "$ROOT/hosts/2/pki/client.pem" "$at/pods")" = 403 ]
	$K create clusterrole scraper --verb=get --resource=nodes/metrics
	$K create clusterrolebinding scraper --clusterrole=scraper --serviceaccount=default:scraper
	$K create serviceaccount scraper
	token=$(token_of scraper)
	[ "$(code -H "Authorization: Bearer $token" "$at/metrics/resource")" = 200 ]
	[ "$(code -H "Authorization: Bearer $token" "$at/stats/summary")" = 403 ]
	# Every path: nobody knows who asks, somebody who may not, the API server.
	local path
	for path in /pods /runningpods/ /stats/summary /metrics /metrics/resource /metrics/cadvisor /healthz /containerLogs/default/on-1/main \
			/exec/default/on-1/main /attach/default/on-1/main /portForward/default/on-1 /run/default/on-1/main /nothing; do
		[ "$(code "$at$path")" = 401 ] || { echo "$path: 401"; return 1; }
		[ "$(code -H "Authorization: Bearer $(token_of default)" "$at$path")" = 403 ] || { echo "$path: 403"; return 1; }
	done
	asked() { curl -s -m 10 --cacert "$ROOT/pki/ca.crt" --cert "$ROOT/pki/kubelet-client.crt" --key "$ROOT/pki/kubelet-client.key" "$@"; }
	for path in /pods /runningpods/ /stats/summary /metrics /metrics/resource /metrics/cadvisor /healthz /containerLogs/default/on-1/main; do
		[ "$(asked -o /dev/null -w '%{http_code}' "$at$path")" = 200 ] || { echo "$path: 200"; return 1; }
	done
	[[ $(asked "$at/metrics") == *bulkhead_pod_start_stage_ns_bucket*stage=*container* ]]
	asked "$at/metrics/resource" > "$BATS_TEST_TMPDIR/resource"
	asked "$at/metrics/cadvisor" > "$BATS_TEST_TMPDIR/cadvisor"
	local f
	for f in container_cpu_usage_seconds_total container_memory_working_set_bytes container_start_time_seconds; do
		grep -Eq "^$f\{container=\"main\",namespace=\"default\",pod=\"on-1\"\} [0-9.]+$" "$BATS_TEST_TMPDIR/resource" || { echo $f; return 1; }
	done
	grep -q '^pod_memory_working_set_bytes{namespace="default",pod="on-1"} [1-9]' "$BATS_TEST_TMPDIR/resource"
	for f in cpu_usage_seconds_total cpu_cfs_throttled_periods_total memory_usage_bytes memory_rss memory_cache memory_max_usage_bytes memory_failures_total \
			oom_events_total processes start_time_seconds last_seen fs_usage_bytes spec_memory_limit_bytes spec_cpu_shares; do
		grep -Eq "^container_$f\{container=\"main\",.*image=\"bulkhead.example/busybox:latest\",.*pod=\"on-1\"\} [0-9]" \
			"$BATS_TEST_TMPDIR/cadvisor" || { echo $f; return 1; }
	done
	grep -Eq '^container_network_receive_bytes_total\{container="",interface="eth0",.*pod="on-1"\} [0-9]+$' "$BATS_TEST_TMPDIR/cadvisor"
	asked "$at/stats/summary" | jq -e '.node.fs.capacityBytes > 0 and .node.runtime.imageFs.usedBytes > 0 and
		(.pods[] | select(.podRef.name == "on-1") | .process_stats.process_count > 0 and (.containers[0].memory.workingSetBytes > 0) and
		 .volume == [])'                         # an image's disk is none of its volumes
	# What is used per second: between two readings, none with the first.
	rates() {
		asked "$at/stats/summary" | jq -e '[.node.cpu, (.pods[] | select(.podRef.name == "on-1") | .cpu, .containers[0].cpu)] |
			length == 3 and all(.usageNanoCores >= 0 and .usageNanoCores < 1e12) and .[0].usageNanoCores > 0'
	}
	wait_for 30 rates
}

@test "certificates are renewed while the host runs" {
	before=$(openssl x509 -in "$ROOT/hosts/1/pki/serving.pem" -noout -serial; openssl x509 -in "$ROOT/hosts/1/pki/client.pem" -noout -serial)
	$K exec on-1 -- sh -c 'until [ -e /tmp/renewed ]; do sleep 1; done; echo survived' > "$ROOT/exec" 3>&- &
	exec_pid=$!
	sleep 1
	kill -HUP "$(pgrep -f "bulkhead-hostd --root $ROOT/hosts/1 ")"
	renewed() {
		[ "$(openssl x509 -in "$ROOT/hosts/1/pki/client.pem" -noout -serial)" != "$(tail -1 <<<"$before")" ] &&
		echo | openssl s_client -connect "$($K get node "$NODE-1" -o jsonpath='{.status.addresses[0].address}'):10250" 2>/dev/null |
			openssl x509 -noout -serial | grep -qvx "$(head -1 <<<"$before")"
	}
	wait_for 60 renewed
	$K exec on-1 -- touch /tmp/renewed
	wait $exec_pid
	grep -qx survived "$ROOT/exec"
}

@test "tokens: made, listed, used, refused, removed" {
	token=$("$BIN/bulkhead" token create --ttl 1h --root "$ROOT" 2>"$ROOT/hint")
	grep -q "bulkhead join https://.* --token $token --ca-hash sha256:" "$ROOT/hint"
	"$BIN/bulkhead" token ls --root "$ROOT" | grep -q "^${token%%.*} "
	server=$($K config view -o jsonpath='{.clusters[0].cluster.server}')
	who() { curl -s -m 10 --cacert "$ROOT/pki/ca.crt" -H "Authorization: Bearer $1" "$server/apis/certificates.k8s.io/v1/certificatesigningrequests"; }
	who "$token" | jq -e '.kind == "CertificateSigningRequestList"'
	who "$token" | jq -e '.items | length >= 6'
	who "${token%?}0" | jq -e '.code == 401 or .kind == "CertificateSigningRequestList"'
	who "abcdef.0123456789abcdef" | jq -e '.code == 401'
	curl -s -m 10 -k "$server/api/v1/namespaces/kube-public/configmaps/cluster-info" | jq -e ".data[\"jws-kubeconfig-${token%%.*}\"]"
	run "$BIN/bulkhead" join "$server" --token "$token" --ca-hash "sha256:$(printf '0%.0s' {1..64})" --root "$ROOT/other"
	[ "$status" -eq 1 ]
	[[ $output == *'this is not the cluster that you mean'* ]]
	"$BIN/bulkhead" token rm "$token" --root "$ROOT"
	who "$token" | jq -e '.code == 401'
	short=$("$BIN/bulkhead" token create --ttl 1s --root "$ROOT" 2>/dev/null)
	removed() { ! $K -n kube-system get secret "bootstrap-token-${short%%.*}"; }
	wait_for 20 removed
}

@test "requests that nobody may approve wait for kubectl certificate" {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$ROOT/jane.key" -subj "/O=dev/CN=jane" -out "$ROOT/jane.csr" 2>/dev/null
	for name in jane john; do
		$K apply -f - <<-END
		apiVersion: certificates.k8s.io/v1
		kind: CertificateSigningRequest
		metadata: {name: $name}
		spec: {request: $(base64 -w0 "$ROOT/jane.csr"), signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], expirationSeconds: 3600}
		END
	done
	[ "$($K get csr jane -o jsonpath='{.spec.username}')" = kubernetes-admin ]
	[ -z "$($K get csr jane -o jsonpath='{.status.conditions}')" ]
	$K certificate deny john
	$K certificate approve jane
	issued() { [ -n "$($K get csr jane -o jsonpath='{.status.certificate}')" ]; }
	wait_for 20 issued
	$K get csr jane -o jsonpath='{.status.certificate}' | base64 -d > "$ROOT/jane.crt"
	openssl x509 -in "$ROOT/jane.crt" -noout -subject | grep -q 'O = dev, CN = jane'
	[ "$(curl -s -m 10 --cacert "$ROOT/pki/ca.crt" --cert "$ROOT/jane.crt" --key "$ROOT/jane.key" \
		"$($K config view -o jsonpath='{.clusters[0].cluster.server}')/api/v1/pods" | jq -r .message)" = \
		'pods is forbidden: User "jane" cannot list resource "pods" in API group "" at the cluster scope' ]
	[ -z "$($K get csr john -o jsonpath='{.status.certificate}')" ]
	# A node cannot get another node's serving certificate.
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj "/O=system:nodes/CN=system:node:$NODE-1" \
		-addext "subjectAltName=IP:$($K get node "$NODE-2" -o jsonpath='{.status.addresses[0].address}')" -out "$ROOT/thief.csr" 2>/dev/null
	$K --kubeconfig "$ROOT/hosts/1/node.kubeconfig" create -f - <<-END
	apiVersion: certificates.k8s.io/v1
	kind: CertificateSigningRequest
	metadata: {name: thief}
	spec: {request: $(base64 -w0 "$ROOT/thief.csr"), signerName: kubernetes.io/kubelet-serving, usages: [digital signature, server auth]}
	END
	sleep 1
	[ -z "$($K get csr thief -o jsonpath='{.status.conditions}')" ]
}

@test "a drained host gives its pods away and takes new ones when it is uncordoned; a host that is cut off loses its pods" {
	$K apply -f - <<-END
	apiVersion: apps/v1
	kind: Deployment
	metadata: {name: spread}
	spec:
	  replicas: 2
	  selector: {matchLabels: {app: spread}}
	  template:
	    metadata: {labels: {app: spread}}
	    spec:
	      terminationGracePeriodSeconds: 1
	      tolerations:
	      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
	      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
	      containers:
	      - {name: main, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sleep, "10000"]}
	END
	wait_for 120 all_on 1 2 3
	$K delete pod on-3 --wait=false
	$K cordon "$NODE-3"
	$K get nodes | grep -q "^$NODE-3 .*SchedulingDisabled"
	$K drain "$NODE-3" --force --ignore-daemonsets --delete-emptydir-data --timeout=120s
	$K drain "$NODE-2" --force --ignore-daemonsets --delete-emptydir-data --timeout=120s
	wait_for 120 all_on 1
	run -1 $K get pod on-2
	# Only host 2 may take pods now, and host 1 is cut off.
	$K uncordon "$NODE-2"
	ip link set "bhv${TAG}1" down
	wait_for 120 node_is 1 Unknown
	$K get node "$NODE-1" -o jsonpath='{.spec.taints[*].key}' | grep -q node.kubernetes.io/unreachable
	wait_for 120 all_on 2
	# Back again: it is Ready, and what was given away is gone from it.
	ip link set "bhv${TAG}1" up
	wait_for 120 node_is 1 True
	forgotten() { [ "$($K get pods -l app=spread -o name | wc -l)" = 2 ]; }
	wait_for 120 forgotten
}

@test "kubectl top shows what nodes and containers use" {
	top() { [ "$($K top nodes --no-headers 2>/dev/null | grep -cE "^$NODE-[123] +[0-9]+m +[0-9]+% +[0-9]+Mi")" = 3 ]; }
	wait_for 60 top
	pod=$($K get pods -l app=spread -o jsonpath='{.items[0].metadata.name}')
	used() { $K top pod "$pod" --containers --no-headers 2>/dev/null | grep -qE "main +[0-9]+m +[0-9]+Mi"; }
	wait_for 60 used
	$K get pod "$pod" -o json | jq -e '.metadata.annotations["bulkhead.io/start-stages-ms"] | fromjson | .container >= 0'
}
