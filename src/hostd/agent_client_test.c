// SPDX-License-Identifier: Apache-2.0
// The client against the agent itself, which runs as an ordinary process in a folder, with tests' stand-in for crun.
// argv: the agent's program, the stand-in's.
#include "agent_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "base/usock.h"

static const char *agent_path, *crun_path;
static char dir[] = "/tmp/bh-agent-XXXXXX", vsock[64];
static pid_t agent_pid;
static struct agent_client *client;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char exited[64];   // the last container that has ended, and how
static int last_code, ended;

static void on_event(void *user, const Bulkhead__Agent__Event *ev)
{
	(void)user;
	pthread_mutex_lock(&lock);
	if (!ev) {
		ended = 1;
	} else if (ev->what_case == BULKHEAD__AGENT__EVENT__WHAT_CONTAINER_EXITED) {
		snprintf(exited, sizeof(exited), "%s", ev->container_exited->id);
		last_code = ev->container_exited->exit_code;
	}
	pthread_mutex_unlock(&lock);
}

static void start_agent(void)
{
	agent_pid = fork();
	if (!agent_pid) {
		execl(agent_path, agent_path, "--listen", dir, "--crun", crun_path, NULL);
		_exit(127);
	}
}

static void stop_agent(void)
{
	kill(agent_pid, SIGKILL);
	waitpid(agent_pid, NULL, 0);
}

static void path_in(char out[256], const char *name) { snprintf(out, 256, "%s/%s", dir, name); }

static int open_client(void)
{
	struct err e = ERR_INIT;
	int rc = agent_client_open(vsock, 10000, NULL, on_event, NULL, &client, NULL, &e);
	if (rc)
		fprintf(stderr, "%s\n", e.text);
	return rc;
}

static int set_up(void **state)
{
	char path[256];
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(vsock, sizeof(vsock), "%s/vsock.sock", dir);
	path_in(path, "disks/image/etc");
	dir_make(path, 0755, NULL);
	path_in(path, "disks/image/etc/passwd");
	file_write_atomic(path, "web:x:1:2::/:\n", 14, 0644, NULL);
	start_agent();
	return open_client();
}

static int tear_down(void **state)
{
	(void)state;
	agent_client_close(client);
	stop_agent();
	return dir_remove(dir, NULL);
}

/* Requests. */

#define NEW(name) Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT; rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_##name

static int configure(const char *uid, struct err *e)
{
	NEW(CONFIGURE_POD);
	static uint8_t entropy[32];
	Bulkhead__Agent__ConfigurePod c = BULKHEAD__AGENT__CONFIGURE_POD__INIT;
	c.pod_uid = (char *)uid, c.hostname = "pod-0";
	c.entropy = (ProtobufCBinaryData){sizeof(entropy), entropy};
	rq.configure_pod = &c;
	return agent_request(client, &rq, 5000, NULL, e);
}

struct options { const char *command, *user; int tty, stdin, once; };

static int create(const char *id, const struct options *o, struct err *e)
{
	NEW(CREATE_CONTAINER);
	char config[1024];
	Bulkhead__Agent__CreateContainer c = BULKHEAD__AGENT__CREATE_CONTAINER__INIT;
	snprintf(config, sizeof(config), "{\"process\":{\"args\":[\"sh\",\"-c\",\"%s\"],\"cwd\":\"/\",\"env\":[\"PATH=/usr/bin:/bin\"]}}",
		 o->command);
	c.id = (char *)id, c.name = (char *)id, c.image_serial = "image", c.oci_config = config;
	c.user = (char *)(o->user ? o->user : "");
	c.tty = o->tty, c.stdin = o->stdin, c.stdin_once = o->once;
	rq.create_container = &c;
	return agent_request(client, &rq, 5000, NULL, e);
}

static int with_ref(const char *id, int what, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__ContainerRef ref = BULKHEAD__AGENT__CONTAINER_REF__INIT;
	ref.id = (char *)id;
	rq.what_case = (Bulkhead__Agent__Request__WhatCase)what;
	rq.start_container = &ref;   // the same place as remove_container
	return agent_request(client, &rq, 10000, NULL, e);
}

static int start(const char *id, struct err *e) { return with_ref(id, BULKHEAD__AGENT__REQUEST__WHAT_START_CONTAINER, e); }
static int drop(const char *id) { return with_ref(id, BULKHEAD__AGENT__REQUEST__WHAT_REMOVE_CONTAINER, NULL); }

static void run(const char *id, const struct options *o)
{
	struct err e = ERR_INIT;
	assert_int_equal(create(id, o, &e), 0);
	assert_int_equal(start(id, &e), 0);
}

static bool has_exited(const char *id, int *code)
{
	pthread_mutex_lock(&lock);
	bool yes = !strcmp(exited, id);
	*code = last_code;
	pthread_mutex_unlock(&lock);
	return yes;
}

static int wait_exit(const char *id)
{
	int code;
	for (int i = 0; i < 1000; i++) {
		if (has_exited(id, &code))
			return code;
		poll(NULL, 0, 10);
	}
	fail_msg("the container did not end");
	return -1;
}

/* Streams. */

static int log_open(const char *id, uint64_t from)
{
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__LogOpen l = BULKHEAD__AGENT__LOG_OPEN__INIT;
	l.container_id = (char *)id, l.from_seq = from;
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_LOG;
	so.log = &l;
	return agent_stream_open(vsock, &so, 5000, NULL);
}

/* Reads records until `end` or the stream's; out: text, seq: last one. False: no end was seen. */
static bool log_read(int fd, struct buf *out, uint64_t *seq)
{
	uint8_t head[4];
	bool end = false;
	while (!end && !fd_read_all(fd, head, 4)) {
		uint32_t len = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16;
		own_free uint8_t *data = malloc(len + 1);
		assert_int_equal(fd_read_all(fd, data, len), 0);
		Bulkhead__Agent__LogRecord *r = bulkhead__agent__log_record__unpack(NULL, len, data);
		assert_non_null(r);
		assert_int_equal(r->seq, *seq + 1);
		*seq = r->seq;
		buf_append(out, r->data.data, r->data.len);
		end = r->end;
		bulkhead__agent__log_record__free_unpacked(r, NULL);
	}
	return end;
}

static void log_ack(int fd, uint64_t seq)
{
	uint8_t frame[32] = {0};
	Bulkhead__Agent__LogAck ack = BULKHEAD__AGENT__LOG_ACK__INIT;
	ack.seq = seq;
	size_t len = bulkhead__agent__log_ack__pack(&ack, frame + 4);
	frame[0] = (uint8_t)len;
	assert_int_equal(fd_write_all(fd, frame, len + 4), 0);
}

static int exec_open(const char *id, const char *command, int tty, int with_stdin, uint32_t timeout_ms, struct err *e)
{
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__ExecOpen x = BULKHEAD__AGENT__EXEC_OPEN__INIT;
	Bulkhead__Agent__TermSize size = BULKHEAD__AGENT__TERM_SIZE__INIT;
	char *argv[] = {"sh", "-c", (char *)command};
	x.container_id = (char *)id;
	x.argv = argv, x.n_argv = 3;
	if (!strchr(command, ' '))
		x.argv = argv + 2, x.n_argv = 1;
	x.tty = tty, x.stdin = with_stdin, x.stdout = 1, x.stderr = !tty, x.timeout_ms = timeout_ms;
	size.cols = 91, size.rows = 19;
	x.size = tty ? &size : NULL;
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_EXEC;
	so.exec = &x;
	return agent_stream_open(vsock, &so, 5000, e);
}

/* Everything until the end; returns the exit frame's code, -1 without one. */
static int session_read(int fd, struct buf *out)
{
	static char data[AGENT_FRAME_MAX];
	int code = -1, rc;
	for (;;) {
		uint8_t channel;
		uint32_t len = sizeof(data);
		rc = agent_frame_recv(fd, &channel, data, &len);
		if (rc)
			break;
		assert_int_equal(code, -1);   // nothing after the exit frame
		if (channel == AGENT_EXIT) {
			Bulkhead__Agent__ExecExit *x = bulkhead__agent__exec_exit__unpack(NULL, len, (uint8_t *)data);
			code = x->timed_out ? 1000 : x->exit_code;
			bulkhead__agent__exec_exit__free_unpacked(x, NULL);
		} else {
			buf_append(out, data, len);
		}
	}
	assert_int_equal(rc, -ENODATA);
	close(fd);
	return code;
}

/* Tests. Each leaves no container. */

static void test_pod(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(create("early", &(struct options){.command = "true"}, &e), -EAGAIN);
	assert_int_equal(configure("uid-1", &e), 0);
	assert_int_equal(configure("uid-1", &e), 0);
	assert_int_equal(configure("uid-2", &e), -EBUSY);
	assert_string_equal(e.text, "this VM belongs to pod uid-1");
}

static void test_output_and_exit(void **state)
{
	(void)state;
	own_buf struct buf out = BUF_INIT;
	uint64_t seq = 0;
	run("one", &(struct options){.command = "echo out; exit 3"});
	assert_int_equal(wait_exit("one"), 3);
	own_fd int fd = log_open("one", 0);
	assert_true(log_read(fd, &out, &seq));
	assert_string_equal(out.data, "out\n");
	assert_int_equal(drop("one"), 0);
	assert_int_equal(drop("one"), 0);
}

static void test_names(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct options o = {.command = "true"};
	assert_int_equal(create("Bad", &o, &e), -EINVAL);
	assert_int_equal(create("", &o, &e), -EINVAL);
	assert_int_equal(create("../x", &o, &e), -EINVAL);
	assert_int_equal(create("twice", &o, &e), 0);
	assert_int_equal(create("twice", &o, &e), -EEXIST);
	assert_int_equal(create("user", &(struct options){.command = "true", .user = "none"}, &e), -ENOENT);
	assert_int_equal(start("none", &e), -ENOENT);
	assert_int_equal(drop("twice"), 0);
}

/* More than the ring holds: the rest waits in the pipe and in the writer until there are acknowledgements. */
static void test_back_pressure(void **state)
{
	(void)state;
	own_buf struct buf out = BUF_INIT;
	uint64_t seq = 0;
	run("big", &(struct options){.command = "seq 400000; echo end"});   // 2.7 MB
	poll(NULL, 0, 300);
	int code;
	assert_false(has_exited("big", &code));
	int fd = log_open("big", 0);
	uint8_t head[4];
	while (!fd_read_all(fd, head, 4)) {
		uint32_t len = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16;
		own_free uint8_t *data = malloc(len + 1);
		assert_int_equal(fd_read_all(fd, data, len), 0);
		Bulkhead__Agent__LogRecord *r = bulkhead__agent__log_record__unpack(NULL, len, data);
		assert_int_equal(r->seq, ++seq);
		buf_append(&out, r->data.data, r->data.len);
		bulkhead__agent__log_record__free_unpacked(r, NULL);
		log_ack(fd, seq);
	}
	close(fd);
	assert_int_equal(wait_exit("big"), 0);
	assert_int_equal(out.len, 2688895 + 4);
	assert_string_equal(out.data + out.len - 11, "400000\nend\n");
	assert_int_equal(drop("big"), 0);
}

static void test_log_survives_its_reader(void **state)
{
	(void)state;
	own_buf struct buf out = BUF_INIT;
	uint64_t seq = 0;
	run("kept", &(struct options){.command = "echo a; sleep 0.1; echo b; sleep 0.1; echo c"});
	int fd = log_open("kept", 0);
	uint8_t head[4];
	assert_int_equal(fd_read_all(fd, head, 4), 0);   // in the middle of a record
	close(fd);
	assert_int_equal(wait_exit("kept"), 0);
	fd = log_open("kept", 0);
	assert_true(log_read(fd, &out, &seq));
	assert_string_equal(out.data, "a\nb\nc\n");
	log_ack(fd, seq - 2);
	shutdown(fd, SHUT_WR);
	assert_int_equal(read(fd, head, 1), 0);
	close(fd);
	fd = log_open("kept", 0);
	seq -= 2;
	buf_fini(&out);
	assert_true(log_read(fd, &out, &seq));
	close(fd);
	assert_int_equal(drop("kept"), 0);
}

static void test_exec(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	own_buf struct buf out = BUF_INIT;
	run("x", &(struct options){.command = "exec sleep 1000"});
	assert_int_equal(session_read(exec_open("x", "echo hi; exit 7", 0, 0, 0, &e), &out), 7);
	assert_string_equal(out.data, "hi\n");
	assert_int_equal(exec_open("x", "no-such-command", 0, 0, 0, &e), -ENOENT);
	assert_string_equal(e.text, "exec failed: unable to start container process: exec: \"no-such-command\": "
				    "executable file not found in $PATH");
	assert_int_equal(exec_open("x", "/dev/null", 0, 0, 0, &e), -EACCES);
	assert_int_equal(exec_open("nobody", "true", 0, 0, 0, &e), -ENOENT);
	assert_int_equal(session_read(exec_open("x", "sleep 1000 #", 0, 0, 50, &e), &out), 1000);
	buf_fini(&out);
	assert_int_equal(session_read(exec_open("x", "sleep 1000 & echo left", 0, 0, 0, &e), &out), 0);
	assert_string_equal(out.data, "left\n");
	assert_int_equal(drop("x"), 0);
}

static void test_exec_terminal(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	own_buf struct buf out = BUF_INIT;
	run("t", &(struct options){.command = "exec sleep 1000"});
	assert_int_equal(session_read(exec_open("t", "sleep 0.05; stty size; tty >/dev/null && exit 5", 1, 1, 0, &e), &out), 5);
	assert_string_equal(out.data, "19 91\r\n");
	assert_int_equal(drop("t"), 0);
}

static void *feed(void *arg)
{
	int fd = *(int *)arg;
	static char block[60000];
	memset(block, 'z', sizeof(block));
	for (int i = 0; i < 50; i++)
		if (agent_frame_send(fd, AGENT_STDIN, block, sizeof(block)))
			return NULL;
	agent_frame_send(fd, AGENT_STDIN, NULL, 0);
	return NULL;
}

static void test_exec_stdin_both_ways(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	own_buf struct buf out = BUF_INIT;
	pthread_t t;
	run("io", &(struct options){.command = "exec sleep 1000"});
	int fd = exec_open("io", "cat; exit 9", 0, 1, 0, &e);
	pthread_create(&t, NULL, feed, &fd);
	assert_int_equal(session_read(fd, &out), 9);
	pthread_join(t, NULL);
	assert_int_equal(out.len, 3000000);
	assert_int_equal(drop("io"), 0);
}

static void test_attach_before_start(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	own_buf struct buf out = BUF_INIT;
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__AttachOpen x = BULKHEAD__AGENT__ATTACH_OPEN__INIT;
	assert_int_equal(create("att", &(struct options){.command = "while read l; do echo got $l; done; exit 4", .stdin = 1, .once = 1}, &e), 0);
	x.container_id = "att", x.stdin = 1, x.stdout = 1, x.stderr = 1;
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_ATTACH;
	so.attach = &x;
	int fd = agent_stream_open(vsock, &so, 5000, &e);
	assert_int_equal(agent_frame_send(fd, AGENT_STDIN, "a\nb\n", 4), 0);
	assert_int_equal(agent_frame_send(fd, AGENT_STDIN, NULL, 0), 0);
	assert_int_equal(start("att", &e), 0);
	assert_int_equal(session_read(fd, &out), 4);
	assert_string_equal(out.data, "got a\ngot b\n");
	assert_int_equal(wait_exit("att"), 4);
	assert_int_equal(agent_stream_open(vsock, &so, 5000, &e), -EINVAL);
	assert_string_equal(e.text, "container 'att' is not running");
	assert_int_equal(drop("att"), 0);
}

static void test_start_fails(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	NEW(CREATE_CONTAINER);
	own_buf struct buf out = BUF_INIT;
	uint64_t seq = 0;
	Bulkhead__Agent__CreateContainer c = BULKHEAD__AGENT__CREATE_CONTAINER__INIT;
	c.id = c.name = "bad", c.image_serial = "image";
	c.oci_config = "{\"process\":{\"args\":[\"no-such\"],\"cwd\":\"/\",\"env\":[\"PATH=/bin\"]}}";
	rq.create_container = &c;
	assert_int_equal(agent_request(client, &rq, 5000, NULL, &e), 0);
	assert_int_equal(start("bad", &e), -ENOENT);
	assert_string_equal(e.text, "unable to start container process: exec: \"no-such\": executable file not found in $PATH");
	own_fd int fd = log_open("bad", 0);
	assert_true(log_read(fd, &out, &seq));   // at once, and empty
	assert_int_equal(out.len, 0);
	assert_int_equal(drop("bad"), 0);
	c.run_as_non_root = 1;
	assert_int_equal(agent_request(client, &rq, 5000, NULL, &e), -EKEYREJECTED);   // a code of its own: no system call gives it
	assert_string_equal(e.text, "container has runAsNonRoot and image will run as root");
	c.run_as_non_root = 0;
	c.image_serial = "absent";
	assert_int_equal(agent_request(client, &rq, 5000, NULL, &e), -ENODEV);
	assert_string_equal(e.text, "no disk has the serial number 'absent'");
}

static void test_port(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__PortOpen p = BULKHEAD__AGENT__PORT_OPEN__INIT;
	own_fd int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned char loopback[8] = {AF_INET, 0, 0, 0, 127, 0, 0, 1};
	memcpy(&sa, loopback, sizeof(loopback));
	assert_int_equal(bind(server, (struct sockaddr *)&sa, 16), 0);
	assert_int_equal(listen(server, 5), 0);
	getsockname(server, (struct sockaddr *)&sa, &len);
	p.port = (uint32_t)((unsigned char *)&sa)[2] << 8 | ((unsigned char *)&sa)[3];
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_PORT;
	so.port = &p;
	own_fd int fd = agent_stream_open(vsock, &so, 5000, &e);
	own_fd int peer = accept(server, NULL, NULL);
	char text[16] = {0};
	assert_int_equal(write(fd, "ping", 4), 4);
	shutdown(fd, SHUT_WR);
	assert_int_equal(fd_read_all(peer, text, 4), 0);
	assert_int_equal(read(peer, text, 1), 0);
	assert_int_equal(write(peer, "pong", 4), 4);
	close(take_fd(peer));
	assert_int_equal(fd_read_all(fd, text, 4), 0);
	assert_string_equal(text, "pong");
	assert_int_equal(read(fd, text, 1), 0);
	close(take_fd(server));
	assert_int_equal(agent_stream_open(vsock, &so, 5000, &e), -ECONNREFUSED);
	p.port = 70000;
	assert_int_equal(agent_stream_open(vsock, &so, 5000, &e), -EINVAL);
}

/* Bytes that no client sends: that connection ends, the agent goes on. */
static void test_garbage(void **state)
{
	(void)state;
	static const struct { unsigned port; const char *bytes; size_t len; } cases[] = {
		{1024, "\xff\xff\xff\xff", 4},            // a frame of 4 GiB
		{1024, "\x02\x00\x00\x00\xff\xff", 6},    // no message
		{1024, "\x00\x00\x00\x00", 4},            // a request without id
		{1025, "\xff\xff\xff\x7f", 4},
		{1025, "\x01\x00\x00\x00\xff", 5},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char line[32], c;
		own_fd int fd = usock_connect(vsock, SOCK_STREAM, NULL);
		int n = snprintf(line, sizeof(line), "CONNECT %u\n", cases[i].port);
		assert_int_equal(write(fd, line, (size_t)n), n);
		do
			assert_int_equal(read(fd, &c, 1), 1);
		while (c != '\n');
		assert_int_equal(write(fd, cases[i].bytes, cases[i].len), cases[i].len);
		assert_int_equal(read(fd, &c, 1), 0);
	}
	struct err e = ERR_INIT;
	assert_int_equal(configure("uid-1", &e), 0);
}

static void test_unknown_request(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	assert_int_equal(agent_request(client, &rq, 5000, NULL, &e), -ENOSYS);
}

static void *ask_often(void *arg)
{
	NEW(LIST_CONTAINERS);
	Bulkhead__Agent__Nothing n = BULKHEAD__AGENT__NOTHING__INIT;
	rq.list_containers = &n;
	for (int i = 0; i < 200; i++) {
		Bulkhead__Agent__Reply *r = NULL;
		if (agent_request(client, &rq, 5000, &r, NULL) || r->what_case != BULKHEAD__AGENT__REPLY__WHAT_CONTAINERS)
			(*(int *)arg)++;
		if (r)
			bulkhead__agent__reply__free_unpacked(r, NULL);
	}
	return NULL;
}

static void test_many_threads(void **state)
{
	(void)state;
	pthread_t t[8];
	int failures[8] = {0};
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, ask_often, &failures[i]);
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(failures[i], 0);
	}
}

static void test_open_gives_up(void **state)
{
	(void)state;
	struct agent_client *c;
	struct err e = ERR_INIT;
	volatile int cancel = 1;
	assert_int_equal(agent_client_open("/nonexistent/sock", 30, NULL, NULL, NULL, &c, NULL, &e), -ETIMEDOUT);
	assert_int_equal(agent_client_open("/nonexistent/sock", 10000, &cancel, NULL, NULL, &c, NULL, &e), -ECANCELED);
}

/* After all that: an orderly end, without leaks where a sanitizer looks for them. */
static void test_shutdown(void **state)
{
	(void)state;
	NEW(SHUTDOWN);
	struct err e = ERR_INIT;
	Bulkhead__Agent__Nothing n = BULKHEAD__AGENT__NOTHING__INIT;
	int status = -1;
	rq.shutdown = &n;
	run("left", &(struct options){.command = "exec sleep 3"});   // nobody ends it
	int fd = exec_open("left", "exec sleep 3", 0, 1, 0, &e);
	int log = log_open("left", 0);
	agent_request(client, &rq, 5000, NULL, &e);
	assert_int_equal(waitpid(agent_pid, &status, 0), agent_pid);
	assert_int_equal(status, 0);
	close(fd);
	close(log);
	agent_client_close(client);
	client = NULL;
	ended = 0;
	start_agent();
	assert_int_equal(open_client(), 0);
}

/* Last: the agent dies; who waits is told at once. */
static void test_agent_dies(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	uint64_t began = clock_mono_ns();
	stop_agent();
	assert_int_equal(configure("uid-1", &e), -EPIPE);
	for (int i = 0; i < 100 && !ended; i++)
		poll(NULL, 0, 10);
	assert_int_equal(ended, 1);
	assert_true(clock_mono_ns() - began < 3 * NS_PER_S);
	agent_client_close(client);
	client = NULL;
	start_agent();
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	agent_path = argv[1], crun_path = argv[2];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pod), cmocka_unit_test(test_output_and_exit), cmocka_unit_test(test_names),
		cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_log_survives_its_reader), cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_terminal), cmocka_unit_test(test_exec_stdin_both_ways),
		cmocka_unit_test(test_attach_before_start), cmocka_unit_test(test_start_fails), cmocka_unit_test(test_port),
		cmocka_unit_test(test_garbage), cmocka_unit_test(test_unknown_request), cmocka_unit_test(test_many_threads),
		cmocka_unit_test(test_open_gives_up), cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_agent_dies)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
