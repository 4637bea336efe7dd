// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/tls_push.h"

#define HELD_NS 150000000ull      // the kernel keeps what is held for 200 ms

/* Two ends of a TCP connection. */
static void connect_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&a, len), 0);
	fds[1] = accept(l, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(l);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
}

/* The first message of a handshake goes out. */
static gnutls_session_t hello(struct tls_push *p, int fd, bool more)
{
	gnutls_session_t s;

	assert_int_equal(gnutls_init(&s, GNUTLS_CLIENT | GNUTLS_NONBLOCK), 0);
	assert_int_equal(gnutls_set_default_priority(s), 0);
	gnutls_transport_set_int(s, fd);
	tls_push_attach(p, s, fd);
	p->more = more;
	assert_int_equal(gnutls_handshake(s), GNUTLS_E_AGAIN);
	return s;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static void what_is_followed_by_more_waits_for_it(void **state)
{
	uint64_t start = clock_mono_ns();
	struct tls_push p;
	int fds[2];

	(void)state;
	connect_pair(fds);
	gnutls_session_t s = hello(&p, fds[0], true);
	bool came = readable(fds[1], 20);
	if (clock_mono_ns() - start < HELD_NS)
		assert_false(came);
	assert_true(p.held);
	tls_push_flush(&p);
	assert_false(p.held);
	assert_true(readable(fds[1], 10000));
	gnutls_deinit(s);
	close(fds[0]);
	close(fds[1]);
}

static void what_is_not_goes_at_once(void **state)
{
	struct tls_push p;
	int fds[2];

	(void)state;
	connect_pair(fds);
	gnutls_session_t s = hello(&p, fds[0], false);
	assert_false(p.held);
	assert_true(readable(fds[1], 10000));
	close(fds[1]);
	close(fds[0]);
	gnutls_deinit(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_followed_by_more_waits_for_it), cmocka_unit_test(what_is_not_goes_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
