// SPDX-License-Identifier: Apache-2.0
// Backings of zeros, templates, files and other hosts.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "pager.h"

static int image(uint32_t pages)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	for (uint32_t i = 0; i < pages; i++) {
		unsigned char page[PAGER_PAGE];
		memset(page, (int)i + 1, sizeof(page));
		pwrite(fd, page, sizeof(page), (off_t)i * PAGER_PAGE);
	}
	return fd;
}

static void check_image(struct backing *b)
{
	static unsigned char buf[4 * PAGER_PAGE], same[PAGER_PAGE];
	const unsigned char *got;
	assert_int_equal(b->ops->load(b, 3, 4, buf, (const void **)&got), 0);
	for (int i = 0; i < 4; i++) {
		memset(same, i + 4, sizeof(same));
		assert_memory_equal(got + i * PAGER_PAGE, same, PAGER_PAGE);
		assert_true(!b->ops->same || b->ops->same(b, (uint64_t)i + 3, same));
		assert_false(b->ops->same && b->ops->same(b, (uint64_t)i + 4, same));
	}
	assert_int_equal(b->ops->load(b, 7, 2, buf, (const void **)&got), -EIO);
	assert_int_equal(b->ops->load(b, UINT64_MAX, 2, buf, (const void **)&got), -EIO);
}

static void holes_are_zeros(void **state)
{
	(void)state;
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct backing *b = NULL;
	struct err e = ERR_INIT;
	struct stat before, after;
	unsigned char page[PAGER_PAGE], buf[16 * PAGER_PAGE];
	const void *got;
	memset(page, 7, sizeof(page));
	assert_int_equal(ftruncate(fd, 64 * PAGER_PAGE), 0);
	assert_int_equal(pwrite(fd, page, PAGER_PAGE, 20 * PAGER_PAGE), PAGER_PAGE);
	assert_int_equal(backing_template_new(fd, true, &b, &e), 0);
	assert_int_equal(b->ops->cluster, 1);
	assert_int_equal(fstat(fd, &before), 0);
	for (uint64_t i = 0; i < 64; i++) {
		assert_int_equal(b->ops->load(b, i, 1, buf, &got), 0);
		if (i == 20)
			assert_memory_equal(got, page, PAGER_PAGE);
		else
			assert_null(got);
	}
	assert_int_equal(b->ops->load(b, 16, 16, buf, &got), 0);
	assert_non_null(got);
	assert_int_equal(b->ops->load(b, 32, 16, buf, &got), 0);
	assert_null(got);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(after.st_blocks, before.st_blocks);
	backing_put(b);
	close(fd);
}

static void images(void **state)
{
	(void)state;
	int fd = image(8);
	struct backing *b = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(backing_template_new(fd, false, &b, &e), 0);
	assert_int_equal(backing_template_pages(b), 8);
	check_image(b);
	backing_put(b);
	assert_int_equal(backing_file_new(fd, &b, &e), 0);
	assert_int_equal(backing_file_pages(b), 8);
	check_image(b);
	unsigned char buf[PAGER_PAGE];
	const void *got;
	assert_int_equal(ftruncate(fd, 5 * PAGER_PAGE), 0);            // it gets shorter while in use
	assert_int_equal(b->ops->load(b, 6, 1, buf, &got), -EIO);
	assert_false(b->ops->same(b, 6, buf));
	backing_put(b);
	assert_int_equal(ftruncate(fd, 5 * PAGER_PAGE + 1), 0);
	assert_int_equal(backing_template_new(fd, false, &b, &e), -EINVAL);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(backing_file_new(fd, &b, &e), -EINVAL);
	assert_int_equal(backing_template_new(-1, false, &b, &e), -EBADF);
	close(fd);
	struct backing *z = backing_zero();
	assert_int_equal(z->ops->load(z, 77, 64, NULL, &got), 0);
	assert_null(got);
}

struct peer { int fd; _Atomic int lie; };   // lie: 0 no; 1 a status; 2 another page; 3 hangs up in the middle

static void *peer(void *arg)
{
	struct peer *p = arg;
	struct { uint64_t page; uint32_t n, zero; } ask;
	while (recv(p->fd, &ask, sizeof(ask), MSG_WAITALL) == sizeof(ask)) {
		struct { int32_t status; uint32_t n; uint64_t page; } reply = { p->lie == 1, ask.n, ask.page + (p->lie == 2) };
		send(p->fd, &reply, sizeof(reply), 0);
		for (uint32_t i = 0; !reply.status && i < ask.n; i++) {
			unsigned char page[PAGER_PAGE];
			memset(page, (int)(ask.page + i) + 1, sizeof(page));
			send(p->fd, page, p->lie == 3 ? 100 : sizeof(page), MSG_NOSIGNAL);
			if (p->lie == 3)
				goto out;
		}
	}
out:
	close(p->fd);
	return NULL;
}

static void another_host(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct backing *b = NULL;
	assert_int_equal(backing_remote_new(0, 0, &b, &e), -EINVAL);
	for (int lie = 0; lie <= 3; lie++) {
		int s[2];
		pthread_t t;
		unsigned char buf[2 * PAGER_PAGE];
		const void *got;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
		struct peer p = { s[1], lie };
		pthread_create(&t, NULL, peer, &p);
		assert_int_equal(backing_remote_new(s[0], 8, &b, &e), 0);
		assert_int_equal(backing_remote_pages(b), 8);
		close(s[0]);
		if (lie)
			assert_int_equal(b->ops->load(b, 3, 2, buf, &got), -EIO);
		else
			check_image(b);
		p.lie = 0;
		assert_int_equal(b->ops->load(b, 1, 1, buf, &got), lie <= 1 ? 0 : -EIO);   // broken for good, or not
		backing_put(b);
		pthread_join(t, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(holes_are_zeros), cmocka_unit_test(images), cmocka_unit_test(another_host) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
