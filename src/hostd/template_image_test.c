// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "template_image.h"

#define PAGES 300
#define BYTES (PAGES * 4096ul)

static char dir[] = "/tmp/bh-template-image-XXXXXX", path[64];

static void fill(unsigned char *m)
{
	srandom(7);
	for (unsigned n = 0; n < PAGES; n++) {
		if (n % 7 == 3 || (n > 100 && n < 200))
			continue;                                   // zeros
		unsigned seed = n % 5 == 1 ? 42 : (unsigned)random();   // some are the same
		for (unsigned i = 0; i < 4096; i++)
			m[n * 4096 + i] = (unsigned char)(n % 3 ? seed >> (i % 24) : (unsigned)rand_r(&seed));
	}
}

static int memory_fd(unsigned char **at)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	*at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(*at, MAP_FAILED);
	fill(*at);
	return fd;
}

static void comes_back(void **state)
{
	(void)state;
	unsigned char *was;
	char digest[DIGEST_MAX];
	struct template_image_stats st;
	struct err e = ERR_INIT;
	int fd = memory_fd(&was);
	assert_int_equal(template_image_write(fd, path, digest, &st, &e), 0);
	assert_int_equal(st.pages, PAGES);
	assert_true(st.distinct < st.used && st.used < st.pages);
	int back = template_image_read(path, digest, BYTES, &e);
	assert_true(back >= 0);
	struct stat s;
	assert_int_equal(fstat(back, &s), 0);
	assert_true((uint64_t)s.st_blocks * 512 < BYTES);                        // zeros take no memory
	unsigned char *now = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, back, 0);
	assert_memory_equal(now, was, BYTES);
	assert_true(pwrite(back, "x", 1, 0) < 0);                                // sealed
	assert_int_equal(template_image_read(path, digest, BYTES + 4096, &e), -EBADMSG);
	munmap(now, BYTES), munmap(was, BYTES);
	close(back), close(fd);
}

static void altered_and_truncated(void **state)
{
	(void)state;
	unsigned char *was;
	char digest[DIGEST_MAX], other[DIGEST_MAX];
	struct template_image_stats st;
	struct err e = ERR_INIT;
	struct buf file = BUF_INIT;
	int fd = memory_fd(&was);
	assert_int_equal(template_image_write(fd, path, digest, &st, &e), 0);
	assert_int_equal(file_read(path, 1 << 24, &file, &e), 0);
	for (size_t at = 0; at < file.len; at += 97) {
		file.data[at] ^= 0x40;
		assert_int_equal(file_replace(path, file.data, file.len, 0600, &e), 0);
		assert_int_equal(template_image_read(path, digest, BYTES, &e), -EBADMSG);
		/* Even if somebody made the digest fit: nothing is read or written where it should not be. */
		assert_int_equal(digest_bytes(file.data, file.len, other, &e), 0);
		int got = template_image_read(path, other, BYTES, &e);
		if (got >= 0)
			close(got);
		file.data[at] ^= 0x40;
	}
	for (size_t len = 0; len < file.len; len += 1009) {
		assert_int_equal(file_replace(path, file.data, len, 0600, &e), 0);
		assert_int_equal(template_image_read(path, digest, BYTES, &e), -EBADMSG);
		assert_int_equal(digest_bytes(file.data, len, other, &e), 0);
		assert_true(template_image_read(path, other, BYTES, &e) < 0);
	}
	buf_fini(&file);
	munmap(was, BYTES);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(comes_back), cmocka_unit_test(altered_and_truncated)};
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/memory", dir);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path), rmdir(dir);
	return failed;
}
