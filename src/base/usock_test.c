// SPDX-License-Identifier: Apache-2.0
#include "usock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_pass_descriptors(void **state)
{
	(void)state;
	int s[2], p[2], got[4];
	char text[8];
	size_t n = 4;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) | pipe(p), 0);
	assert_int_equal(usock_send(s[0], "hi", 2, p, 2), 0);
	assert_int_equal(usock_recv(s[1], text, sizeof(text), got, &n), 2);
	assert_int_equal(n, 2);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(got[1], "x", 1), 1);
	assert_int_equal(read(p[0], text, 8), 1);
	assert_int_equal(usock_send(s[0], "too long", 8, p, 2), 0);
	n = 4;
	assert_int_equal(usock_recv(s[1], text, 4, got, &n), -EMSGSIZE);
	close(s[0]);
	assert_int_equal(usock_recv(s[1], text, 4, NULL, NULL), 0);
}

static void test_listen_connect(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char path[64], longpath[200];
	snprintf(path, sizeof(path), "/tmp/bh-usock-test-%d", getpid());
	int l = usock_listen(path, SOCK_STREAM, 0600, &e);
	assert_true(l >= 0);
	struct stat st;
	stat(path, &st);
	assert_int_equal(st.st_mode & 0777, 0600);
	int c = usock_connect(path, SOCK_STREAM, &e);
	assert_true(c >= 0);
	close(c);
	close(l);
	assert_int_equal(usock_connect(path, SOCK_STREAM, &e), -ECONNREFUSED);
	unlink(path);
	memset(longpath, 'a', sizeof(longpath));
	longpath[sizeof(longpath) - 1] = '\0';
	assert_int_equal(usock_connect(longpath, SOCK_STREAM, &e), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pass_descriptors), cmocka_unit_test(test_listen_connect)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
