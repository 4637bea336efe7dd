#!/usr/bin/env bats
# What a pod's fields say, as its containers find it: environment, folders, names, messages, projected volumes, the class of runtime,
# pull secrets, gRPC probes.

bats_require_minimum_version 1.5.0
load lib

setup_file() {
	cluster_up podspec
	image busybox
	image nginx
	$K create configmap settings --from-literal=colour=green --from-literal=size=7
	$K create secret generic keys --from-literal=token=s3cret
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: env, labels: {tier: front}, annotations: {note: "two words"}}
	spec:
	  restartPolicy: Never
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    workingDir: /var/run
	    command: [sh, -c]
	    args: ["env | sort; echo pwd=$PWD 'arg=$(COLOUR) kept=$$(COLOUR) unknown=$(NOBODY)'"]
	    resources: {limits: {memory: 96Mi, cpu: 1500m}, requests: {memory: 32Mi, cpu: 250m}}
	    envFrom:
	    - configMapRef: {name: settings}
	    - prefix: K_
	      secretRef: {name: keys}
	    - configMapRef: {name: nobody, optional: true}
	    env:
	    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
	    - {name: BOTH, value: "$(COLOUR)-$(K_token)"}
	    - {name: FROM_IMAGE, value: "$(PATH)"}
	    - {name: size, value: "8"}
	    - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
	    - {name: ABSENT, valueFrom: {secretKeyRef: {name: keys, key: nothing, optional: true}}}
	    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
	    - {name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
	    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
	    - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
	    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
	    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
	    - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
	    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
	    - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
	    - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
	---
	apiVersion: v1
	kind: Service
	metadata: {name: crew}
	spec: {clusterIP: None, selector: {app: named}}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: named, labels: {app: named}}
	spec:
	  restartPolicy: Never
	  hostname: first
	  subdomain: crew
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "hostname; hostname -f; grep first /etc/hosts; echo early; sleep 3; echo late; echo -n 'this is why' > /tmp/why; exit 4"]
	    terminationMessagePath: /tmp/why
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: projected, labels: {a: b}}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "sleep 10000"]
	    resources: {limits: {memory: 64Mi}}
	    volumeMounts: [{name: all, mountPath: /all}]
	  volumes:
	  - name: all
	    projected:
	      defaultMode: 0440
	      sources:
	      - configMap: {name: settings, items: [{key: colour, path: deep/colour, mode: 0400}]}
	      - secret: {name: keys}
	      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: memory, resourceFieldRef: {containerName: main, resource: limits.memory}}]}
	      - serviceAccountToken: {path: jwt, audience: someone, expirationSeconds: 600}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: odd}
	spec:
	  restartPolicy: Never
	  setHostnameAsFQDN: true
	  subdomain: crew
	  securityContext: {supplementalGroups: [77], runAsUser: 1, runAsGroup: 8, sysctls: [{name: kernel.msgmax, value: "4096"}, {name: vm.max_map_count, value: "77777"}]}
	  containers:
	  - name: main
	    image: bulkhead.example/busybox:latest
	    imagePullPolicy: IfNotPresent
	    env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
	    command: [sh, -c, 'id -u; id -g; id -G; hostname; echo $HOSTNAME; cat /proc/sys/kernel/msgmax /proc/sys/vm/max_map_count; touch /mine/x; cd /all; ls -d of/*/x']
	    volumeMounts: [{name: v, mountPath: /mine, subPathExpr: "of/$(POD)"}, {name: v, mountPath: /all}]
	  volumes: [{name: v, emptyDir: {}}]
	END
	refused nonroot 'securityContext: {runAsNonRoot: true}'
	refused root 'securityContext: {runAsNonRoot: true, runAsUser: 0}'
	refused path 'volumeMounts: [{name: v, mountPath: /v, subPathExpr: "a/$(NOBODY)"}]' 'volumes: [{name: v, emptyDir: {}}]'
	refused sysctl 'tty: false' 'securityContext: {sysctls: [{name: kernel.of_nobody, value: "1"}]}'
	refused apparmor 'securityContext: {appArmorProfile: {type: RuntimeDefault}}'
	refused long 'tty: false' "setHostnameAsFQDN: true, subdomain: crew, hostname: h$(printf '%062d' 0)"
	refused late 'tty: false' 'activeDeadlineSeconds: 4, terminationGracePeriodSeconds: 1'
}

refused() {   # refused NAME CONTAINER-FIELDS [POD-FIELDS]
	$K apply --validate=false -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec: {restartPolicy: Never, ${3:+$3,} containers: [{name: main, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent,
	  command: [sleep, "1000"], $2}]}
	END
}

teardown_file() {
	[ ! -f "$ROOT/registry.pid" ] || kill "$(cat "$ROOT/registry.pid")"
	cluster_down
}

ended() { phase_is "$1" Succeeded || phase_is "$1" Failed; }
event_says() { $K get events --field-selector "involvedObject.name=$1" -o json | jq -r '.items[].message' | grep -q -- "$2"; }
simple() {   # simple NAME [POD-FIELDS]
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec: {terminationGracePeriodSeconds: 1, ${2:+$2,} containers: [{name: main, image: "bulkhead.example/busybox:latest",
	  imagePullPolicy: IfNotPresent, command: [sh, -c, "echo here; sleep 10000"]}]}
	END
}

@test "environment: from maps, secrets, the pod, its resources; later names win; what is expanded and what is not" {
	wait_for 90 phase_is env Succeeded
	$K logs env > "$BATS_TEST_TMPDIR/env"
	cat "$BATS_TEST_TMPDIR/env"
	has() { grep -qxF -- "$1" "$BATS_TEST_TMPDIR/env"; }
	has colour=green
	has size=8
	has K_token=s3cret
	has COLOUR=green
	has BOTH=green-s3cret
	has 'FROM_IMAGE=$(PATH)'      # names of the image are none of the pod's
	has TOKEN=s3cret
	! grep -q ^ABSENT "$BATS_TEST_TMPDIR/env" || return 1
	has POD=env
	has NS=default
	has TIER=front
	has "NOTE=two words"
	has "IP=$($K get pod env -o jsonpath='{.status.podIP}')"
	has "NODE=$($K get nodes -o jsonpath='{.items[0].metadata.name}')"
	has ACCOUNT=default
	has MEMORY=96
	has CPU=250
	has CPUS=2
	grep -q '^KUBERNETES_SERVICE_HOST=' "$BATS_TEST_TMPDIR/env"
	has 'pwd=/var/run arg=green kept=$(COLOUR) unknown=$(NOBODY)'
}

@test "host name and subdomain; a message where the pod wants it; logs since a time" {
	wait_for 90 phase_is named Failed
	run -0 $K logs named
	[ "${lines[0]}" = first ]
	[ "${lines[1]}" = first.crew.default.svc.cluster.local ]
	[[ ${lines[2]} == "$($K get pod named -o jsonpath='{.status.podIP}')"*first.crew.default.svc.cluster.local*first* ]]
	[ "$($K get pod named -o jsonpath='{.status.containerStatuses[0].state.terminated.message}')" = "this is why" ]
	[ "$($K get pod named -o jsonpath='{.status.containerStatuses[0].state.terminated.exitCode}')" = 4 ]
	local late
	late=$($K logs named --timestamps | sed -n 's/ late$//p')
	run -0 $K logs named --since-time="$(date -u -d "$late - 1 second" +%Y-%m-%dT%H:%M:%SZ)"
	[ "$output" = late ]
	[ -z "$($K logs named --since-time="$(date -u -d "$late + 2 seconds" +%Y-%m-%dT%H:%M:%SZ)")" ]
}

@test "one volume of several sources, with a token for an audience" {
	wait_for 90 phase_is projected Running
	local in="$K exec projected -- "
	[ "$($in cat /all/deep/colour)" = green ]
	[ "$($in cat /all/token)" = s3cret ]
	[ "$($in cat /all/labels)" = 'a="b"' ]
	[ "$($in cat /all/memory)" = 67108864 ]
	[ "$($in stat -L -c %a /all/deep/colour)" = 400 ]
	[ "$($in stat -L -c %a /all/labels)" = 440 ]
	$in cat /all/jwt > "$BATS_TEST_TMPDIR/jwt"
	jq -Re 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | . + "==="[:(4 - length % 4) % 4] | @base64d | fromjson |
		.aud == ["someone"] and .["kubernetes.io"].pod.name == "projected" and .exp - .iat <= 607' < "$BATS_TEST_TMPDIR/jwt"
	$in sh -c '! echo x > /all/labels'
}

config_error() {   # config_error POD MESSAGE: its container waits for it
	wait_for 90 waiting_is "$1" CreateContainerConfigError
	local said; said=$($K get pod "$1" -o jsonpath='{.status.containerStatuses[0].state.waiting.message}')
	[[ $said == $2 ]] || { echo "$1: $said" >&2; return 1; }
}

@test "who it runs as, its whole name, system controls of the VM's kernel, a sub path made of variables" {
	wait_for 90 phase_is odd Succeeded
	[ "$($K logs odd)" = $'1\n8\n8 77\nodd.crew.default.svc.cluster.local\nodd.crew.default.svc.cluster.local\n4096\n77777\nof/odd/x' ]
}

@test "what cannot be as the pod wants it is said in a kubelet's words" {
	config_error nonroot 'container has runAsNonRoot and image will run as root (pod: "nonroot_default('*')", container: main)'
	config_error root "container's runAsUser breaks non-root policy (pod: \"root_default("*')", container: main)'
	config_error path 'missing value for NOBODY'
	run -1 refused both 'volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]' 'volumes: [{name: v, emptyDir: {}}]'
	[[ $output == *'Bidirectional mount propagation is available only to privileged containers'* ]]
	wait_for 60 event_says sysctl "Failed to create pod sandbox: set sysctl kernel/of_nobody to '1': No such file or directory"
	wait_for 60 event_says long 'failed to construct FQDN from pod hostname and cluster domain, FQDN h0*.crew.default.svc.cluster.local is too long'
	wait_for 60 phase_is apparmor Failed
	[ "$($K get pod apparmor -o jsonpath='{.status.reason}: {.status.message}')" = 'AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host' ]
	wait_for 60 phase_is late Failed
	[ "$($K get pod late -o jsonpath='{.status.reason}')" = DeadlineExceeded ]
	wait_for 60 event_says late 'Pod was active on the node longer than the specified deadline'
	$K delete pod nonroot root path sysctl apparmor long late odd --wait=false
}

@test "resources of the pod as a whole: its class, its VM, and the limits of containers that have none" {
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: whole}
	spec:
	  terminationGracePeriodSeconds: 1
	  resources: {limits: {cpu: 800m, memory: 300Mi}}
	  containers:
	  - {name: free, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sleep, "1000"]}
	  - {name: own, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent, command: [sleep, "1000"], resources: {limits: {memory: 64Mi}, requests: {memory: 1Mi, cpu: 10m}}}
	END
	wait_for 90 phase_is whole Running
	[ "$($K get pod whole -o jsonpath='{.status.qosClass} {.spec.resources.requests.cpu} {.spec.resources.requests.memory}')" = "Burstable 10m 1Mi" ]
	[ "$($K exec whole -c free -- cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max | xargs)" = "$((300 << 20)) 80000 100000" ]
	[ "$($K exec whole -c own -- cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max | xargs)" = "$((64 << 20)) 80000 100000" ]
	"$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq -e '.vms[] | select(.pod == "whole") | .vcpus == 1 and .memoryMiB == 512'
	$K delete pod whole
	run $K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: toomuch}
	spec: {resources: {limits: {memory: 1Gi}, requests: {memory: 32Mi}}, containers: [{name: main, image: i, resources: {requests: {memory: 33Mi}}}]}
	END
	[ "$status" -eq 1 ]
	[[ $output == *'spec.resources.requests[memory]: Invalid value: "32Mi": must be greater than or equal to aggregate container requests of 33Mi'* ]]
}

@test "the class of runtime decides on the engine, and says what it costs" {
	local handler
	for handler in qemu kvm nobody; do
		$K apply -f - <<-END
		apiVersion: node.k8s.io/v1
		kind: RuntimeClass
		metadata: {name: with-$handler}
		handler: $handler
		overhead: {podFixed: {memory: 64Mi}}
		END
		simple "with-$handler" "runtimeClassName: with-$handler"
	done
	wait_for 90 phase_is with-qemu Running
	[ "$($K get pod with-qemu -o jsonpath='{.spec.overhead.memory}')" = 64Mi ]
	[ "$("$BIN/bulkhead" vm ls --root "$ROOT" -o json | jq -r '.vms[] | select(.pod == "with-qemu") | .engine')" = qemu ]
	wait_for 60 event_says with-nobody 'Failed to create pod sandbox: no runtime for "nobody" is configured: there are the handlers'
	phase_is with-nobody Pending
	if "$BIN/bulkhead" doctor | grep -q 'kvm is chosen'; then
		wait_for 90 phase_is with-kvm Running
	else
		wait_for 60 event_says with-kvm 'KVM is not usable on this host'
		phase_is with-kvm Pending
	fi
	run -1 simple absent "runtimeClassName: absent"
	[[ $output == *'pod rejected: RuntimeClass "absent" not found'* ]]
	$K delete pod with-qemu with-kvm with-nobody
}

@test "the guest's console" {
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: console}
	spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: "bulkhead.example/busybox:latest", imagePullPolicy: IfNotPresent,
	  securityContext: {privileged: true}, command: [sh, -c, "echo '<1>told to the kernel' > /dev/kmsg; sleep 10000"]}]}
	END
	wait_for 90 phase_is console Running
	"$BIN/bulkhead" vm console -f --root "$ROOT" console > "$BATS_TEST_TMPDIR/console" 3>&- &
	local p=$!
	wait_for 20 grep -q "told to the kernel" "$BATS_TEST_TMPDIR/console"
	run -0 "$BIN/bulkhead" vm console --root "$ROOT" default/console
	[[ $output == *"told to the kernel"* ]]
	$K delete pod console
	wait_for 20 eval "! kill -0 $p 2>/dev/null"      # it ends with the VM
	run -1 "$BIN/bulkhead" vm console --root "$ROOT" nobody
	[[ $output == *'no VM of a pod "nobody" on this host'* ]]
	run -2 "$BIN/bulkhead" vm console
}

@test "an image of a registry that wants to know who asks" {
	local port auth
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	python3 -W ignore -c 'import crypt; print("user:" + crypt.crypt("pw", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' > "$ROOT/htpasswd"
	cat > "$ROOT/registry.yml" <<-END
	version: 0.1
	storage: {filesystem: {rootdirectory: $ROOT/registry}}
	http: {addr: "127.0.0.1:$port"}
	auth: {htpasswd: {realm: here, path: $ROOT/htpasswd}}
	END
	docker-registry serve "$ROOT/registry.yml" > "$ROOT/registry.log" 2>&1 3>&- &
	echo $! > "$ROOT/registry.pid"
	wait_for 10 curl -s -o /dev/null "http://127.0.0.1:$port/v2/"
	skopeo copy -q --dest-creds user:pw --dest-tls-verify=false "oci:$CACHE/demo/busybox:latest" "docker://127.0.0.1:$port/private/busybox:1"
	$K create secret docker-registry pull --docker-server="127.0.0.1:$port" --docker-username=user --docker-password=pw
	for name in with without; do
		$K apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: $name}
		spec: {restartPolicy: Never, $([ $name = without ] || echo 'imagePullSecrets: [{name: pull}],') containers: [{name: main,
		  image: "127.0.0.1:$port/private/busybox:1", imagePullPolicy: Always, command: [echo, let in]}]}
		END
	done
	wait_for 90 phase_is with Succeeded
	[ "$($K logs with)" = "let in" ]
	wait_for 60 event_says without 'pull access denied'
	! ended without || return 1
	$K delete pod with without
}

@test "gRPC probes" {
	$K create configmap grpc --from-literal=conf='
	daemon off; events {} pid /tmp/pid; error_log stderr;
	http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
	  server { listen 5000 http2; root /tmp; default_type application/grpc; add_trailer grpc-status 0;
	    location /grpc.health.v1.Health/Check { error_page 404 405 =200 /answer; }
	    location = /answer { } } }'
	$K apply -f - <<-'END'
	apiVersion: v1
	kind: Pod
	metadata: {name: grpc}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: bulkhead.example/nginx:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "printf '\\000\\000\\000\\000\\002\\010\\001' > /tmp/answer; exec nginx -c /conf/conf"]
	    readinessProbe: {grpc: {port: 5000, service: shop}, periodSeconds: 1, failureThreshold: 1}
	    volumeMounts: [{name: conf, mountPath: /conf}]
	  volumes: [{name: conf, configMap: {name: grpc}}]
	END
	wait_for 90 ready_is grpc True
	$K exec grpc -- sh -c 'printf "\000\000\000\000\002\010\002" > /tmp/answer'
	wait_for 30 ready_is grpc False
	wait_for 10 event_says grpc 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
	$K exec grpc -- sh -c 'printf "\000\000\000\000\002\010\001" > /tmp/answer'
	wait_for 30 ready_is grpc True
	$K delete pod grpc
}
