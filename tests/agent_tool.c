// SPDX-License-Identifier: Apache-2.0
// A hand on the agent of one VM, for tests and developers:
//   agent_tool SOCKET hello
//   agent_tool SOCKET configure UID HOSTNAME [scratch=SERIAL] [mac=M ip=A/N gw=G] [sharepid=1] [sysctl=NAME=VALUE]...
//   agent_tool SOCKET create ID image=SERIAL [config=FILE] [user=U] [tty=1] [stdin=1] [once=1] [limit=BYTES] [nonroot=1]
//              [mount=KIND:SOURCE:DESTINATION[:SUBPATH]]... [fsgroup=N] [memory=BYTES] -- ARGV...
//   agent_tool SOCKET start|remove|wait ID          wait: until EXITED; prints its status
//   agent_tool SOCKET signal ID NUMBER [all]
//   agent_tool SOCKET list|stats|shutdown
//   agent_tool SOCKET exec ID [tty] [stdin] [timeout=MS] [cols=N rows=N] [env=NAME=VALUE]... -- ARGV...
//   agent_tool SOCKET attach ID [stdin] [cols=N rows=N]
//   agent_tool SOCKET logs ID [from=SEQ] [noack]    prints the bytes; ends at the end of the log
//   agent_tool SOCKET port NUMBER                   standard input and output
//   agent_tool SOCKET files NAME [PATH=TEXT]...
//   agent_tool SOCKET disk SERIAL TIMEOUT_MS
//   agent_tool SOCKET resources ID JSON
// The exit code is the command's for exec and attach, else 0, or 1 with "error CODE: TEXT" on stderr.
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "hostd/agent_client.h"

static const char *socket_path;
static struct agent_client *client;

static int fail(const struct err *e)
{
	fprintf(stderr, "error %d: %s\n", e->code, e->text);
	return 1;
}

/* "name=" among the words before "--"; n: which one. */
static const char *option(char **words, const char *name, int n)
{
	size_t len = strlen(name);
	for (; *words && strcmp(*words, "--"); words++)
		if (!strncmp(*words, name, len) && (*words)[len] == '=' && !n--)
			return *words + len + 1;
	return NULL;
}

static int flag(char **words, const char *name)
{
	for (; *words && strcmp(*words, "--"); words++)
		if (!strcmp(*words, name))
			return 1;
	return 0;
}

static uint64_t number(char **words, const char *name)
{
	const char *v = option(words, name, 0);
	return v ? strtoull(v, NULL, 10) : 0;
}

static char **after_dashes(char **words)
{
	while (*words && strcmp(*words, "--"))
		words++;
	return *words ? words + 1 : words;
}

static size_t count(char **words)
{
	size_t n = 0;
	while (words[n])
		n++;
	return n;
}

static int request(Bulkhead__Agent__Request *rq, Bulkhead__Agent__Reply **reply)
{
	struct err e = ERR_INIT;
	return agent_request(client, rq, 60000, reply, &e) ? fail(&e) : 0;
}

#define REQUEST(name) Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT; \
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_##name

static int cmd_configure(char **w)
{
	REQUEST(CONFIGURE_POD);
	Bulkhead__Agent__ConfigurePod c = BULKHEAD__AGENT__CONFIGURE_POD__INIT;
	Bulkhead__Agent__Interface i = BULKHEAD__AGENT__INTERFACE__INIT, *is = &i;
	Bulkhead__Agent__Address a = BULKHEAD__AGENT__ADDRESS__INIT, *as = &a;
	Bulkhead__Agent__Route r = BULKHEAD__AGENT__ROUTE__INIT, *rs = &r;
	Bulkhead__Agent__Sysctl sysctls[16], *ss[16];
	uint8_t entropy[64];
	if (count(w) < 2 || getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return 2;
	c.pod_uid = w[0], c.hostname = w[1];
	c.scratch_serial = (char *)(option(w, "scratch", 0) ? option(w, "scratch", 0) : "");
	c.resolv_conf = (char *)"nameserver 192.0.2.53\n";
	c.hosts = (char *)"127.0.0.1 localhost\n";
	c.clock_real_ns = clock_real_ns();
	c.entropy = (ProtobufCBinaryData){sizeof(entropy), entropy};
	c.share_process_namespace = option(w, "sharepid", 0) != NULL;
	const char *v;
	for (size_t n = 0; n < 16 && (v = option(w, "sysctl", (int)n)); n++) {
		char *eq = strchr(v, '=');
		bulkhead__agent__sysctl__init(&sysctls[n]);
		sysctls[n].name = eq ? strndup(v, (size_t)(eq - v)) : (char *)v;
		sysctls[n].value = eq ? eq + 1 : (char *)"";
		ss[n] = &sysctls[n];
		c.n_sysctls = n + 1;
	}
	c.sysctls = ss;
	if (option(w, "mac", 0)) {
		char *ip = strdup(option(w, "ip", 0) ? option(w, "ip", 0) : ""), *slash = strchr(ip, '/');
		i.name = (char *)"eth0", i.mac = (char *)option(w, "mac", 0);
		if (slash) {
			*slash = '\0';
			a.address = ip, a.prefix_len = (uint32_t)atoi(slash + 1);
			i.addresses = &as, i.n_addresses = 1;
		}
		if (option(w, "gw", 0)) {
			r.gateway = (char *)option(w, "gw", 0);
			i.routes = &rs, i.n_routes = 1;
		}
		c.interfaces = &is, c.n_interfaces = 1;
	}
	rq.configure_pod = &c;
	return request(&rq, NULL);
}

/* A configuration as hostd would send it, small. */
static char *default_config(char **words)
{
	static const char caps[] = "[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FSETID\",\"CAP_FOWNER\",\"CAP_MKNOD\",\"CAP_NET_RAW\","
		"\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETFCAP\",\"CAP_SETPCAP\",\"CAP_NET_BIND_SERVICE\",\"CAP_SYS_CHROOT\","
		"\"CAP_KILL\",\"CAP_AUDIT_WRITE\"]";
	static const char mounts[] =
		"[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
		"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
		"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
		"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
		"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
		"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}]";
	json_t *args = json_array(), *c = json_loads(caps, 0, NULL);
	for (char **a = after_dashes(words); *a; a++)
		json_array_append_new(args, json_string(*a));
	json_t *config = json_pack("{s:s,s:{s:o,s:s,s:[s,s],s:{s:i,s:i},s:{s:O,s:O,s:o}},s:{},s:o,s:{s:{s:[{s:b,s:s}]}}}",
		"ociVersion", "1.0.2", "process", "args", args, "cwd", "/", "env",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MARK=container", "user", "uid", 0, "gid", 0,
		"capabilities", "bounding", c, "effective", c, "permitted", c, "root", "mounts", json_loads(mounts, 0, NULL),
		"linux", "resources", "devices", "allow", 0, "access", "rwm");
	if (option(words, "memory", 0))
		json_object_set_new(json_object_get(json_object_get(config, "linux"), "resources"), "memory",
				    json_pack("{s:I,s:I}", "limit", (json_int_t)number(words, "memory"), "swap",
					      (json_int_t)number(words, "memory")));
	char *text = json_dumps(config, 0);
	json_decref(config);
	return text;
}

static int parse_mount(const char *text, Bulkhead__Agent__Mount *m)
{
	static const char *const kinds[] = {"emptydir", "tmpfs", "files", "disk", "block"};
	char *save, *copy = strdup(text), *kind = strtok_r(copy, ":", &save);
	bulkhead__agent__mount__init(m);
	for (int k = 0; kind && k < 5; k++)
		if (!strcmp(kind, kinds[k])) {
			m->kind = (Bulkhead__Agent__Mount__Kind)k;
			m->source = strtok_r(NULL, ":", &save);
			m->destination = strtok_r(NULL, ":", &save);
			char *sub = strtok_r(NULL, ":", &save);
			if (sub && !strncmp(sub, "size=", 5))
				m->size_bytes = strtoull(sub + 5, NULL, 10);
			else if (sub)
				m->sub_path = sub;
			return m->source && m->destination ? 0 : 2;
		}
	return 2;
}

static int cmd_create(char **w)
{
	REQUEST(CREATE_CONTAINER);
	Bulkhead__Agent__CreateContainer c = BULKHEAD__AGENT__CREATE_CONTAINER__INIT;
	Bulkhead__Agent__Mount mounts[32], *ms[32];
	own_buf struct buf file = BUF_INIT;
	struct err e = ERR_INIT;
	const char *v;
	if (count(w) < 2)
		return 2;
	c.id = w[0], c.name = w[0];
	c.image_serial = (char *)option(w, "image", 0);
	if (option(w, "config", 0) && file_read(option(w, "config", 0), 1u << 20, &file, &e))
		return fail(&e);
	c.oci_config = file.data ? file.data : default_config(w);
	if (option(w, "user", 0))
		c.user = (char *)option(w, "user", 0);
	c.tty = number(w, "tty"), c.stdin = number(w, "stdin"), c.stdin_once = number(w, "once");
	c.writable_bytes = number(w, "limit"), c.run_as_non_root = number(w, "nonroot");
	c.fs_group = (uint32_t)number(w, "fsgroup");
	for (size_t n = 0; n < 32 && (v = option(w, "mount", (int)n)); n++) {
		if (parse_mount(v, &mounts[n]))
			return 2;
		ms[n] = &mounts[n];
		c.n_mounts = n + 1;
	}
	c.mounts = ms;
	rq.create_container = &c;
	return request(&rq, NULL);
}

static void print_status(const Bulkhead__Agent__ContainerStatus *s)
{
	static const char *const states[] = {"CREATED", "RUNNING", "EXITED"};
	printf("%s %s pid=%u exit=%d signal=%d oom=%d seq=%llu message=%s\n", s->id, states[s->state], s->pid, s->exit_code,
	       s->signal, s->oom_killed, (unsigned long long)s->last_log_seq, s->termination_message);
}

static int each_status(const char *id, int *exited)
{
	REQUEST(LIST_CONTAINERS);
	Bulkhead__Agent__Nothing n = BULKHEAD__AGENT__NOTHING__INIT;
	Bulkhead__Agent__Reply *r;
	rq.list_containers = &n;
	if (request(&rq, &r))
		return 1;
	for (size_t i = 0; i < r->containers->n_containers; i++) {
		const Bulkhead__Agent__ContainerStatus *s = r->containers->containers[i];
		if (id && (strcmp(id, s->id) || s->state != BULKHEAD__AGENT__CONTAINER_STATE__EXITED))
			continue;
		print_status(s);
		*exited = 1;
	}
	bulkhead__agent__reply__free_unpacked(r, NULL);
	return 0;
}

static int cmd_list(char **w)
{
	int any;
	(void)w;
	return each_status(NULL, &any);
}

static int cmd_wait(char **w)
{
	int exited = 0;
	for (int i = 0; i < 1000 && !exited; i++) {
		if (each_status(w[0], &exited))
			return 1;
		if (!exited)
			poll(NULL, 0, 20);
	}
	return !exited;
}

static int cmd_start(char **w)
{
	REQUEST(START_CONTAINER);
	Bulkhead__Agent__ContainerRef ref = BULKHEAD__AGENT__CONTAINER_REF__INIT;
	ref.id = w[0];
	rq.start_container = &ref;
	return request(&rq, NULL);
}

static int cmd_remove(char **w)
{
	REQUEST(REMOVE_CONTAINER);
	Bulkhead__Agent__ContainerRef ref = BULKHEAD__AGENT__CONTAINER_REF__INIT;
	ref.id = w[0];
	rq.remove_container = &ref;
	return request(&rq, NULL);
}

static int cmd_signal(char **w)
{
	REQUEST(SIGNAL_CONTAINER);
	Bulkhead__Agent__SignalContainer s = BULKHEAD__AGENT__SIGNAL_CONTAINER__INIT;
	if (count(w) < 2)
		return 2;
	s.id = w[0], s.signal = atoi(w[1]), s.all = flag(w, "all");
	rq.signal_container = &s;
	return request(&rq, NULL);
}

static int cmd_stats(char **w)
{
	REQUEST(STATS);
	Bulkhead__Agent__Nothing n = BULKHEAD__AGENT__NOTHING__INIT;
	Bulkhead__Agent__Reply *r;
	(void)w;
	rq.stats = &n;
	if (request(&rq, &r))
		return 1;
	const Bulkhead__Agent__PodStats *s = r->stats;
	printf("pod cpu_ns=%llu memory=%llu working_set=%llu pids=%llu total=%llu free=%llu scratch=%llu/%llu\n",
	       (unsigned long long)s->pod->cpu_usage_ns, (unsigned long long)s->pod->memory_usage_bytes,
	       (unsigned long long)s->pod->memory_working_set_bytes, (unsigned long long)s->pod->pids,
	       (unsigned long long)s->memory_total_bytes, (unsigned long long)s->memory_free_bytes,
	       (unsigned long long)s->scratch_used_bytes, (unsigned long long)s->scratch_capacity_bytes);
	for (size_t i = 0; i < s->n_containers; i++)
		printf("container %s cpu_ns=%llu memory=%llu pids=%llu writable=%llu\n", s->containers[i]->id,
		       (unsigned long long)s->containers[i]->cgroup->cpu_usage_ns,
		       (unsigned long long)s->containers[i]->cgroup->memory_usage_bytes,
		       (unsigned long long)s->containers[i]->cgroup->pids,
		       (unsigned long long)s->containers[i]->writable_used_bytes);
	for (size_t i = 0; i < s->n_interfaces; i++)
		printf("interface %s rx=%llu tx=%llu\n", s->interfaces[i]->name, (unsigned long long)s->interfaces[i]->rx_bytes,
		       (unsigned long long)s->interfaces[i]->tx_bytes);
	for (size_t i = 0; i < s->n_volumes; i++)
		printf("volume %s used=%llu capacity=%llu\n", s->volumes[i]->name, (unsigned long long)s->volumes[i]->used_bytes,
		       (unsigned long long)s->volumes[i]->capacity_bytes);
	bulkhead__agent__reply__free_unpacked(r, NULL);
	return 0;
}

static int cmd_shutdown(char **w)
{
	REQUEST(SHUTDOWN);
	Bulkhead__Agent__Nothing n = BULKHEAD__AGENT__NOTHING__INIT;
	struct err e = ERR_INIT;
	(void)w;
	rq.shutdown = &n;
	int rc = agent_request(client, &rq, 5000, NULL, &e);
	return rc && rc != -EPIPE ? fail(&e) : 0;
}

static int cmd_files(char **w)
{
	REQUEST(WRITE_VOLUME);
	Bulkhead__Agent__WriteVolume v = BULKHEAD__AGENT__WRITE_VOLUME__INIT;
	Bulkhead__Agent__VolumeFile files[32], *fs[32];
	v.name = w[0];
	for (char **p = w + 1; *p && v.n_files < 32; p++) {
		char *eq = strchr(*p, '=');
		if (!eq)
			return 2;
		*eq = '\0';
		Bulkhead__Agent__VolumeFile *f = &files[v.n_files];
		bulkhead__agent__volume_file__init(f);
		f->path = *p, f->mode = 0644;
		f->data = (ProtobufCBinaryData){strlen(eq + 1), (uint8_t *)eq + 1};
		fs[v.n_files++] = f;
	}
	v.files = fs;
	rq.write_volume = &v;
	return request(&rq, NULL);
}

static int cmd_disk(char **w)
{
	REQUEST(ATTACH_DISK);
	Bulkhead__Agent__AttachDisk d = BULKHEAD__AGENT__ATTACH_DISK__INIT;
	if (count(w) < 2)
		return 2;
	d.serial = w[0], d.timeout_ms = (uint32_t)atoi(w[1]);
	rq.attach_disk = &d;
	return request(&rq, NULL);
}

static int cmd_resources(char **w)
{
	REQUEST(UPDATE_RESOURCES);
	Bulkhead__Agent__UpdateResources u = BULKHEAD__AGENT__UPDATE_RESOURCES__INIT;
	if (count(w) < 2)
		return 2;
	u.id = w[0], u.linux_resources = w[1];
	rq.update_resources = &u;
	return request(&rq, NULL);
}

/* Streams. */

static void *stdin_main(void *arg)
{
	int fd = *(int *)arg;
	char data[AGENT_FRAME_MAX];
	ssize_t n;
	while ((n = read(0, data, sizeof(data))) > 0)
		if (agent_frame_send(fd, AGENT_STDIN, data, (uint32_t)n))
			return NULL;
	agent_frame_send(fd, AGENT_STDIN, NULL, 0);
	return NULL;
}

static int run_session(Bulkhead__Agent__StreamOpen *so, int with_stdin)
{
	static char data[AGENT_FRAME_MAX];
	struct err e = ERR_INIT;
	pthread_t thread;
	int fd = agent_stream_open(socket_path, so, 30000, &e), code = 255;
	if (fd < 0)
		return fail(&e);
	if (with_stdin)
		pthread_create(&thread, NULL, stdin_main, &fd);
	for (;;) {
		uint8_t channel;
		uint32_t len = sizeof(data);
		int rc = agent_frame_recv(fd, &channel, data, &len);
		if (rc) {
			if (rc != -ENODATA)
				fprintf(stderr, "stream: %s\n", strerror(-rc));
			break;
		}
		if (channel == AGENT_STDOUT || channel == AGENT_STDERR) {
			fd_write_all(channel, data, len);
		} else if (channel == AGENT_EXIT) {
			Bulkhead__Agent__ExecExit *x = bulkhead__agent__exec_exit__unpack(NULL, len, (uint8_t *)data);
			code = x ? x->exit_code : 254;
			if (x && x->timed_out)
				fprintf(stderr, "timed out\n");
		}
	}
	close(fd);
	_exit(code);   // the thread may be in read
}

static void size_option(char **w, Bulkhead__Agent__TermSize *size, Bulkhead__Agent__TermSize **out)
{
	size->cols = (uint32_t)number(w, "cols"), size->rows = (uint32_t)number(w, "rows");
	if (size->cols)
		*out = size;
}

static int cmd_exec(char **w)
{
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__ExecOpen x = BULKHEAD__AGENT__EXEC_OPEN__INIT;
	Bulkhead__Agent__TermSize size = BULKHEAD__AGENT__TERM_SIZE__INIT;
	char *env[16];
	const char *v;
	x.container_id = w[0];
	x.argv = after_dashes(w), x.n_argv = count(x.argv);
	x.tty = flag(w, "tty"), x.stdin = flag(w, "stdin"), x.stdout = 1, x.stderr = !x.tty;
	x.timeout_ms = (uint32_t)number(w, "timeout");
	for (size_t n = 0; n < 16 && (v = option(w, "env", (int)n)); n++) {
		env[n] = (char *)v;
		x.n_env = n + 1;
	}
	x.env = env;
	size_option(w, &size, &x.size);
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_EXEC;
	so.exec = &x;
	return run_session(&so, x.stdin);
}

static int cmd_attach(char **w)
{
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__AttachOpen x = BULKHEAD__AGENT__ATTACH_OPEN__INIT;
	Bulkhead__Agent__TermSize size = BULKHEAD__AGENT__TERM_SIZE__INIT;
	x.container_id = w[0];
	x.stdin = flag(w, "stdin"), x.stdout = 1, x.stderr = 1;
	size_option(w, &size, &x.size);
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_ATTACH;
	so.attach = &x;
	return run_session(&so, x.stdin);
}

static int send_ack(int fd, uint64_t seq)
{
	uint8_t frame[32];
	Bulkhead__Agent__LogAck ack = BULKHEAD__AGENT__LOG_ACK__INIT;
	ack.seq = seq;
	size_t len = bulkhead__agent__log_ack__pack(&ack, frame + 4);
	frame[0] = (uint8_t)len, frame[1] = frame[2] = frame[3] = 0;
	return send(fd, frame, len + 4, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int cmd_logs(char **w)
{
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__LogOpen x = BULKHEAD__AGENT__LOG_OPEN__INIT;
	struct err e = ERR_INIT;
	x.container_id = w[0], x.from_seq = number(w, "from");
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_LOG;
	so.log = &x;
	int fd = agent_stream_open(socket_path, &so, 30000, &e);
	if (fd < 0)
		return fail(&e);
	uint8_t head[4];
	while (!fd_read_all(fd, head, 4)) {
		uint32_t len = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
		own_free uint8_t *data = malloc(len + 1);
		if (!data || (len && fd_read_all(fd, data, len)))
			return 1;
		Bulkhead__Agent__LogRecord *r = bulkhead__agent__log_record__unpack(NULL, len, data);
		if (!r)
			return 1;
		fd_write_all(r->channel == 2 ? 2 : 1, r->data.data, r->data.len);
		if (!flag(w, "noack"))
			send_ack(fd, r->seq);
		bulkhead__agent__log_record__free_unpacked(r, NULL);
	}
	close(fd);
	return 0;
}

static void *pump_main(void *arg)
{
	int fd = *(int *)arg;
	char data[65536];
	ssize_t n;
	while ((n = read(0, data, sizeof(data))) > 0)
		if (fd_write_all(fd, data, (size_t)n))
			return NULL;
	shutdown(fd, SHUT_WR);
	return NULL;
}

static int cmd_port(char **w)
{
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__PortOpen x = BULKHEAD__AGENT__PORT_OPEN__INIT;
	struct err e = ERR_INIT;
	static char data[65536];
	pthread_t thread;
	ssize_t n;
	x.port = (uint32_t)atoi(w[0]);
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_PORT;
	so.port = &x;
	int fd = agent_stream_open(socket_path, &so, 30000, &e);
	if (fd < 0)
		return fail(&e);
	pthread_create(&thread, NULL, pump_main, &fd);
	while ((n = read(fd, data, sizeof(data))) > 0)
		fd_write_all(1, data, (size_t)n);
	_exit(0);
}

static const struct { const char *name; int (*run)(char **words); int needs_client, words; } commands[] = {
	{"configure", cmd_configure, 1, 2}, {"create", cmd_create, 1, 1}, {"start", cmd_start, 1, 1},
	{"remove", cmd_remove, 1, 1}, {"signal", cmd_signal, 1, 2}, {"wait", cmd_wait, 1, 1}, {"list", cmd_list, 1, 0},
	{"stats", cmd_stats, 1, 0}, {"shutdown", cmd_shutdown, 1, 0}, {"files", cmd_files, 1, 1}, {"disk", cmd_disk, 1, 2},
	{"resources", cmd_resources, 1, 2}, {"exec", cmd_exec, 0, 1}, {"attach", cmd_attach, 0, 1},
	{"logs", cmd_logs, 0, 1}, {"port", cmd_port, 0, 1}, {"hello", NULL, 1, 0},
};

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	Bulkhead__Agent__HelloReply *hello = NULL;
	for (size_t i = 0; argc > 2 && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(argv[2], commands[i].name) || argc - 3 < commands[i].words)
			continue;
		socket_path = argv[1];
		if (commands[i].needs_client && agent_client_open(argv[1], 30000, NULL, NULL, NULL, &client, &hello, &e))
			return fail(&e);
		int rc = 0;
		if (commands[i].run)
			rc = commands[i].run(argv + 3);
		else
			printf("version=%u agent=%s kernel=%s boot_id=%s uptime_ns=%llu configured=%d pod=%s init_ns=%llu ready_ns=%llu\n", hello->version,
			       hello->agent_version, hello->kernel, hello->boot_id, (unsigned long long)hello->uptime_ns,
			       hello->pod_configured, hello->pod_uid, (unsigned long long)hello->init_ns,
			       (unsigned long long)hello->ready_ns);
		if (hello)
			bulkhead__agent__hello_reply__free_unpacked(hello, NULL);
		agent_client_close(client);
		return rc;
	}
	fprintf(stderr, "agent_tool: see the head of tests/agent_tool.c\n");
	return 2;
}
