#!/usr/bin/env bats
# Images of Debian's packages out of Debian's docker-registry on loopback: busybox, nginx, redis and python3 as pods.

load lib

setup_file() {
	export REGISTRY_DIR=$(mktemp -d /tmp/bh-registry-XXXXXX)
	export REGISTRY=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	cat > "$REGISTRY_DIR/config.yml" <<-END
	version: 0.1
	storage: {filesystem: {rootdirectory: $REGISTRY_DIR/data}}
	http: {addr: $REGISTRY}
	END
	docker-registry serve "$REGISTRY_DIR/config.yml" > "$REGISTRY_DIR/log" 2>&1 3>&- &
	echo $! > "$REGISTRY_DIR/pid"
	wait_for 10 curl -sf "http://$REGISTRY/v2/"
	for name in busybox nginx redis python3; do
		[ -d "$CACHE/demo/$name" ] || tools/make-image "$name" "$CACHE/demo/$name" >&2
		skopeo copy -q --dest-tls-verify=false "oci:$CACHE/demo/$name:latest" "docker://$REGISTRY/test/$name:1" >&2
	done
	cluster_up registry
}

teardown_file() {
	kill "$(cat "$REGISTRY_DIR/pid")"
	rm -rf "$REGISTRY_DIR"
	cluster_down
}


@test "images are pulled, with the events a kubelet writes" {
	for name in busybox nginx redis python3; do
		case $name in busybox) cmd='sleep 1000' ;; python3) cmd='python3 -m http.server 8000' ;; *) cmd= ;; esac
		$K run "$name" --image="$REGISTRY/test/$name:1" ${cmd:+-- $cmd}
	done
	for name in busybox nginx redis python3; do wait_for 120 phase_is "$name" Running; done
	$K describe pod nginx | grep -q "Successfully pulled image \"$REGISTRY/test/nginx:1\""
	"$BIN/bulkhead" image ls --root "$ROOT" | grep -q "$REGISTRY/test/redis:1"
}

@test "nginx, redis and python3 serve at their pods' addresses" {
	wait_for 30 curl -sf "http://$(ip_of nginx)/"
	wait_for 30 curl -sf "http://$(ip_of python3):8000/etc/os-release"
	wait_for 30 bash -c "exec 3<>/dev/tcp/$(ip_of redis)/6379; echo PING >&3; head -1 <&3 | grep -q PONG"
}

@test "pods reach each other" {
	$K exec busybox -- wget -q -O - "http://$(ip_of nginx)/" | grep -q nginx
}

@test "imagePullPolicy Always: a container that starts again has what its image's name means then" {
	from_tag() { skopeo copy -q --dest-tls-verify=false "oci:$CACHE/demo/$1:latest" "docker://$REGISTRY/test/tag:1" >&2; }
	pulls() { [ "$($K get events --field-selector involvedObject.name=tag -o json | jq "[.items[] | select(.reason == \"$1\") | .count] | add")" = "$2" ]; }
	kill_it() { $K exec tag -- sh -c 'kill -9 $(cat /tmp/pid)' || true; }
	from_tag busybox
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: tag}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: main
	    image: "$REGISTRY/test/tag:1"
	    imagePullPolicy: Always
	    command: [sh, -c, 'ls /usr/sbin/nginx || echo no nginx; sleep 1000 & echo \$! >/tmp/pid; wait \$!; exit 1']
	END
	wait_for 60 logs_say tag 'no nginx'
	first=$($K get pod tag -o jsonpath='{.status.containerStatuses[0].imageID}')
	kill_it                              # the same image: looked for, and used as it is
	wait_for 60 pulls Pulling 2
	wait_for 60 logs_say tag 'no nginx'
	[ "$($K get pod tag -o jsonpath='{.status.containerStatuses[0].imageID}')" = "$first" ]
	from_tag nginx
	kill_it                              # another one, after the back-off
	wait_for 90 logs_say tag '^/usr/sbin/nginx$'
	[ "$($K get pod tag -o jsonpath='{.status.containerStatuses[0].imageID}')" != "$first" ]
	pulls Pulling 3
	[ "$($K get pod tag -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 2 ]
	$K delete pod tag
}

@test "hostPort leads to the pod" {
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: hostport}
	spec:
	  containers:
	  - {name: a, image: "$REGISTRY/test/nginx:1", ports: [{containerPort: 80, hostPort: $port}]}
	END
	wait_for 60 phase_is hostport Running
	wait_for 20 curl -sf "http://127.0.0.1:$port/"
	$K delete pod hostport
}

@test "a name that the registry does not have" {
	$K run absent --image="$REGISTRY/test/absent:1"
	wait_for 30 waiting_is absent ImagePullBackOff
	$K describe pod absent | grep -qi 'not found\|unknown'
	$K delete pod absent
}
