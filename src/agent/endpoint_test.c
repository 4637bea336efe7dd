// SPDX-License-Identifier: Apache-2.0
#include "endpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/evloop.h"

struct seen {
	struct evloop *loop;
	struct endpoint *ep;
	char got[64];
	size_t len, take;          // take: bytes taken at once, 0: all
	int eofs, drains, ends, error, refuse;
	bool close_in_input, stop_on_input;
};

static ssize_t on_input(void *user, const uint8_t *data, size_t len)
{
	struct seen *s = user;
	if (s->refuse)
		return -s->refuse;
	if (s->stop_on_input)
		evloop_stop(s->loop);
	if (s->take && len < s->take)
		return 0;
	size_t n = s->take ? s->take : len;
	if (s->len + n <= sizeof(s->got))
		memcpy(s->got + s->len, data, n);
	s->len += n;
	if (s->close_in_input)
		ep_close(s->ep);
	return (ssize_t)n;
}

static void on_eof(void *user)
{
	struct seen *s = user;
	s->eofs++;
	evloop_stop(s->loop);
}

static void on_drained(void *user)
{
	struct seen *s = user;
	s->drains++;
	evloop_stop(s->loop);
}

static void on_ended(void *user, int error)
{
	struct seen *s = user;
	s->ends++;
	s->error = error;
	evloop_stop(s->loop);
}

static void on_time(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)events, (void)user;
	evloop_remove(w);
	evloop_stop(l);
}

static void spin(struct seen *s, unsigned ms)
{
	evloop_timer(s->loop, ms, 0, on_time, NULL);
	evloop_run(s->loop);
}

static const struct endpoint_ops ops = {on_input, on_eof, on_drained, on_ended};

static int open_pair(struct seen *s)
{
	int sv[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	s->loop = evloop_new();
	s->ep = ep_new(s->loop, sv[0], EP_BOTH, 16, &ops, s);
	assert_non_null(s->ep);
	return sv[1];
}

static void close_pair(struct seen *s, int peer)
{
	if (peer >= 0)
		close(peer);
	ep_close(s->ep);
	evloop_free(s->loop);
}

static void test_pieces_and_eof(void **state)
{
	(void)state;
	struct seen s = {.take = 3};
	int peer = open_pair(&s);
	assert_int_equal(write(peer, "ab", 2), 2);
	spin(&s, 5);
	assert_int_equal(s.len, 0);
	assert_int_equal(write(peer, "cdefg", 5), 5);
	shutdown(peer, SHUT_WR);
	spin(&s, 1000);
	assert_int_equal(s.len, 6);
	assert_memory_equal(s.got, "abcdef", 6);
	assert_int_equal(s.eofs, 1);
	ep_send(s.ep, "he", 2, "llo", 3);     // the other direction goes on
	char back[8];
	assert_int_equal(read(peer, back, sizeof(back)), 5);
	assert_memory_equal(back, "hello", 5);
	close(peer);
	spin(&s, 1000);
	assert_int_equal(s.ends, 1);
	close_pair(&s, -1);
}

static void test_too_much_untaken(void **state)
{
	(void)state;
	struct seen s = {.take = 100};
	int peer = open_pair(&s);
	assert_int_equal(write(peer, "0123456789abcdefghij", 20), 20);
	spin(&s, 1000);
	assert_int_equal(s.ends, 1);
	assert_int_equal(s.error, EMSGSIZE);
	close_pair(&s, peer);
}

static void test_refused_input(void **state)
{
	(void)state;
	struct seen s = {.refuse = EPROTO};
	int peer = open_pair(&s);
	assert_int_equal(write(peer, "x", 1), 1);
	spin(&s, 1000);
	assert_int_equal(s.error, EPROTO);
	spin(&s, 5);
	assert_int_equal(s.ends, 1);
	ep_send(s.ep, NULL, 0, "x", 1);      // ignored
	close_pair(&s, peer);
}

static void test_closed_in_its_callback(void **state)
{
	(void)state;
	struct seen s = {.close_in_input = true, .take = 1};
	int peer = open_pair(&s);
	assert_int_equal(write(peer, "xyz", 3), 3);
	spin(&s, 5);
	assert_int_equal(s.len, 1);
	close(peer);
	evloop_free(s.loop);
}

static void test_queue_and_drain(void **state)
{
	(void)state;
	struct seen s = {0};
	int peer = open_pair(&s);
	static char block[65536];
	size_t sent = 0, got = 0;
	while (!ep_full(s.ep)) {
		memset(block, (int)(sent / sizeof(block)), sizeof(block));
		assert_int_equal(ep_send(s.ep, NULL, 0, block, sizeof(block)), 0);
		sent += sizeof(block);
	}
	while (!s.drains) {
		ssize_t n = read(peer, block, 4096);
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal((uint8_t)block[i], (uint8_t)((got + (size_t)i) / sizeof(block)));
		got += (size_t)n;
		spin(&s, 1);
	}
	assert_false(ep_full(s.ep));
	ep_finish(s.ep);
	for (ssize_t n; got < sent; got += (size_t)n) {
		spin(&s, 1);
		n = recv(peer, block, sizeof(block), MSG_DONTWAIT);
		n = n < 0 ? 0 : n;
	}
	assert_int_equal(read(peer, block, 1), 0);
	close_pair(&s, peer);
}

static void test_hold(void **state)
{
	(void)state;
	struct seen s = {0};
	int peer = open_pair(&s);
	ep_hold(s.ep, true);
	assert_int_equal(write(peer, "tail", 4), 4);
	close(peer);
	spin(&s, 5);
	assert_int_equal(s.len, 0);
	assert_int_equal(s.ends, 0);         // what the peer sent before it left is still to be delivered
	ep_hold(s.ep, false);
	spin(&s, 1000);
	assert_int_equal(s.len, 4);
	assert_int_equal(s.eofs, 1);
	close_pair(&s, -1);
}

static void test_hang_up_while_held(void **state)
{
	(void)state;
	struct seen s = {0};
	int peer = open_pair(&s);
	ep_hold(s.ep, true);
	ep_end_at_hangup(s.ep, true);
	assert_int_equal(write(peer, "lost", 4), 4);
	close(peer);
	spin(&s, 1000);
	assert_int_equal(s.ends, 1);
	close_pair(&s, -1);
}

static void test_close_when_sent(void **state)
{
	(void)state;
	struct seen s = {0};
	int peer = open_pair(&s);
	static char block[1 << 20];
	size_t got = 0;
	ep_send(s.ep, NULL, 0, block, sizeof(block));
	ep_close_sent(s.ep);
	for (int i = 0; i < 10000 && got < sizeof(block); i++) {
		ssize_t n = recv(peer, block, sizeof(block), MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
		spin(&s, 1);
	}
	assert_int_equal(got, sizeof(block));
	assert_int_equal(read(peer, block, 1), 0);
	assert_int_equal(s.ends, 0);
	close(peer);
	evloop_free(s.loop);
}

static void test_pipe_ends(void **state)
{
	(void)state;
	struct seen in = {0};
	int p[2];
	assert_int_equal(pipe(p), 0);
	in.loop = evloop_new();
	in.ep = ep_new(in.loop, p[0], EP_READ, 0, &ops, &in);
	assert_int_equal(write(p[1], "rest", 4), 4);
	close(p[1]);
	spin(&in, 1000);
	assert_int_equal(in.len, 4);
	assert_int_equal(in.eofs, 1);
	close_pair(&in, -1);

	struct seen out = {0};
	assert_int_equal(pipe(p), 0);
	out.loop = evloop_new();
	out.ep = ep_new(out.loop, p[1], EP_WRITE, 0, &ops, &out);
	close(p[0]);
	spin(&out, 1000);
	assert_int_equal(out.ends, 1);
	close_pair(&out, -1);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_and_eof), cmocka_unit_test(test_too_much_untaken),
		cmocka_unit_test(test_refused_input), cmocka_unit_test(test_closed_in_its_callback),
		cmocka_unit_test(test_queue_and_drain), cmocka_unit_test(test_hold), cmocka_unit_test(test_hang_up_while_held),
		cmocka_unit_test(test_close_when_sent), cmocka_unit_test(test_pipe_ends)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
