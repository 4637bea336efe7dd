// SPDX-License-Identifier: Apache-2.0
// exec and attach; see streaming_exec.h. One thread, one poll loop, nothing that waits on one side only: when the client
// does not read, the agent is not read; when the command does not read its stdin, the client is not read.
#include "streaming_exec.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_client.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "bulkhead/prda.h"
#include "spdy.h"
#include "streaming_session.h"
#include "streaming_status.h"
#include "websocket_channels.h"

#define STREAMS_WAIT_MS 30000        // for the client to open its streams; a kubelet waits as long
#define TO_AGENT_MAX (256u << 10)    // bytes waiting for the agent at which the client is no longer read
#define FRAME_HEAD 5                 // channel, length
#define EXIT_MAX 65536
#define RESIZE_MAX 4096              // JSON text of one resize message
#define READS_PER_STEP 8

/* The streams of the protocols. These are also the channel numbers over WebSocket, and the first three the agent's. */
enum role { STDIN, STDOUT, STDERR, ERROR, RESIZE, ROLES };
static const char *const role_names[ROLES] = {"stdin", "stdout", "stderr", "error", "resize"};
#define NO_STREAM UINT32_MAX

struct exec {
	struct session session;
	const struct exec_request *rq;
	uint32_t streams[ROLES];         // NO_STREAM: not there
	bool wanted[ROLES];
	int agent;                       // -1 before and after
	bool done;                       // the command has ended; what the client still sends is thrown away

	struct buf to_agent;             // frames
	size_t to_agent_taken;
	size_t last_frame;               // where the last one begins, to make it longer; SIZE_MAX: none can be
	size_t stdin_bytes;              // in to_agent, not yet reported as consumed
	struct buf resize;               // JSON not yet complete

	uint8_t from_agent[SESSION_READ];
	size_t from_at, from_len;
	uint8_t head[FRAME_HEAD];
	size_t head_len;
	uint32_t frame_left;             // of the frame whose head is read
	struct buf exit;                 // ExecExit
	unsigned char client_bytes[SESSION_READ];
};

static size_t to_agent_pending(const struct exec *x) { return x->to_agent.len - x->to_agent_taken; }

/* To the agent. */

static void frame_head(uint8_t *head, uint8_t channel, uint32_t len)
{
	head[0] = channel;
	head[1] = (uint8_t)len, head[2] = (uint8_t)(len >> 8), head[3] = (uint8_t)(len >> 16), head[4] = (uint8_t)(len >> 24);
}

static uint32_t frame_len(const uint8_t *head)
{
	return head[1] | (uint32_t)head[2] << 8 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 24;
}

static int queue_frame(struct exec *x, uint8_t channel, const void *data, size_t len)
{
	uint8_t head[FRAME_HEAD];
	frame_head(head, channel, (uint32_t)len);
	x->last_frame = channel == AGENT_STDIN && len ? x->to_agent.len : SIZE_MAX;
	return buf_append(&x->to_agent, head, sizeof(head)) || buf_append(&x->to_agent, data, len) ? -ENOMEM : 0;
}

/* stdin comes in small pieces; as long as a frame has not begun to go out it takes in what follows. */
static int queue_stdin(struct exec *x, const uint8_t *data, size_t len)
{
	x->stdin_bytes += len;
	if (x->last_frame != SIZE_MAX && x->last_frame >= x->to_agent_taken) {
		uint8_t *head = (uint8_t *)x->to_agent.data + x->last_frame;
		uint32_t had = frame_len(head);
		size_t n = AGENT_FRAME_MAX - had < len ? AGENT_FRAME_MAX - had : len;
		frame_head(head, AGENT_STDIN, had + (uint32_t)n);
		if (buf_append(&x->to_agent, data, n))
			return -ENOMEM;
		data += n;
		len -= n;
	}
	while (len) {
		size_t n = len < AGENT_FRAME_MAX ? len : AGENT_FRAME_MAX;
		if (queue_frame(x, AGENT_STDIN, data, n))
			return -ENOMEM;
		data += n;
		len -= n;
	}
	return 0;
}

static int queue_size(struct exec *x, const json_t *size)
{
	long long cols = jpath_int(size, "Width", -1), rows = jpath_int(size, "Height", -1);
	if (cols < 0 || rows < 0)   // encoding/json does not mind the case of names
		cols = jpath_int(size, "width", 0), rows = jpath_int(size, "height", 0);
	if (cols < 1 || rows < 1 || cols > UINT16_MAX || rows > UINT16_MAX)
		return 0;
	Bulkhead__Agent__TermSize msg = BULKHEAD__AGENT__TERM_SIZE__INIT;
	uint8_t raw[32];
	msg.cols = (uint32_t)cols;
	msg.rows = (uint32_t)rows;
	return queue_frame(x, AGENT_RESIZE, raw, bulkhead__agent__term_size__pack(&msg, raw));
}

/* The resize stream is a sequence of JSON objects with nothing reliable between them. */
static int on_resize(struct exec *x, const void *data, size_t len)
{
	if (x->resize.len + len > RESIZE_MAX || buf_append(&x->resize, data, len)) {
		x->resize.len = 0;
		return 0;
	}
	while (x->resize.len) {
		json_error_t err;
		own_json json_t *size = json_loadb(x->resize.data, x->resize.len, JSON_DISABLE_EOF_CHECK, &err);
		if (!size)
			return 0;   // not complete, or never will be: RESIZE_MAX ends it
		int rc = queue_size(x, size);
		if (rc)
			return rc;
		buf_consume(&x->resize, (size_t)err.position);
	}
	return 0;
}

static int flush_agent(struct exec *x)
{
	while (x->agent >= 0 && to_agent_pending(x)) {
		ssize_t n = send(x->agent, x->to_agent.data + x->to_agent_taken, to_agent_pending(x), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			/* The command's last output may still be there to be read. */
			x->to_agent.len = x->to_agent_taken = 0;
			x->last_frame = SIZE_MAX;
			break;
		}
		x->to_agent_taken += (size_t)n;
	}
	if (x->to_agent_taken == x->to_agent.len) {
		x->to_agent.len = x->to_agent_taken = 0;
		x->last_frame = SIZE_MAX;
	} else if (x->to_agent_taken > TO_AGENT_MAX / 2) {
		buf_consume(&x->to_agent, x->to_agent_taken);
		x->last_frame = x->last_frame != SIZE_MAX && x->last_frame >= x->to_agent_taken ? x->last_frame - x->to_agent_taken : SIZE_MAX;
		x->to_agent_taken = 0;
	}
	if (x->stdin_bytes && to_agent_pending(x) < TO_AGENT_MAX / 2) {
		size_t n = x->stdin_bytes;
		x->stdin_bytes = 0;
		return mux_consumed(x->session.mux, x->streams[STDIN], n);
	}
	return 0;
}

/* From the client. */

static int on_opened(void *user, uint32_t stream, const struct mux_headers *h)
{
	struct exec *x = user;
	const char *type = mux_header(h, "streamtype");
	for (int r = 0; r < ROLES; r++) {
		if (strcmp(type, role_names[r]))
			continue;
		if (!x->wanted[r] || x->streams[r] != NO_STREAM)
			return -EINVAL;
		x->streams[r] = stream;
		return 0;
	}
	return -EINVAL;
}

static int on_data(void *user, uint32_t stream, const void *data, size_t len)
{
	struct exec *x = user;
	if (stream == x->streams[STDIN] && !x->done && !x->rq->drop_stdin)
		return queue_stdin(x, data, len);
	if (stream == x->streams[RESIZE] && !x->done) {
		int rc = on_resize(x, data, len);
		if (rc)
			return rc;
	}
	return mux_consumed(x->session.mux, stream, len);
}

static void on_ended(void *user, uint32_t stream, bool reset)
{
	struct exec *x = user;
	for (int r = 0; r < ROLES; r++) {
		if (stream != x->streams[r])
			continue;
		if (r == STDIN && !x->done && !x->rq->drop_stdin)
			queue_frame(x, AGENT_STDIN, NULL, 0);
		if (reset)
			x->streams[r] = NO_STREAM;
	}
}

static bool streams_complete(const struct exec *x)
{
	for (int r = 0; r < ROLES; r++)
		if (x->wanted[r] && x->streams[r] == NO_STREAM)
			return false;
	return true;
}

static int wait_for_streams(struct exec *x)
{
	struct pollfd fds[SESSION_FDS];
	uint64_t until = clock_mono_ns() + STREAMS_WAIT_MS * NS_PER_MS;
	while (!streams_complete(x)) {
		uint64_t now = clock_mono_ns();
		if (now >= until)
			return -ETIMEDOUT;
		int rc = session_flush(&x->session);
		if (rc)
			return rc;
		rc = session_step(&x->session, fds, SESSION_FDS, (int)((until - now) / NS_PER_MS) + 1);
		if (rc)
			return rc;
	}
	return 0;
}

/* From the agent. */

/* Some bytes of a frame's body are at hand. Returns how many were used; 0: the client must take something first. */
static long agent_body(struct exec *x, const uint8_t *data, size_t len)
{
	uint8_t channel = x->head[0];
	size_t n = len < x->frame_left ? len : x->frame_left;
	if (channel == AGENT_EXIT)
		return buf_append(&x->exit, data, n) ? -ENOMEM : (long)n;
	uint32_t stream = x->streams[channel];   // AGENT_STDOUT, AGENT_STDERR are STDOUT, STDERR
	if (stream == NO_STREAM)
		return (long)n;
	size_t room = mux_room(x->session.mux, stream);
	if (n > room)
		n = room;
	int rc = n ? mux_send(x->session.mux, stream, data, n) : 0;
	return rc && rc != -ENOENT ? rc : (long)n;
}

/* A frame's head is complete. Returns 0 or -EPROTO. */
static int agent_head(struct exec *x)
{
	x->frame_left = frame_len(x->head);
	if (x->head[0] == AGENT_EXIT)
		return x->frame_left <= EXIT_MAX ? 0 : -EPROTO;
	if ((x->head[0] != AGENT_STDOUT && x->head[0] != AGENT_STDERR) || x->frame_left > AGENT_FRAME_MAX)
		return -EPROTO;
	if (x->frame_left == 0 && x->streams[x->head[0]] != NO_STREAM)
		mux_finish(x->session.mux, x->streams[x->head[0]]);
	return 0;
}

/* Go through what was read of the agent. Returns 0 all used, 1 the client must take something first, -ENODATA the
 * exit frame is complete, -EPROTO, -ENOMEM. */
static int agent_frames(struct exec *x)
{
	while (x->from_at < x->from_len) {
		size_t have = x->from_len - x->from_at;
		if (x->head_len < FRAME_HEAD) {
			size_t n = FRAME_HEAD - x->head_len < have ? FRAME_HEAD - x->head_len : have;
			memcpy(x->head + x->head_len, x->from_agent + x->from_at, n);
			x->from_at += n;
			x->head_len += n;
			if (x->head_len < FRAME_HEAD)
				return 0;
			if (agent_head(x))
				return -EPROTO;
		} else {
			long n = agent_body(x, x->from_agent + x->from_at, have);
			if (n <= 0)
				return n ? (int)n : 1;
			x->from_at += (size_t)n;
			x->frame_left -= (uint32_t)n;
		}
		if (x->frame_left == 0) {
			x->head_len = 0;
			if (x->head[0] == AGENT_EXIT)
				return -ENODATA;
		}
	}
	return 0;
}

/* Read the agent as long as the client takes it. Returns 0, 1 (as above), -ENODATA (the end), -EPIPE (lost). */
static int pump_agent(struct exec *x)
{
	for (int i = 0; i < READS_PER_STEP; i++) {
		int rc = agent_frames(x);
		if (rc)
			return rc;
		ssize_t n = recv(x->agent, x->from_agent, sizeof(x->from_agent), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return -EPIPE;
		x->from_at = 0;
		x->from_len = (size_t)n;
	}
	return 0;
}

/* The end. */

/* The words for an agent stream that could not be opened. */
static int open_failure(const struct exec_request *rq, const struct err *e, struct buf *text)
{
	if (rq->attach)
		return buf_printf(text, "error attaching to container: %s", e->text);
	return status_exec_failure(rq->container_id, rq->argc ? rq->argv[0] : "", e->code, e->text, text);
}

int exec_open(const struct exec_request *rq, struct buf *text)
{
	Bulkhead__Agent__StreamOpen open = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__ExecOpen exec = BULKHEAD__AGENT__EXEC_OPEN__INIT;
	Bulkhead__Agent__AttachOpen attach = BULKHEAD__AGENT__ATTACH_OPEN__INIT;
	char *term = "TERM=xterm";   // as containerd does for a terminal
	if (rq->attach) {
		attach.container_id = (char *)rq->container_id;
		attach.stdin = rq->in && !rq->drop_stdin;
		attach.stdout = rq->out;
		attach.stderr = rq->err;
		open.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_ATTACH;
		open.attach = &attach;
	} else {
		exec.container_id = (char *)rq->container_id;
		exec.argv = (char **)rq->argv;
		exec.n_argv = rq->argc;
		exec.env = &term;
		exec.n_env = rq->tty;
		exec.tty = rq->tty;
		exec.stdin = rq->in;
		exec.stdout = rq->out;
		exec.stderr = rq->err;
		open.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_EXEC;
		open.exec = &exec;
	}
	struct err e = ERR_INIT;
	int fd = agent_stream_open(rq->vsock_path, &open, EXEC_OPEN_TIMEOUT_MS, &e);
	if (fd < 0 && open_failure(rq, &e, text))
		return -ENOMEM;
	return fd;
}

/* rc: how the loop ended. */
static int ending(struct exec *x, int rc, struct buf *out)
{
	unsigned v = x->rq->version;
	if (rc == -ENODATA) {
		Bulkhead__Agent__ExecExit *exit = bulkhead__agent__exec_exit__unpack(NULL, x->exit.len, (uint8_t *)x->exit.data);
		if (exit) {
			int code = exit->exit_code ? exit->exit_code : exit->signal ? 128 + exit->signal : 0;
			if (x->rq->attach || (!code && !*exit->error))
				rc = status_success(v, out);
			else if (code)
				rc = status_exit_code(v, code, out);
			else
				rc = status_internal(v, exit->error, out);
			bulkhead__agent__exec_exit__free_unpacked(exit, NULL);
			return rc;
		}
		rc = -EPROTO;
	}
	if (rc == -EPIPE && x->rq->attach)
		return status_success(v, out);   // the container has ended
	return status_internal(v, rc == -EPIPE ? "error executing command in container: the pod's VM closed the stream" :
			       rc == -EPROTO ? "error executing command in container: the pod's agent broke the protocol" :
			       strerror(-rc), out);
}

static void say_status(struct exec *x, const struct buf *status)
{
	struct mux *m = x->session.mux;
	x->done = true;
	for (int r = STDOUT; r <= STDERR; r++)
		if (x->streams[r] != NO_STREAM)
			mux_finish(m, x->streams[r]);
	if (x->streams[ERROR] == NO_STREAM)
		return;
	if (status->len)
		mux_send(m, x->streams[ERROR], status->data, status->len);
	mux_finish(m, x->streams[ERROR]);
}

/* Relay until one side ends. Returns as pump_agent does for the agent's end, -ECANCELED when the client's end (or
 * hostd's) made it pointless to say anything. */
static int relay(struct exec *x)
{
	for (;;) {
		int blocked = pump_agent(x);
		if (blocked < 0)
			return blocked;
		int rc = flush_agent(x);
		if (rc)
			return rc;
		if (session_flush(&x->session))
			return -ECANCELED;
		if (blocked && mux_room(x->session.mux, x->streams[x->head[0]]))
			continue;
		/* POLLRDHUP of an agent that is not read would be reported for ever: it is asked for with POLLIN only. */
		struct pollfd fds[SESSION_FDS + 1];
		fds[SESSION_FDS].fd = x->agent;
		fds[SESSION_FDS].events = (short)((blocked ? 0 : POLLIN) | (to_agent_pending(x) ? POLLOUT : 0));
		if (!fds[SESSION_FDS].events)
			fds[SESSION_FDS].fd = -1;
		x->session.paused = to_agent_pending(x) > TO_AGENT_MAX;
		if (session_step(&x->session, fds, SESSION_FDS + 1, -1))
			return -ECANCELED;
	}
}

static struct mux *new_mux(struct exec *x, const struct exec_request *rq)
{
	static const struct mux_sink sink = {.opened = on_opened, .data = on_data, .ended = on_ended};
	if (!rq->websocket)
		return spdy_new(&sink, x);
	const struct websocket_channels_opts opts = {.count = ROLES, .base64 = rq->base64, .close_signal = rq->version >= 5};
	struct mux *m = websocket_channels_new(&opts, &sink, x);
	if (!m)
		return NULL;
	uint32_t first = NO_STREAM;
	for (uint32_t r = 0; r < ROLES; r++) {
		if (!x->wanted[r])
			continue;
		x->streams[r] = r;
		if (first == NO_STREAM && r != STDIN)
			first = r;
	}
	mux_send(m, first, NULL, 0);   // an empty message tells the client that the connection stands, as a kubelet's does
	return m;
}

static struct exec *exec_new(struct wire *w, int stop_fd, const struct exec_request *rq)
{
	struct exec *x = calloc(1, sizeof(*x));
	if (!x)
		return NULL;
	x->rq = rq;
	x->agent = -1;
	x->last_frame = SIZE_MAX;
	for (int r = 0; r < ROLES; r++)
		x->streams[r] = NO_STREAM;
	x->wanted[STDIN] = rq->in;
	x->wanted[STDOUT] = rq->out;
	x->wanted[STDERR] = rq->err && !rq->tty;
	x->wanted[ERROR] = true;
	x->wanted[RESIZE] = rq->tty && rq->version >= 3;
	x->session = (struct session){.wire = *w, .stop_fd = stop_fd, .buffer = x->client_bytes};
	x->session.mux = new_mux(x, rq);
	if (!x->session.mux) {
		free(x);
		return NULL;
	}
	return x;
}

static void exec_free(struct exec *x)
{
	mux_free(x->session.mux);
	if (x->agent >= 0)
		close(x->agent);
	buf_fini(&x->to_agent);
	buf_fini(&x->resize);
	buf_fini(&x->exit);
	free(x);
}

PRDA_DEFINE_COUNTER(exec_streams, "bulkhead_exec_streams_total", "exec and attach streams begun");

void exec_relay(struct wire *w, int stop_fd, const struct exec_request *rq)
{
	struct exec *x = exec_new(w, stop_fd, rq);
	if (!x) {
		log_error("streaming", "no memory for an exec stream");
		return;
	}
	prda_add(exec_streams, 1);
	own_buf struct buf status = BUF_INIT;
	int rc = wait_for_streams(x);
	if (!rc) {
		own_buf struct buf text = BUF_INIT;
		x->agent = exec_open(rq, &text);
		if (x->agent < 0) {
			rc = status_internal(rq->version, text.len ? text.data : "no memory", &status);
		} else {
			rc = relay(x);
			if (rc != -ECANCELED)
				rc = ending(x, rc, &status);
			close(x->agent);
			x->agent = -1;
		}
		if (!rc) {
			say_status(x, &status);
			session_finish(&x->session);
		}
	}
	exec_free(x);
}
