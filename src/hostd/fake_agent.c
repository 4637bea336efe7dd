// SPDX-License-Identifier: Apache-2.0
// An agent for tests; see fake_agent.h. One thread per stream; errors end the stream.
#include "fake_agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.pb-c.h"
#include "agent_client.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "base/usock.h"

struct record { uint32_t channel; char *data; size_t len; uint64_t real_ns; bool end; };

struct fake_agent {
	int listen_fd;
	pthread_t acceptor;
	pthread_mutex_t lock;
	pthread_cond_t changed;      // records, generation, threads
	struct record *records;      // record i has seq i + 1
	size_t count;
	uint64_t acked;
	unsigned generation;         // log streams of an older one end
	unsigned threads;
	bool stopping;
};

struct conn { struct fake_agent *a; int fd; };

/* Messages: u32 little-endian length, then the message. */

static int send_message(int fd, const void *data, uint32_t len)
{
	uint8_t head[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24)};
	return fd_write_all(fd, head, 4) || fd_write_all(fd, data, len) ? -EPIPE : 0;
}

static int recv_message(int fd, struct buf *out)
{
	uint8_t head[4];
	if (fd_read_all(fd, head, 4))
		return -EPIPE;
	uint32_t len = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
	out->len = 0;
	if (len > 4u << 20 || buf_reserve(out, len) || (len && fd_read_all(fd, out->data, len)))
		return -EPIPE;
	out->len = len;
	return 0;
}

static int send_ready(int fd, int code, const char *text)
{
	Bulkhead__Agent__StreamReady ready = BULKHEAD__AGENT__STREAM_READY__INIT;
	uint8_t raw[512];
	ready.error_code = code;
	ready.error = (char *)text;
	return send_message(fd, raw, (uint32_t)bulkhead__agent__stream_ready__pack(&ready, raw));
}

/* exec. */

static bool command_exists(const char *name)
{
	if (strchr(name, '/'))
		return access(name, X_OK) == 0;
	own_free char *path = strdup(getenv("PATH"));
	for (char *save, *dir = strtok_r(path, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		char full[4096];
		snprintf(full, sizeof(full), "%s/%s", dir, name);
		if (access(full, X_OK) == 0)
			return true;
	}
	return false;
}

struct child { pid_t pid; int in, out, err; };   // -1: none; a terminal: in and out are its master

static void become(const Bulkhead__Agent__ExecOpen *x)
{
	own_free char **argv = calloc(x->n_argv + 1, sizeof(char *));
	for (size_t i = 0; i < x->n_argv; i++)
		argv[i] = x->argv[i];
	for (size_t i = 0; i < x->n_env; i++)
		putenv(x->env[i]);
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], argv);
	_exit(127);
}

static int start_child(const Bulkhead__Agent__ExecOpen *x, struct child *c)
{
	if (x->tty) {
		int master;
		c->pid = forkpty(&master, NULL, NULL, NULL);
		if (c->pid == 0)
			become(x);
		fcntl(master, F_SETFD, FD_CLOEXEC);
		c->in = master;
		c->out = dup(master);
		c->err = -1;
		return c->pid < 0 ? -errno : 0;
	}
	int p[3][2];
	for (int i = 0; i < 3; i++)
		if (pipe2(p[i], O_CLOEXEC))
			return -errno;
	c->pid = fork();
	if (c->pid == 0) {
		dup2(x->stdin ? p[0][0] : open("/dev/null", O_RDONLY), 0);
		dup2(p[1][1], 1);
		dup2(p[2][1], 2);
		become(x);
	}
	close(p[0][0]);
	close(p[1][1]);
	close(p[2][1]);
	c->in = p[0][1];
	c->out = p[1][0];
	c->err = p[2][0];
	return c->pid < 0 ? -errno : 0;
}

/* Give bytes to a child that may never take them; hostd closing its stream ends the wait. */
static int feed(int fd, int to, const uint8_t *data, size_t len)
{
	while (len) {
		struct pollfd fds[] = {{to, POLLOUT, 0}, {fd, POLLRDHUP, 0}};
		poll(fds, 2, -1);
		if (fds[1].revents & (POLLRDHUP | POLLHUP))
			return -EPIPE;
		ssize_t n = write(to, data, len < PIPE_BUF ? len : PIPE_BUF);
		if (n < 0)
			return 0;   // the child has closed its stdin
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A frame of hostd. Returns 0, or -errno at the end. */
static int from_hostd(int fd, struct child *c, uint8_t *data)
{
	uint8_t channel;
	uint32_t len = AGENT_FRAME_MAX;
	if (agent_frame_recv(fd, &channel, data, &len))
		return -EPIPE;
	if (channel == AGENT_STDIN && !len && c->in >= 0) {
		close(c->in);
		c->in = -1;
	} else if (channel == AGENT_STDIN && c->in >= 0) {
		return feed(fd, c->in, data, len);
	} else if (channel == AGENT_RESIZE) {
		Bulkhead__Agent__TermSize *size = bulkhead__agent__term_size__unpack(NULL, len, data);
		if (size) {
			struct winsize w = {.ws_col = (unsigned short)size->cols, .ws_row = (unsigned short)size->rows};
			ioctl(c->out, TIOCSWINSZ, &w);
			bulkhead__agent__term_size__free_unpacked(size, NULL);
		}
	}
	return 0;
}

static void to_hostd(int fd, int *from, uint8_t channel, uint8_t *data)
{
	ssize_t n = read(*from, data, AGENT_FRAME_MAX);
	if (n > 0 && agent_frame_send(fd, channel, data, (uint32_t)n) == 0)
		return;
	agent_frame_send(fd, channel, NULL, 0);
	close(*from);
	*from = -1;
}

static void serve_exec(int fd, const Bulkhead__Agent__ExecOpen *x)
{
	struct child c;
	own_free uint8_t *data = malloc(AGENT_FRAME_MAX);
	if (!command_exists(x->argv[0])) {
		send_ready(fd, ENOENT, "no such command");
		return;
	}
	if (start_child(x, &c) || send_ready(fd, 0, ""))
		return;
	while (c.out >= 0 || c.err >= 0) {
		struct pollfd fds[] = {{fd, POLLIN, 0}, {c.out, POLLIN, 0}, {c.err, POLLIN, 0}};
		poll(fds, 3, -1);
		if (fds[1].revents)
			to_hostd(fd, &c.out, AGENT_STDOUT, data);
		if (fds[2].revents)
			to_hostd(fd, &c.err, AGENT_STDERR, data);
		if (fds[0].revents && from_hostd(fd, &c, data)) {
			kill(c.pid, SIGKILL);
			break;
		}
	}
	int status;
	waitpid(c.pid, &status, 0);
	Bulkhead__Agent__ExecExit exit = BULKHEAD__AGENT__EXEC_EXIT__INIT;
	exit.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	exit.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	agent_frame_send(fd, AGENT_EXIT, data, (uint32_t)bulkhead__agent__exec_exit__pack(&exit, data));
	for (int i = 0; i < 3; i++) {
		int *end = i == 0 ? &c.in : i == 1 ? &c.out : &c.err;
		if (*end >= 0)
			close(*end);
	}
}

/* attach: says hello, gives back what it gets, ends with stdin. */
static void serve_attach(int fd)
{
	own_free uint8_t *data = malloc(AGENT_FRAME_MAX);
	Bulkhead__Agent__ExecExit exit = BULKHEAD__AGENT__EXEC_EXIT__INIT;
	uint8_t channel;
	uint32_t len;
	if (send_ready(fd, 0, "") || agent_frame_send(fd, AGENT_STDOUT, "hello\n", 6))
		return;
	for (;;) {
		len = AGENT_FRAME_MAX;
		if (agent_frame_recv(fd, &channel, data, &len))
			return;
		if (channel == AGENT_STDIN && !len)
			break;
		if (channel == AGENT_STDIN && agent_frame_send(fd, AGENT_STDOUT, data, len))
			return;
	}
	exit.exit_code = 3;
	agent_frame_send(fd, AGENT_EXIT, data, (uint32_t)bulkhead__agent__exec_exit__pack(&exit, data));
}

/* port. */

static void copy_way(int from, int to, bool *open, char *data, size_t room)
{
	ssize_t n = read(from, data, room);
	if (n > 0 && fd_write_all(to, data, (size_t)n) == 0)
		return;
	shutdown(to, SHUT_WR);
	*open = false;
}

static void serve_port(int fd, uint32_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	own_fd int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(s, (struct sockaddr *)&to, sizeof(to))) {
		send_ready(fd, errno, strerror(errno));
		return;
	}
	if (send_ready(fd, 0, ""))
		return;
	bool open[2] = {true, true};
	char data[16384];
	while (open[0] || open[1]) {
		struct pollfd fds[] = {{open[0] ? fd : -1, POLLIN, 0}, {open[1] ? s : -1, POLLIN, 0}};
		poll(fds, 2, -1);
		if (fds[0].revents)
			copy_way(fd, s, &open[0], data, sizeof(data));
		if (fds[1].revents)
			copy_way(s, fd, &open[1], data, sizeof(data));
	}
}

/* log. */

static bool log_wait(struct fake_agent *a, uint64_t next, unsigned generation)   // with the lock held
{
	while (!a->stopping && a->generation == generation && next > a->count)
		pthread_cond_wait(&a->changed, &a->lock);
	return !a->stopping && a->generation == generation;
}

static void *ack_reader(void *user)
{
	struct conn *c = user;
	own_buf struct buf raw = BUF_INIT;
	while (!recv_message(c->fd, &raw)) {
		Bulkhead__Agent__LogAck *ack = bulkhead__agent__log_ack__unpack(NULL, raw.len, (uint8_t *)raw.data);
		if (!ack)
			break;
		pthread_mutex_lock(&c->a->lock);
		if (ack->seq > c->a->acked)
			c->a->acked = ack->seq;
		pthread_mutex_unlock(&c->a->lock);
		bulkhead__agent__log_ack__free_unpacked(ack, NULL);
	}
	return NULL;
}

static void serve_log(struct conn *c, uint64_t from_seq)
{
	struct fake_agent *a = c->a;
	pthread_t acks;
	if (send_ready(c->fd, 0, "") || pthread_create(&acks, NULL, ack_reader, c))
		return;
	pthread_mutex_lock(&a->lock);
	unsigned generation = a->generation;
	uint64_t next = (from_seq > a->acked ? from_seq : a->acked) + 1;
	while (log_wait(a, next, generation)) {
		struct record r = a->records[next - 1];
		pthread_mutex_unlock(&a->lock);
		Bulkhead__Agent__LogRecord msg = BULKHEAD__AGENT__LOG_RECORD__INIT;
		own_free uint8_t *raw = malloc(r.len + 64);
		msg.seq = next++;
		msg.real_ns = r.real_ns;
		msg.channel = r.channel;
		msg.data.data = (uint8_t *)r.data;
		msg.data.len = r.len;
		msg.end = r.end;
		int rc = send_message(c->fd, raw, (uint32_t)bulkhead__agent__log_record__pack(&msg, raw));
		pthread_mutex_lock(&a->lock);
		if (rc || r.end)
			break;
	}
	pthread_mutex_unlock(&a->lock);
	shutdown(c->fd, SHUT_WR);
	struct pollfd closed = {c->fd, POLLRDHUP, 0};   // leaves hostd a moment for its last ack
	poll(&closed, 1, 500);
	shutdown(c->fd, SHUT_RDWR);
	pthread_join(acks, NULL);
}

void fake_agent_log(struct fake_agent *a, uint32_t channel, const void *data, size_t len, bool end)
{
	pthread_mutex_lock(&a->lock);
	a->records = realloc(a->records, (a->count + 1) * sizeof(*a->records));
	struct record *r = &a->records[a->count++];
	*r = (struct record){.channel = channel, .data = malloc(len + 1), .len = len, .real_ns = clock_real_ns(), .end = end};
	if (len)
		memcpy(r->data, data, len);
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

uint64_t fake_agent_acked(struct fake_agent *a)
{
	pthread_mutex_lock(&a->lock);
	uint64_t n = a->acked;
	pthread_mutex_unlock(&a->lock);
	return n;
}

void fake_agent_drop_streams(struct fake_agent *a)
{
	pthread_mutex_lock(&a->lock);
	a->generation++;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

/* Connections. */

static int handshake(int fd)
{
	char line[32];
	size_t n = 0;
	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	return strcmp(line, "CONNECT 1025") ? -EPROTO : fd_write_all(fd, "OK 1073741824\n", 14);
}

static void *serve(void *user)
{
	struct conn *c = user;
	own_buf struct buf raw = BUF_INIT;
	Bulkhead__Agent__StreamOpen *open = NULL;
	if (!handshake(c->fd) && !recv_message(c->fd, &raw))
		open = bulkhead__agent__stream_open__unpack(NULL, raw.len, (uint8_t *)raw.data);
	if (open && open->what_case == BULKHEAD__AGENT__STREAM_OPEN__WHAT_EXEC)
		serve_exec(c->fd, open->exec);
	else if (open && open->what_case == BULKHEAD__AGENT__STREAM_OPEN__WHAT_ATTACH)
		serve_attach(c->fd);
	else if (open && open->what_case == BULKHEAD__AGENT__STREAM_OPEN__WHAT_PORT)
		serve_port(c->fd, open->port->port);
	else if (open && open->what_case == BULKHEAD__AGENT__STREAM_OPEN__WHAT_LOG)
		serve_log(c, open->log->from_seq);
	if (open)
		bulkhead__agent__stream_open__free_unpacked(open, NULL);
	close(c->fd);
	pthread_mutex_lock(&c->a->lock);
	c->a->threads--;
	pthread_cond_broadcast(&c->a->changed);
	pthread_mutex_unlock(&c->a->lock);
	free(c);
	return NULL;
}

static void *accept_all(void *user)
{
	struct fake_agent *a = user;
	for (int fd; (fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
		struct conn *c = malloc(sizeof(*c));
		pthread_t t;
		*c = (struct conn){a, fd};
		pthread_mutex_lock(&a->lock);
		a->threads++;
		pthread_mutex_unlock(&a->lock);
		if (pthread_create(&t, NULL, serve, c))
			abort();
		pthread_detach(t);
	}
	return NULL;
}

struct fake_agent *fake_agent_start(const char *path)
{
	struct fake_agent *a = calloc(1, sizeof(*a));
	signal(SIGPIPE, SIG_IGN);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	a->listen_fd = usock_listen(path, SOCK_STREAM, 0600, NULL);
	if (a->listen_fd < 0 || pthread_create(&a->acceptor, NULL, accept_all, a)) {
		free(a);
		return NULL;
	}
	return a;
}

void fake_agent_stop(struct fake_agent *a)
{
	shutdown(a->listen_fd, SHUT_RDWR);
	pthread_join(a->acceptor, NULL);
	close(a->listen_fd);
	pthread_mutex_lock(&a->lock);
	a->stopping = true;
	pthread_cond_broadcast(&a->changed);
	while (a->threads)
		pthread_cond_wait(&a->changed, &a->lock);
	pthread_mutex_unlock(&a->lock);
	for (size_t i = 0; i < a->count; i++)
		free(a->records[i].data);
	free(a->records);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->changed);
	free(a);
}
