// SPDX-License-Identifier: Apache-2.0
// A client that leaves at any moment: while the server looks for its next request, just when it stops looking, while it
// sleeps. The connection must end each time.
#include <endian.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "disk/nbd/proto.h"
#include "disk/nbd/server.h"
#include "disk/test_disk.h"

#define BLOCK 4096u
#define CLIENTS 2000u
#define LIMIT_S 60

struct session { struct nbd_export x; int fd; };

static void *serve(void *arg)
{
	struct session *s = arg;
	struct err e = ERR_INIT;

	assert_int_equal(nbd_connection(&s->x, s->fd, &e), 0);
	return NULL;
}

static void go(int fd)
{
	struct { uint32_t flags; uint64_t magic; uint32_t option, len, name; uint16_t infos; } __attribute__((packed)) ask = {
		htobe32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES), htobe64(NBD_OPTS_MAGIC), htobe32(NBD_OPT_GO), htobe32(6), 0, 0 };
	struct { uint64_t magic; uint32_t option, type, len; } __attribute__((packed)) h = { .type = 0 };
	char rest[256];

	assert_int_equal(fd_read_all(fd, rest, 18), 0);
	assert_int_equal(fd_write_all(fd, &ask, sizeof(ask)), 0);
	while (be32toh(h.type) != NBD_REP_ACK) {
		assert_int_equal(fd_read_all(fd, &h, sizeof(h)), 0);
		assert_in_range(be32toh(h.len), 0, sizeof(rest));
		if (h.len) assert_int_equal(fd_read_all(fd, rest, be32toh(h.len)), 0);
	}
}

static void read_one(int fd)
{
	struct nbd_request q = { htobe32(NBD_REQUEST_MAGIC), 0, htobe16(NBD_CMD_READ), 7, 0, htobe32(BLOCK) };
	struct { struct nbd_simple head; char data[BLOCK]; } __attribute__((packed)) a;

	assert_int_equal(fd_write_all(fd, &q, sizeof(q)), 0);
	assert_int_equal(fd_read_all(fd, &a, sizeof(a)), 0);
	assert_int_equal(be32toh(a.head.magic), NBD_SIMPLE_MAGIC);
	assert_int_equal(a.head.error, 0);
	assert_int_equal(a.head.cookie, 7);
}

static void leave_after(struct bh_disk *d, uint64_t ns)
{
	struct session s = { .x = { .disk = d, .name = "", .connections_max = 1 } };
	struct timespec limit;
	pthread_t server;
	uint64_t end;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	s.fd = fd[1];
	assert_int_equal(pthread_create(&server, NULL, serve, &s), 0);
	go(fd[0]);
	read_one(fd[0]);
	for (end = clock_mono_ns() + ns; clock_mono_ns() < end;) continue;
	close(fd[0]);
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += LIMIT_S;
	assert_int_equal(pthread_timedjoin_np(server, NULL, &limit), 0);
}

static void test_client_leaves(void **state)
{
	struct bh_disk_new n = { .size_bytes = 1u << 20, .filters = "[]" };
	struct err e = ERR_INIT;
	struct bh_disk *d = NULL;

	(void)state;
	ok(bh_disk_create(at("d.bhd"), &n, &e), e);
	ok(bh_disk_open(at("d.bhd"), NULL, &d, &e), e);
	for (unsigned i = 0; i < CLIENTS; i++) leave_after(d, 20000 + i * 97 % 20000);   // it looks for 30 us
	ok(bh_disk_close(d, &e), e);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_client_leaves, make_dir, remove_dir) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
