// SPDX-License-Identifier: Apache-2.0
#include "user.h"

#include <errno.h>
#include <fcntl.h>
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

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "broken line\n"
			     ":x:5:5::/:\n"
			     "nan:x:abc:1::/:\n"
			     "web:x:1000:1001:Web:/home/web:/bin/sh\n"
			     "1000:x:7:8:a name of digits:/:\n"
			     "last:x:2147483647:1:no newline:/:";
static const char group[] = "root:x:0:\nweb:x:1001:root\nextra:x:2000:other,web\nmore:x:2001:web,\nbad:x:99999999999:web\n";

static void expect(const char *spec, uint32_t uid, uint32_t gid, size_t groups, uint32_t first)
{
	struct user u;
	struct err e = ERR_INIT;
	assert_int_equal(user_find_in(passwd, group, spec, true, &u, &e), 0);
	assert_int_equal(u.uid, uid);
	assert_int_equal(u.gid, gid);
	assert_int_equal(u.groups_count, groups);
	if (groups)
		assert_int_equal(u.groups[0], first);
}

static void expect_error(const char *spec, int code, const char *text)
{
	struct user u;
	struct err e = ERR_INIT;
	assert_int_equal(user_find_in(passwd, group, spec, true, &u, &e), -code);
	assert_string_equal(e.text, text);
}

static void test_names_and_numbers(void **state)
{
	(void)state;
	expect("root", 0, 0, 1, 1001);
	expect("web", 1000, 1001, 2, 2000);
	expect("last", 2147483647, 1, 0, 0);
	expect("1000", 7, 8, 0, 0);          // a name goes before a number
	expect("0", 0, 0, 1, 1001);
	expect("4242", 4242, 0, 0, 0);       // a number need not be listed
	expect("web:extra", 1000, 2000, 2, 2000);
	expect("4242:4343", 4242, 4343, 0, 0);
	expect("0:0", 0, 0, 1, 1001);
	struct user u;
	assert_int_equal(user_find_in(passwd, group, "web", false, &u, NULL), 0);
	assert_int_equal(u.gid, 1001);
	assert_int_equal(u.groups_count, 0);
}

static void test_refused(void **state)
{
	(void)state;
	expect_error("nobody", ENOENT, "unable to find user nobody: no matching entries in passwd file");
	expect_error("nan", ENOENT, "unable to find user nan: no matching entries in passwd file");
	expect_error("web:none", ENOENT, "unable to find group none: no matching entries in group file");
	expect_error("web:", EINVAL, "'web:' is not a user: expected USER or USER:GROUP");
	expect_error(":web", EINVAL, "':web' is not a user: expected USER or USER:GROUP");
	expect_error("-1", ENOENT, "unable to find user -1: no matching entries in passwd file");
	expect_error("4294967296", ENOENT, "unable to find user 4294967296: no matching entries in passwd file");
	expect_error("2147483648", ENOENT, "unable to find user 2147483648: no matching entries in passwd file");
}

static void test_image_without_files(void **state)
{
	(void)state;
	struct user u;
	assert_int_equal(user_find_in(NULL, NULL, "12:34", true, &u, NULL), 0);
	assert_int_equal(u.gid, 34);
	assert_int_equal(user_find_in(NULL, NULL, "web", true, &u, NULL), -ENOENT);
}

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

/* An image whose /etc/passwd is a link out of it, a pipe, or too large. */
static void test_hostile_image(void **state)
{
	(void)state;
	char dir[] = "/tmp/bh-user-XXXXXX", path[256];
	struct user u;
	struct err e = ERR_INIT;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/etc", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	write_text(dir, "real", "inside:x:5:6::/:\n");
	snprintf(path, sizeof(path), "%s/etc/passwd", dir);
	assert_int_equal(symlink("/../../../../real", path), 0);      // means the image's own /real
	assert_int_equal(user_find(dir, "inside", true, &u, &e), 0);
	assert_int_equal(u.uid, 5);
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);            // a loop, inside
	assert_int_equal(user_find(dir, "root", true, &u, &e), -ELOOP);
	unlink(path);
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_int_equal(user_find(dir, "root", true, &u, &e), -EINVAL);
	unlink(path);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 1 << 30), 0);
	close(fd);
	assert_int_equal(user_find(dir, "root", true, &u, &e), -EFBIG);
	dir_remove(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_and_numbers), cmocka_unit_test(test_refused),
					   cmocka_unit_test(test_image_without_files), cmocka_unit_test(test_hostile_image)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
