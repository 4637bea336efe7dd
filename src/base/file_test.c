// SPDX-License-Identifier: Apache-2.0
#include "file.h"

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

static char dir[] = "/tmp/bh-file-test-XXXXXX";

static void test_write_read_replace(void **state)
{
	(void)state;
	char path[64];
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(file_write_atomic(path, "one", 3, 0600, &e), 0);
	assert_int_equal(file_write_atomic(path, "second", 6, 0640, &e), 0);
	assert_int_equal(file_read(path, 6, &b, &e), 0);
	assert_string_equal(b.data, "second");
	struct stat st;
	stat(path, &st);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_read(path, 5, &b, &e), -EFBIG);
	buf_fini(&b);
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(file_read(path, 5, &b, &e), -ENOENT);
	assert_non_null(strstr(e.text, path));
	buf_fini(&b);
}

static void test_dirs(void **state)
{
	(void)state;
	char path[96], link[96];
	struct err e = ERR_INIT;
	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	assert_int_equal(dir_make(path, 0700, &e), 0);
	assert_int_equal(dir_make(path, 0700, &e), 0);
	snprintf(link, sizeof(link), "%s/a/link", dir);
	assert_int_equal(symlink("/etc", link), 0);
	snprintf(path, sizeof(path), "%s/a", dir);
	assert_int_equal(dir_remove(path, &e), 0);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(dir_remove(path, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_write_read_replace), cmocka_unit_test(test_dirs)};
	if (!mkdtemp(dir))
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	return dir_remove(dir, NULL) ? 1 : rc;
}
