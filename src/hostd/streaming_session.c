// SPDX-License-Identifier: Apache-2.0
// One upgraded connection; see streaming_session.h.
#include "streaming_session.h"

#include <errno.h>

#include "base/clock.h"
#include "bulkhead/prda.h"

#define LINGER_MS 2000
#define READS_PER_STEP 8   // then the other descriptors get their turn

PRDA_DEFINE_COUNTER(to_clients, "bulkhead_stream_sent_bytes_total", "bytes of exec, attach and port-forward sent to clients");
PRDA_DEFINE_COUNTER(from_clients, "bulkhead_stream_received_bytes_total", "bytes of exec, attach and port-forward from clients");

int session_flush(struct session *s)
{
	struct mux *m = s->mux;
	while (mux_pending(m)) {
		ssize_t n = wire_write(&s->wire, m->out.data + m->out_taken, mux_pending(m));
		if (n == -EAGAIN || n == -EINTR)
			return 0;
		if (n < 0)
			return n == -ENOMEM ? -ENOMEM : -EPIPE;
		mux_taken(m, (size_t)n);
		prda_add(to_clients, n);
	}
	return 0;
}

static int read_client(struct session *s)
{
	for (int i = 0; i < READS_PER_STEP && !s->paused; i++) {
		ssize_t n = wire_read(&s->wire, s->buffer, SESSION_READ);
		if (n == -EAGAIN || n == -EINTR)
			return 0;
		if (n <= 0)
			return n == -ENOMEM ? -ENOMEM : -EPIPE;
		prda_add(from_clients, n);
		int rc = mux_input(s->mux, s->buffer, (size_t)n);
		if (rc)
			return rc == -ENODATA ? -EPIPE : rc;
	}
	return 0;
}

int session_step(struct session *s, struct pollfd *fds, size_t count, int timeout_ms)
{
	bool ready = !s->paused && wire_has_bytes(&s->wire);
	short events = POLLRDHUP;
	if (!s->paused)
		events |= POLLIN;
	if (mux_pending(s->mux))
		events |= POLLOUT;
	fds[0] = (struct pollfd){.fd = s->wire.fd, .events = events};
	fds[1] = (struct pollfd){.fd = s->stop_fd, .events = POLLIN};
	for (size_t i = 0; i < count; i++)
		fds[i].revents = 0;
	if (poll(fds, count, ready ? 0 : timeout_ms) < 0 && errno != EINTR)
		return -errno;
	if (fds[1].revents)
		return -ECANCELED;
	if (fds[0].revents & (POLLERR | POLLNVAL))
		return -EPIPE;
	/* While its bytes are left where they are, this is the only sign that the client has gone. */
	if (s->paused && (fds[0].revents & (POLLRDHUP | POLLHUP)))
		return -EPIPE;
	int rc = fds[0].revents & POLLOUT ? session_flush(s) : 0;
	if (!rc && (ready || (fds[0].revents & (POLLIN | POLLRDHUP | POLLHUP))))
		rc = read_client(s);
	return rc;
}

void session_finish(struct session *s)
{
	struct pollfd fds[SESSION_FDS];
	uint64_t until = 0;
	s->paused = false;
	mux_goodbye(s->mux);
	for (;;) {
		if (session_flush(s))
			return;
		int wait_ms = -1;
		if (!mux_pending(s->mux)) {
			uint64_t now = clock_mono_ns();
			if (!until)
				until = now + LINGER_MS * NS_PER_MS;
			if (now >= until)
				return;
			wait_ms = (int)((until - now) / NS_PER_MS) + 1;
		}
		if (session_step(s, fds, SESSION_FDS, wait_ms)) {
			session_flush(s);   // an answer to the client's good-bye, if it was that
			return;
		}
	}
}
