// SPDX-License-Identifier: Apache-2.0
#include "rootfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char dir[] = "/tmp/bh-rootfs-XXXXXX";

static int open_path(const char *path)
{
	struct err e = ERR_INIT;
	int fd = rootfs_open_beneath(dir, path, &e);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static void make_link(const char *to, const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(symlink(to, path), 0);
}

static void expect_dir(const char *name)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
}

static void test_made_when_missing(void **state)
{
	(void)state;
	assert_int_equal(open_path("a/b//c/"), 0);
	expect_dir("a/b/c");
	assert_int_equal(open_path("a"), 0);
	assert_int_equal(open_path("."), 0);
}

static void test_mode_of_the_volume(void **state)
{
	(void)state;
	struct stat st;
	char path[256];
	assert_int_equal(chmod(dir, 0775), 0);
	mode_t mask = umask(077);
	assert_int_equal(open_path("shared/by/all"), 0);
	umask(mask);
	snprintf(path, sizeof(path), "%s/shared/by/all", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0775);
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_links_inside(void **state)
{
	(void)state;
	assert_int_equal(open_path("x/y"), 0);
	make_link("x", "inside");
	make_link("../x", "x/up");
	assert_int_equal(open_path("inside/y"), 0);
	assert_int_equal(open_path("x/up/new"), 0);
	expect_dir("x/new");
}

static void test_escapes(void **state)
{
	(void)state;
	make_link("/tmp", "absolute");
	make_link("../..", "dots");
	assert_int_equal(open_path("absolute"), -EINVAL);
	assert_int_equal(open_path("absolute/bh-rootfs-escaped"), -EINVAL);
	assert_int_equal(open_path("dots/bh-rootfs-escaped"), -EINVAL);
	assert_int_equal(access("/tmp/bh-rootfs-escaped", F_OK), -1);
	assert_int_equal(open_path(".."), -EINVAL);
	assert_int_equal(open_path("a/../../b"), -EINVAL);
	assert_int_equal(open_path("/a"), -EINVAL);
	assert_int_equal(open_path("..a"), 0);
}

static void test_file_in_the_way(void **state)
{
	(void)state;
	char path[256];
	snprintf(path, sizeof(path), "%s/file", dir);
	assert_int_equal(file_write_atomic(path, "text", 4, 0644, NULL), 0);
	assert_int_equal(open_path("file"), 0);        // a sub path may be a file
	assert_int_equal(open_path("file/sub"), -ENOTDIR);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return dir_remove(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_made_when_missing), cmocka_unit_test(test_mode_of_the_volume),
					   cmocka_unit_test(test_links_inside), cmocka_unit_test(test_escapes), cmocka_unit_test(test_file_in_the_way)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
