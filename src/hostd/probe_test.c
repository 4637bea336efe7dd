// SPDX-License-Identifier: Apache-2.0
// HTTP probes against a server that says what the test wants, and what they make of it.
#include "probe.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct server { int listener; unsigned port; const char *answer, *scheme; unsigned asked; pthread_t thread; };

/* The first is told to go to scheme://this server, all others get the answer. */
static void *serve(void *arg)
{
	struct server *s = arg;
	for (;;) {
		char in[2048], out[512];
		int fd = accept(s->listener, NULL, NULL);
		if (fd < 0)
			return NULL;
		s->asked++;
		if (s->scheme && s->asked == 1)
			snprintf(out, sizeof(out), "HTTP/1.1 302 Found\r\nLocation: %s://127.0.0.1:%u/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
				 s->scheme, s->port);
		else
			snprintf(out, sizeof(out), "%s", s->answer);
		struct pollfd p = {fd, POLLIN, 0};             // a client that says nothing is not waited for
		if (poll(&p, 1, 1000) > 0 && read(fd, in, sizeof(in)) > 0 && write(fd, out, strlen(out)) < 0)
			s->asked += 100;
		close(fd);
	}
}

/* Runs one probe. How often the server was asked. */
static unsigned probe(const char *scheme, const char *answer, int *rc, char *why, size_t why_len)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	struct server s = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer, .scheme = scheme};
	assert_int_equal(bind(s.listener, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(s.listener, 8), 0);
	assert_int_equal(getsockname(s.listener, (struct sockaddr *)&a, &len), 0);
	s.port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&s.thread, NULL, serve, &s), 0);
	json_t *how = json_pack("{s:{s:i, s:s}}", "httpGet", "port", (int)s.port, "path", "/");
	struct probe_target t = {.pod_ip = "127.0.0.1"};
	memset(why, 'x', why_len);
	*rc = probe_run(&t, how, 5000, why, why_len);
	json_decref(how);
	shutdown(s.listener, SHUT_RDWR);
	pthread_join(s.thread, NULL);
	close(s.listener);
	return s.asked;
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static void redirects(void **state)
{
	(void)state;
	static const char *const others[] = {"telnet", "gopher", "ftp", "dict", "ldap", "smtp", "rtsp"};
	char why[512];
	int rc;
	assert_int_equal(probe("http", OK_ANSWER, &rc, why, sizeof(why)), 2);
	assert_int_equal(rc, 0);
	/* Nothing but HTTP is spoken, however politely it is asked for. */
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(probe(others[i], OK_ANSWER, &rc, why, sizeof(why)), 1);
		assert_int_not_equal(rc, 0);
		assert_non_null(strstr(why, others[i]));
	}
}

static void reasons(void **state)
{
	(void)state;
	char why[512];
	int rc;
	probe(NULL, "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", &rc, why, sizeof(why));
	assert_int_equal(rc, 1);
	assert_string_equal(why, "HTTP probe failed with statuscode: 503");
	probe(NULL, OK_ANSWER, &rc, why, sizeof(why));
	assert_int_equal(rc, 0);
	struct probe_target t = {.pod_ip = "127.0.0.1"};
	json_t *how = json_pack("{s:{s:i}}", "tcpSocket", "port", 0);
	memset(why, 'x', sizeof(why));
	assert_int_not_equal(probe_run(&t, how, 1000, why, sizeof(why)), 0);
	assert_true(strlen(why) < sizeof(why));
	json_decref(how);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(redirects), cmocka_unit_test(reasons)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
