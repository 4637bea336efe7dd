// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "server/pump.h"
#include "server/test_tls.h"

#define CONNS_MAX 8
#define LINE 50                    // "%049u\n"

static _Atomic int count;
static struct pump *pump;

/* An answer of numbered lines: those up to `until` are there, then it is over if `last` says so. */
struct numbers {
	struct pump_conn *conn;
	pthread_mutex_t lock;
	unsigned next, until;
	bool last, waiting;
	_Atomic unsigned given;
	_Atomic bool freed;
};

static ssize_t numbers_read(void *user, char *out, size_t max)
{
	struct numbers *s = user;
	ssize_t n = 0;

	pthread_mutex_lock(&s->lock);
	for (char line[LINE + 1]; s->next < s->until && n + LINE <= (ssize_t)max; n += LINE) {
		snprintf(line, sizeof line, "%049u\n", s->next++);
		memcpy(out + n, line, LINE);
	}
	s->given = s->next;
	s->waiting = !n && !s->last;
	if (!n && s->last)
		n = PUMP_END;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void numbers_free(void *user)
{
	struct numbers *s = user;

	pthread_mutex_lock(&s->lock);   // nobody is about to wake it
	s->waiting = false;
	pthread_mutex_unlock(&s->lock);
	s->freed = true;
}

static const struct pump_source source = { numbers_read, numbers_free };

static void add(struct numbers *s, unsigned lines, bool last)
{
	pthread_mutex_lock(&s->lock);
	s->until += lines;
	s->last |= last;
	if (s->waiting)
		pump_wake(s->conn);
	s->waiting = false;
	pthread_mutex_unlock(&s->lock);
}

static struct numbers *begin(struct pair *p)
{
	struct numbers *s = calloc(1, sizeof *s);

	pthread_mutex_init(&s->lock, NULL);
	shake_hands(p, TEST_TLS_1_3);
	assert_int_equal(pump_take(pump, p->server, p->fds[1], &s->conn), 0);
	gnutls_deinit(p->server);
	p->server = NULL;
	close(p->fds[1]);          // the pump has its own
	p->fds[1] = -1;
	pump_begin(s->conn, &source, s);
	return s;
}

static void end(struct pair *p, struct numbers *s)
{
	while (!s->freed)
		usleep(1000);
	pthread_mutex_destroy(&s->lock);
	free(s);
	part(p);
}

/* Up to max bytes of the answer as they come. 0: it is over, and was said to be. */
static ssize_t receive(struct pair *p, char *out, size_t max)
{
	for (;;) {
		struct pollfd fd = { .fd = p->fds[0], .events = POLLIN };
		ssize_t n = gnutls_record_recv(p->client, out, max);
		if (n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED)
			return n;
		assert_int_equal(poll(&fd, 1, 30000), 1);
	}
}

/* Take chunks out of the raw bytes: what they hold is appended to text. True at the last one. */
static bool unchunk(struct buf *raw, struct buf *text)
{
	for (;;) {
		char *eol = raw->len ? memmem(raw->data, raw->len, "\r\n", 2) : NULL;
		size_t n, head;
		if (!eol)
			return false;
		n = strtoul(raw->data, NULL, 16);
		head = eol + 2 - raw->data;
		if (raw->len < head + n + 2)
			return false;
		assert_memory_equal(raw->data + head + n, "\r\n", 2);
		buf_append(text, raw->data + head, n);
		buf_consume(raw, head + n + 2);
		if (!n)
			return true;
	}
}

static void check_lines(const struct buf *text, unsigned lines)
{
	char line[LINE + 1];

	assert_int_equal(text->len, (size_t)lines * LINE);
	for (unsigned i = 0; i < lines; i++) {
		snprintf(line, sizeof line, "%049u\n", i);
		assert_memory_equal(text->data + (size_t)i * LINE, line, LINE);
	}
}

/* Read the rest of the answer, which is these lines, and its end. */
static void expect_rest(struct pair *p, struct buf *raw, struct buf *text, unsigned lines)
{
	char in[16384];
	bool over = false;
	ssize_t n;

	while ((n = receive(p, in, sizeof in)) > 0) {
		buf_append(raw, in, n);
		over = unchunk(raw, text);
	}
	assert_int_equal(n, 0);
	assert_true(over);
	check_lines(text, lines);
	buf_fini(raw);
	buf_fini(text);
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	return pump_start(2, CONNS_MAX, &count, &pump, &e);
}

static int tear_down(void **state)
{
	(void)state;
	while (count)              // goes down a moment after the source is freed
		usleep(1000);
	pump_stop(pump);
	pump_free(pump);
	return 0;
}

static void an_answer_comes_whole_and_ends(void **state)
{
	struct buf raw = BUF_INIT, text = BUF_INIT;
	struct pair p;
	struct numbers *s = begin(&p);

	(void)state;
	add(s, 3, false);
	add(s, 40000, true);       // more than a round's worth
	expect_rest(&p, &raw, &text, 40003);
	end(&p, s);
}

/* Many connections, woken by another thread line by line. */
static void nothing_is_lost_nor_twice(void **state)
{
	enum { CONNS = CONNS_MAX, LINES = 2000 };
	struct pair p[CONNS];
	struct numbers *s[CONNS];

	(void)state;
	for (int i = 0; i < CONNS; i++)
		s[i] = begin(&p[i]);
	for (int n = 0; n < LINES; n++)
		for (int i = 0; i < CONNS; i++)
			add(s[i], 1, n == LINES - 1);
	for (int i = 0; i < CONNS; i++) {
		struct buf raw = BUF_INIT, text = BUF_INIT;
		expect_rest(&p[i], &raw, &text, LINES);
		end(&p[i], s[i]);
	}
}

static void wait_until_full(struct numbers *s)
{
	unsigned before;

	do {
		before = s->given;
		usleep(50000);
	} while (!before || s->given != before);
}

/* Who does not read is not read for: what it is behind is in its socket and one held round. */
static void a_slow_reader_is_waited_for(void **state)
{
	struct buf raw = BUF_INIT, text = BUF_INIT;
	struct pair p, q;
	struct numbers *slow = begin(&p), *quick;
	int room = 0;
	socklen_t len = sizeof room;

	(void)state;
	getsockopt(p.fds[0], SOL_SOCKET, SO_SNDBUF, &room, &len);
	add(slow, 200000, true);   // 10 MB
	wait_until_full(slow);
	assert_in_range((uint64_t)slow->given * LINE, 1, room + PUMP_HELD_MAX);
	for (unsigned i = 0; i < 2; i++) {
		struct buf raw2 = BUF_INIT, text2 = BUF_INIT;
		quick = begin(&q);     // on either thread
		add(quick, 10, true);
		expect_rest(&q, &raw2, &text2, 10);
		end(&q, quick);
	}
	expect_rest(&p, &raw, &text, 200000);
	end(&p, slow);
}

static void a_client_that_goes_ends_it(void **state)
{
	struct pair p, q;
	struct numbers *idle = begin(&p), *stuck = begin(&q);

	(void)state;
	add(stuck, 200000, false);
	wait_until_full(stuck);
	shutdown(p.fds[0], SHUT_WR);
	shutdown(q.fds[0], SHUT_RDWR);
	end(&p, idle);
	end(&q, stuck);
}

/* The client hears of the end though somebody else has the socket, too. */
static void the_end_is_the_sockets(void **state)
{
	struct pair p;
	struct numbers *s = calloc(1, sizeof *s);
	struct pollfd fd;
	char in[4096];
	ssize_t n;

	(void)state;
	pthread_mutex_init(&s->lock, NULL);
	shake_hands(&p, TEST_TLS_1_3);
	assert_int_equal(pump_take(pump, p.server, p.fds[1], &s->conn), 0);
	pump_begin(s->conn, &source, s);
	add(s, 10, true);
	fd = (struct pollfd){ .fd = p.fds[0], .events = POLLIN };
	do {
		assert_int_equal(poll(&fd, 1, 30000), 1);
		n = read(p.fds[0], in, sizeof in);
	} while (n > 0);
	assert_int_equal(n, 0);
	end(&p, s);
}

static void a_client_that_speaks_ends_it(void **state)
{
	struct pair p;
	struct numbers *s = begin(&p);

	(void)state;
	assert_int_equal(gnutls_record_send(p.client, "GET", 3), 3);
	end(&p, s);
}

/* Both ends of a TCP connection over loopback. */
static void connect_tcp(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&a, sizeof a), 0);
	fds[1] = accept(l, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(l);
}

/* What went before on the connection may have left its socket corked. */
static void small_pieces_are_not_waited_with(void **state)
{
	struct numbers *s = calloc(1, sizeof *s);
	int fds[2], value = 1;
	socklen_t len = sizeof value;
	struct pair p;

	(void)state;
	pthread_mutex_init(&s->lock, NULL);
	shake_hands(&p, TEST_TLS_1_3);
	connect_tcp(fds);
	assert_int_equal(setsockopt(fds[1], IPPROTO_TCP, TCP_CORK, &value, sizeof value), 0);
	assert_int_equal(pump_take(pump, p.server, fds[1], &s->conn), 0);
	assert_int_equal(getsockopt(fds[1], IPPROTO_TCP, TCP_CORK, &value, &len), 0);
	assert_int_equal(value, 0);
	assert_int_equal(getsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	assert_int_not_equal(value, 0);
	pump_begin(s->conn, &source, s);
	close(fds[0]);
	end(&p, s);
	close(fds[1]);
}

static void there_is_a_limit(void **state)
{
	struct pump_conn *c = NULL;
	struct numbers *s[CONNS_MAX];
	struct pair p[CONNS_MAX], q;

	(void)state;
	for (int i = 0; i < CONNS_MAX; i++)
		s[i] = begin(&p[i]);
	assert_int_equal(pump_live(pump), CONNS_MAX);
	shake_hands(&q, TEST_TLS_1_3);
	assert_int_equal(pump_take(pump, q.server, q.fds[1], &c), -EBUSY);
	assert_int_equal(count, CONNS_MAX);
	add(s[0], 1, true);
	end(&p[0], s[0]);
	while (count == CONNS_MAX)
		usleep(1000);
	part(&q);
	s[0] = begin(&p[0]);
	for (int i = 0; i < CONNS_MAX; i++) {
		add(s[i], 1, true);
		end(&p[i], s[i]);
	}
}

static void nobody_comes_after_the_end(void **state)
{
	struct pump_conn *c = NULL;
	struct pair p;

	(void)state;
	shake_hands(&p, TEST_TLS_1_3);
	pump_stop(pump);
	assert_int_equal(pump_take(pump, p.server, p.fds[1], &c), -EBUSY);
	assert_null(c);
	assert_int_equal(count, 0);
	part(&p);
}

static void at_the_end_nobody_is_waited_for(void **state)
{
	struct pair p;
	struct numbers *s = begin(&p);

	(void)state;
	add(s, 200000, true);
	wait_until_full(s);
	pump_stop(pump);
	end(&p, s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_comes_whole_and_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_lost_nor_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_slow_reader_is_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_that_goes_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_is_the_sockets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_that_speaks_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(small_pieces_are_not_waited_with, set_up, tear_down),
		cmocka_unit_test_setup_teardown(there_is_a_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_comes_after_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(at_the_end_nobody_is_waited_for, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
