// SPDX-License-Identifier: Apache-2.0
#include "volume_files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/own.h"

static char dir[] = "/tmp/bh-files-XXXXXX";

/* path, text, path, text..., NULL */
static int put(struct err *e, ...)
{
	Bulkhead__Agent__WriteVolume w = BULKHEAD__AGENT__WRITE_VOLUME__INIT;
	Bulkhead__Agent__VolumeFile files[8], *list[8];
	va_list ap;
	va_start(ap, e);
	for (char *path; (path = va_arg(ap, char *));) {
		char *text = va_arg(ap, char *);
		Bulkhead__Agent__VolumeFile *f = &files[w.n_files];
		bulkhead__agent__volume_file__init(f);
		f->path = path, f->mode = 0640;
		f->data = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
		list[w.n_files++] = f;
	}
	va_end(ap);
	w.files = list;
	return volume_files_write(dir, &w, e);
}

static void expect(const char *name, const char *text)
{
	char path[256];
	own_buf struct buf b = BUF_INIT;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int rc = file_read(path, 1000, &b, NULL);
	if (!text) {
		assert_int_equal(rc, -ENOENT);
	} else {
		assert_int_equal(rc, 0);
		assert_string_equal(b.data ? b.data : "", text);
	}
}

static int entries(void)
{
	own_dir DIR *d = opendir(dir);
	int n = 0;
	while (d && readdir(d))
		n++;
	return n - 2;
}

static void test_replaced_as_a_whole(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct stat st;
	char path[256];
	assert_int_equal(put(&e, "a", "1", "sub/b", "2", "sub/deep/c", "3", NULL), 0);
	expect("a", "1");
	expect("sub/b", "2");
	expect("sub/deep/c", "3");
	assert_int_equal(entries(), 4);   // ..data, its folder, a, sub
	snprintf(path, sizeof(path), "%s/a", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(put(&e, "a", "new", "other", "", NULL), 0);
	expect("a", "new");
	expect("other", "");
	expect("sub/b", NULL);
	assert_int_equal(entries(), 4);
	assert_int_equal(put(&e, NULL), 0);
	assert_int_equal(entries(), 2);
}

static void test_refused_paths_change_nothing(void **state)
{
	(void)state;
	static char *const bad[] = {"/etc/x", "../x", "a/../../x", "..", "..x", "", "a//b", "a/", "./a", "a/."};
	struct err e = ERR_INIT;
	assert_int_equal(put(&e, "a", "kept", NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(put(&e, "good", "1", bad[i], "2", NULL), -EINVAL);
		expect("a", "kept");
		expect("good", NULL);
	}
	assert_int_equal(put(&e, "twice", "1", "twice", "2", NULL), -EEXIST);
	assert_int_equal(put(&e, "f", "1", "f/g", "2", NULL), -ENOTDIR);
	expect("a", "kept");
	assert_int_equal(entries(), 3);
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
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_replaced_as_a_whole),
					   cmocka_unit_test(test_refused_paths_change_nothing)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
