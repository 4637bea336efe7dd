# SPDX-License-Identifier: Apache-2.0
# Pods that together use twice the memory they are allowed: cold pages are compressed and come back with the right bytes, also when
# pagerd is killed meanwhile; who floods the pager does not stop the others; the node says that memory is short. And a
# host that forbids paging.

load lib

LIMIT_MIB=400   # three pods of which each uses 220, and its kernel 40 to 70

setup_file() {
	need jq
	cluster_up over --waiting 0 --vm-memory-mib $LIMIT_MIB
	image busybox
	$K create configmap tools --from-file="$BIN/../tests/toucher"
}

teardown_file() { cluster_down; }

teardown() { [ -n "$BATS_TEST_COMPLETED" ] || what_happened; }

sum_of() { "$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq "[.vms[].$1] | add"; }
pressure_is() { [ "$($K get node -o jsonpath='{.items[0].status.conditions[?(@.type=="MemoryPressure")].status}')" = "$1" ]; }
tainted() { $K get node -o jsonpath='{.items[0].spec.taints[*].key}' | grep -q node.kubernetes.io/memory-pressure; }

pod() {   # pod NAME COMMAND [MEMORY-REQUEST]
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  restartPolicy: Never
	  terminationGracePeriodSeconds: 1
	  volumes: [{name: tools, configMap: {name: tools, defaultMode: 0555}}]
	  tolerations: [{key: node.kubernetes.io/memory-pressure, operator: Exists}]
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    resources: {requests: {memory: ${3:-0}}}
	    volumeMounts: [{name: tools, mountPath: /tools}]
	    command:
	    - sh
	    - -c
	    - |
	$(sed 's/^/      /' <<<"$2")
	END
}

# toucher NAME: uses 220 MiB of memory for ever, and notices when a byte is wrong.
toucher() { pod "$1" 'exec /tools/toucher 220'; }

@test "guests that use twice what there is keep running" {
	pod small 'while :; do dd if=/dev/urandom bs=1M count=1 2>/dev/null | md5sum >/dev/null; echo turn; sleep 0.2; done' 100Mi
	wait_for 60 phase_is small Running
	toucher one
	toucher two
	toucher three
	for p in one two three; do wait_for 180 logs_have $p filled 1; done
	for p in one two three; do wait_for 180 logs_have $p round 1; done
	# resident and compressed together are about twice the limit, and what is resident stays near it
	twice() { [ $(($(sum_of residentBytes) + $(sum_of compressedBytes))) -gt $((LIMIT_MIB * 1048576 * 19 / 10)) ]; }
	near_limit() { [ "$(sum_of residentBytes)" -lt $((LIMIT_MIB * 1048576 * 5 / 4)) ]; }
	compressed() { [ "$(sum_of compressedBytes)" -gt $((100 << 20)) ]; }
	wait_for 60 twice         # guests fault while pagerd evicts: what is resident goes up and down around the limit
	wait_for 60 near_limit
	wait_for 60 compressed
}

@test "the node says that memory is short, and the scheduler is told" {
	wait_for 60 pressure_is True
	wait_for 60 tainted
}

@test "guests are asked to give memory back, by class and reservation" {
	gave() { [ "$(vm "$1" balloonedBytes)" -ge $(($2 << 20)) ]; }
	local all; all=$(vm one memoryMiB)
	# Of BestEffort up to three eighths; of small, which has reserved 100 and 96 MiB, three sixteenths of the rest.
	for p in one two three; do wait_for 120 gave $p $((all / 4)); done
	wait_for 120 gave small $((all / 16))
	[ "$(vm small balloonedBytes)" -le $((((all - 196) * 3 / 16) << 20)) ]
	[ "$(vm one balloonedBytes)" -le $(((all * 3 / 8) << 20)) ]
	"$BIN/bulkhead" vm ls --root "$ROOT" | grep -E ' BALLOONED '
	# The same in the statistics that the node gives.
	local at stats
	at=https://$($K get node -o jsonpath='{.items[0].status.addresses[0].address}:{.items[0].status.daemonEndpoints.kubeletEndpoint.Port}')
	stats=$(curl -s -m 20 --cacert "$ROOT/pki/ca.crt" --cert "$ROOT/pki/kubelet-client.crt" --key "$ROOT/pki/kubelet-client.key" "$at/stats/summary")
	jq -e '.pods[] | select(.podRef.name == "one") | .memory.workingSetBytes > 200000000
		and (.bulkheadMemory | .balloonedBytes >= 150000000 and .residentBytes > 0 and .compressedBytes > 0 and has("sharedBytes"))
		and .containers[0].swap.swapUsageBytes == .bulkheadMemory.compressedBytes' <<<"$stats"
	jq -e '.node.swap.swapUsageBytes == ([.pods[].swap.swapUsageBytes] | add)' <<<"$stats"
	curl -s -m 20 --cacert "$ROOT/pki/ca.crt" --cert "$ROOT/pki/kubelet-client.crt" --key "$ROOT/pki/kubelet-client.key" "$at/metrics/resource" |
		grep -Eq '^container_swap_usage_bytes[{]container="main",namespace="default",pod="one"[}] [1-9][0-9]{6,}$'
}

# Each kubectl: 1.20 and 1.32 show what they always do, 1.36 what is compressed as swap.
shown_by() {   # shown_by KUBECTL
	local kubectl=$CLIENTS/$1
	[ -x "$kubectl" ] || return 0
	table() { "$kubectl" get podmetrics one --no-headers | tee "$BATS_TEST_TMPDIR/one" | awk '{exit !($4 + 0 > 0 && $6 + 0 > 0 && $7 + 0 >= 150)}'; }
	wait_for 60 table
	"$kubectl" top pod one --no-headers | grep -Eq '^one +[0-9]+m +2[0-9][0-9]Mi *$'
	[ "$1" != kubectl-sid ] || wait_for 60 swap_is_compressed "$kubectl"
	"$kubectl" get podmetrics
	"$kubectl" get nodemetrics
}
swap_is_compressed() {   # both from the same reading of the node, sooner or later
	[ "$("$1" top pod one --show-swap --no-headers | awk '{print $4}')" = "$("$1" get podmetrics one --no-headers | awk '{print $6}')" ]
}

@test "kubectl shows what is resident, shared, compressed and ballooned" {
	for k in kubectl-1.20 kubectl-1.32 kubectl-sid; do shown_by $k; done
	! [ -x "$CLIENTS/kubectl-sid" ] || "$CLIENTS/kubectl-sid" top pod --show-swap
}

@test "who has reserved its memory, and who hardly uses any, is not starved by those who flood" {
	local n
	n=$($K logs small | grep -c turn)
	wait_for 60 logs_have small turn $((n + 10))
	# what it has reserved was not taken
	[ "$(vm small compressedBytes)" -lt $((10 << 20)) ]
}

@test "pagerd is killed in the middle of it: the bytes are right" {
	local n i
	for i in 1 2 3 4 5; do
		kill -KILL "$(pagerd_pid)"
		sleep 0.7
	done
	for p in one two three; do
		n=$($K logs $p | grep -c round)
		wait_for 240 logs_have $p round $((n + 2))
		! $K logs $p | grep wrong
	done
}

@test "when the pods are gone, so are their pages" {
	$K delete pod one two three --wait=false
	for p in one two three; do wait_for 60 gone pod $p; done
	wait_for 90 pressure_is False
	tainted_not() { ! tainted; }
	wait_for 60 tainted_not
	# The one that is left gets back what it gave.
	all_back() { [ "$(vm small balloonedBytes)" = 0 ]; }
	wait_for 60 all_back
	$K delete pod small --wait=false
	wait_for 60 gone pod small
}

@test "a host that forbids userfaultfd runs pods with ordinary memory and says so" {
	UP_UNDER="$BIN/../tests/deny_tool userfaultfd" cluster_up over2 --waiting 0
	image busybox
	busybox_pod plain Never 'echo hello; exec sleep 3600'
	wait_for 60 phase_is plain Running
	[ "$(vm plain paged)" = false ]
	"$BIN/bulkhead" doctor --root "$ROOT" | grep '^pager .*not paged: .*userfaultfd'
	cluster_down
}
