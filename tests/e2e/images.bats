#!/usr/bin/env bats
# Images people run, made of Debian's packages, each used as people use it: PostgreSQL, redis, nginx, Python, Java; one of 100
# layers; one with every odd kind of file.

load lib

setup_file() {
	cluster_up images
	all_of image busybox redis nginx python3 postgres java
	python3 "$BATS_TEST_DIRNAME/odd_image.py" hundred "$ROOT/hundred" "$CACHE/demo/busybox"
	python3 "$BATS_TEST_DIRNAME/odd_image.py" strange "$ROOT/strange" "$CACHE/demo/python3"
	all_of load_odd hundred strange
	$K create configmap pages --from-literal=index.html=$'a page of one\'s own\n'
	$K create configmap scripts --from-file="$BATS_TEST_DIRNAME/../images"
	$K apply -f - <<-END
	apiVersion: v1
	kind: PersistentVolumeClaim
	metadata: {name: database}
	spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 512Mi}}}
	END
	database
	pod java 'resources: {limits: {memory: 320Mi}}, args: ["-XX:MaxRAMPercentage=50", "-XX:MaxDirectMemorySize=2g", Serve],
		readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2, timeoutSeconds: 10}'
}

teardown_file() { cluster_down; }

load_odd() { "$BIN/bulkhead" image load "$ROOT/$1" --name "bulkhead.example/$1:latest" --root "$ROOT"; }

all_of() {   # all_of COMMAND NAME...: for all names at once
	local name pid pids=()
	for name in "${@:2}"; do "$1" "$name" & pids+=($!); done
	for pid in "${pids[@]}"; do wait "$pid"; done
}

pod() {   # pod NAME CONTAINER-FIELDS [POD-FIELDS]: a pod of the image of that name
	$K apply -f - <<-END
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec: {terminationGracePeriodSeconds: 20, ${3:+$3,} containers: [{name: main,
	  image: "bulkhead.example/$1:latest", imagePullPolicy: IfNotPresent, $2}]}
	END
}

database() {   # Always would give the group what PostgreSQL wants nobody but itself to have
	pod postgres 'volumeMounts: [{name: data, mountPath: /data}], resources: {limits: {memory: 384Mi}},
		readinessProbe: {exec: {command: [pg_isready, -h, 127.0.0.1]}, periodSeconds: 2, timeoutSeconds: 10}' \
		'securityContext: {fsGroup: 999, fsGroupChangePolicy: OnRootMismatch}, volumes: [{name: data, persistentVolumeClaim: {claimName: database}}]'
}

sql() { $K exec postgres -- psql -h 127.0.0.1 -U postgres -qAtc "$1"; }
ready() { [ "$($K get pod "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ]; }
restarts_are() { [ "$($K get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}')" = "$2" ]; }
java() { curl -s --max-time "${2:-60}" "http://$(ip_of java):8080/$1"; }

@test "nginx serves pages of a ConfigMap to many at once, and ends in order" {
	pod nginx 'volumeMounts: [{name: pages, mountPath: /var/www/html}]' 'restartPolicy: Never, volumes: [{name: pages, configMap: {name: pages}}]'
	wait_for 90 phase_is nginx Running
	local url; url=http://$(ip_of nginx)/
	wait_for 20 curl -sf "$url"
	seq 100 | xargs -P 20 -I{} curl -sf "$url" | sort | uniq -c | grep -q "100 a page of one's own"
	$K logs nginx | grep -c '"GET / HTTP/1.1" 200' | grep -qx '10[0-9]'
	$K exec nginx -- nginx -s quit
	wait_for 30 phase_is nginx Succeeded
	$K delete pod nginx
}

@test "redis keeps its keys when its container is restarted" {
	pod redis 'args: [--protected-mode, "no", --save, "3600 1", --dir, /data], volumeMounts: [{name: data, mountPath: /data}]' \
		'securityContext: {fsGroup: 999}, volumes: [{name: data, emptyDir: {}}]'
	wait_for 90 phase_is redis Running
	answers() { [ "$($K exec redis -- redis-cli "$@")" = PONG ]; }
	wait_for 30 answers ping
	$K exec redis -- redis-cli set greeting 'hello there'
	[ "$($K exec redis -- redis-cli get greeting)" = "hello there" ]
	[ "$($K exec redis -- sh -c 'redis-benchmark -q -n 2000 -c 20 -t set,get | tr "\r" "\n" | grep -c "requests per second"')" -ge 2 ]
	$K exec redis -- redis-cli shutdown save || true
	wait_for 120 restarts_are redis 1
	wait_for 30 answers ping
	exec 7<>"/dev/tcp/$(ip_of redis)/6379"
	printf 'GET greeting\r\nQUIT\r\n' >&7
	grep -q 'hello there' <&7
	exec 7>&-
	$K delete pod redis
}

@test "python3: its modules, processes, threads, and a server" {
	pod python3 'command: [python3, /script/modules.py], volumeMounts: [{name: s, mountPath: /script}]' \
		'volumes: [{name: s, configMap: {name: scripts}}]'
	wait_for 90 phase_is python3 Running
	wait_for 240 curl -sf "http://$(ip_of python3):8000/etc/os-release"
	[ "$($K logs python3 | head -1)" = '[499500, 5050, "OpenSSL", 1]' ]
	$K delete pod python3 --grace-period=1
}

@test "100 layers: each has added, changed and removed" {
	pod hundred 'command: [sh, -c, "cat /layers/last; echo; ls /layers | grep -c kept; ls /layers/brief*; wc -c < /layers/kept57"]' 'restartPolicy: Never'
	wait_for 90 phase_is hundred Succeeded
	[ "$($K logs hundred)" = $'99\n99\n/layers/brief99\n57' ]
	$K delete pod hundred
}

@test "every odd kind of file is what it was, can be used and changed" {
	pod strange 'command: [python3, /script/strange.py], volumeMounts: [{name: s, mountPath: /script}]' \
		'restartPolicy: Never, volumes: [{name: s, configMap: {name: scripts}}]'
	wait_for 240 phase_is strange Succeeded || { $K logs strange >&2; false; }
	[ "$($K logs strange)" = "everything was looked at" ]
	$K delete pod strange
}

@test "PostgreSQL: a table outlives a VM that is killed, and its pod" {
	wait_for 600 ready postgres
	sql 'create table people (id serial primary key, name text unique); insert into people (name) values ($$Ada$$), ($$Grace$$)'
	sql 'insert into people (name) select $$p$$ || n from generate_series(1, 5000) n; create index on people (name)'
	[ "$(sql 'select count(*) from people')" = 5002 ]
	[ "$(sql 'show dynamic_shared_memory_type')" = posix ]
	kill -9 "$(vm postgres pid)"
	wait_for 120 restarts_are postgres 1
	wait_for 300 ready postgres
	[ "$(sql 'select count(*), max(id) from people')" = '5002|5002' ]
	sql 'insert into people (name) values ($$Edsger$$)'
	$K delete pod postgres
	database
	wait_for 300 ready postgres
	[ "$(sql 'select name from people order by id desc limit 1')" = Edsger ]
	$K logs postgres | grep -q 'database system was shut down at'      # and not: was interrupted
	run sql 'insert into people (name) values ($$Ada$$)'
	[[ $output == *"duplicate key value violates unique constraint"* ]]
	$K delete pod postgres
	$K delete pvc database
}

@test "Java knows the limit of its memory, keeps to it, and is OOMKilled when it does not" {
	wait_for 600 ready java
	[[ $(java "") == "hello from Java 17."* ]]
	read -r heap machine processors < <(java memory)
	echo "heap $heap, machine $machine, processors $processors"
	[ "$machine" = $((320 << 20)) ]
	[ "$heap" -gt $((140 << 20)) ] && [ "$heap" -le $((160 << 20)) ]
	[[ $(java heap 300) == "OutOfMemoryError after 1"??" MiB" ]]
	[[ $(java "") == "hello from Java 17."* ]]
	restarts_are java 0
	java beyond 300 || true
	wait_for 120 restarts_are java 1
	[ "$($K get pod java -o jsonpath='{.status.containerStatuses[0].lastState.terminated.reason}')" = OOMKilled ]
	wait_for 300 ready java
	$K delete pod java
}
