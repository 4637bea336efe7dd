// SPDX-License-Identifier: Apache-2.0
// Requests as a guest's kernel makes them, and as it never would.
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
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
#include "base/own.h"
#include "fuse.h"

static uint8_t in[FUSE_REQUEST_MAX], out[FUSE_REQUEST_MAX + 64];
static char dir[64];

static struct fuse *share(bool read_only)
{
	strcpy(dir, "/tmp/bh-share-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return fuse_new(open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), read_only);
}

static void end(struct fuse *f)
{
	fuse_free(f);
	dir_remove(dir, NULL);
}

/* Returns the answer's error. */
static int ask(struct fuse *f, uint32_t op, uint64_t node, const void *args, size_t args_len, const void *rest, size_t rest_len)
{
	struct fuse_in_header h = {.len = (uint32_t)(sizeof(h) + args_len + rest_len), .opcode = op, .unique = 7, .nodeid = node,
				   .uid = getuid(), .gid = getgid()};
	struct fuse_out_header o;
	memcpy(in, &h, sizeof(h));
	if (args_len)
		memcpy(in + sizeof(h), args, args_len);
	if (rest_len)
		memcpy(in + sizeof(h) + args_len, rest, rest_len);
	ssize_t n = fuse_answer(f, in, h.len, out);
	assert_true(n >= (ssize_t)sizeof(o));
	memcpy(&o, out, sizeof(o));
	assert_int_equal(o.len, n);
	assert_int_equal(o.unique, 7);
	return o.error;
}

#define ANSWER(type) (*(type *)memcpy(&(type){0}, out + sizeof(struct fuse_out_header), sizeof(type)))

static uint64_t lookup(struct fuse *f, uint64_t parent, const char *name)
{
	return ask(f, FUSE_LOOKUP, parent, NULL, 0, name, strlen(name) + 1) ? 0 : ANSWER(struct fuse_entry_out).nodeid;
}

static void test_write_and_read(void **state)
{
	(void)state;
	struct fuse *f = share(false);
	struct fuse_create_in c = {.flags = O_RDWR, .mode = S_IFREG | 0640};
	assert_int_equal(ask(f, FUSE_CREATE, 1, &c, sizeof(c), "a", 2), 0);
	struct fuse_open_out opened;
	memcpy(&opened, out + sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out), sizeof(opened));
	struct fuse_write_in w = {.fh = opened.fh, .size = 5};
	uint64_t node = ANSWER(struct fuse_entry_out).nodeid;
	assert_int_equal(ask(f, FUSE_WRITE, node, &w, sizeof(w), "hello", 5), 0);
	struct fuse_read_in r = {.fh = opened.fh, .size = 100};
	assert_int_equal(ask(f, FUSE_READ, node, &r, sizeof(r), NULL, 0), 0);
	assert_memory_equal(out + sizeof(struct fuse_out_header), "hello", 5);
	struct fuse_release_in rel = {.fh = opened.fh};
	assert_int_equal(ask(f, FUSE_RELEASE, node, &rel, sizeof(rel), NULL, 0), 0);
	assert_int_equal(ask(f, FUSE_READ, node, &r, sizeof(r), NULL, 0), -EINVAL);
	struct fuse_setattr_in s = {.valid = FATTR_SIZE | FATTR_MODE, .size = 2, .mode = 0600};
	assert_int_equal(ask(f, FUSE_SETATTR, node, &s, sizeof(s), NULL, 0), 0);
	assert_int_equal(ANSWER(struct fuse_attr_out).attr.size, 2);
	assert_int_equal(lookup(f, 1, "a"), node);
	end(f);
}

static void test_folders(void **state)
{
	(void)state;
	struct fuse *f = share(false);
	struct fuse_mkdir_in m = {.mode = 0755};
	assert_int_equal(ask(f, FUSE_MKDIR, 1, &m, sizeof(m), "d", 2), 0);
	uint64_t d = ANSWER(struct fuse_entry_out).nodeid;
	assert_int_equal(ask(f, FUSE_SYMLINK, d, NULL, 0, "l\0/etc/passwd", 14), 0);
	uint64_t l = ANSWER(struct fuse_entry_out).nodeid;
	assert_int_equal(ask(f, FUSE_READLINK, l, NULL, 0, NULL, 0), 0);
	assert_memory_equal(out + sizeof(struct fuse_out_header), "/etc/passwd", 11);
	struct fuse_open_in o = {.flags = O_RDONLY};
	assert_int_equal(ask(f, FUSE_OPEN, l, &o, sizeof(o), NULL, 0), -ENXIO);   // a link is never followed here
	assert_int_equal(ask(f, FUSE_OPENDIR, d, &o, sizeof(o), NULL, 0), 0);
	struct fuse_read_in r = {.fh = ANSWER(struct fuse_open_out).fh, .size = 4096};
	assert_int_equal(ask(f, FUSE_READDIR, d, &r, sizeof(r), NULL, 0), 0);
	assert_non_null(memmem(out, 4096, "l", 1));
	struct fuse_rename_in rn = {.newdir = 1};
	assert_int_equal(ask(f, FUSE_RENAME, d, &rn, sizeof(rn), "l\0moved", 8), 0);
	assert_int_equal(ask(f, FUSE_RMDIR, 1, NULL, 0, "d", 2), 0);
	assert_int_equal(ask(f, FUSE_UNLINK, 1, NULL, 0, "moved", 6), 0);
	struct fuse_forget_in forget = {.nlookup = 1};
	struct fuse_in_header h = {.len = sizeof(h) + sizeof(forget), .opcode = FUSE_FORGET, .nodeid = l};
	memcpy(in, &h, sizeof(h));
	memcpy(in + sizeof(h), &forget, sizeof(forget));
	assert_int_equal(fuse_answer(f, in, h.len, out), 0);
	assert_int_equal(ask(f, FUSE_GETATTR, l, NULL, 0, NULL, 0), -ESTALE);
	end(f);
}

static void test_nothing_leads_out(void **state)
{
	(void)state;
	struct fuse *f = share(false);
	static const char *const names[] = {"..", ".", "", "a/b", "/etc", "../x"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(ask(f, FUSE_LOOKUP, 1, NULL, 0, names[i], strlen(names[i]) + 1), -EINVAL);
	assert_int_equal(ask(f, FUSE_LOOKUP, 1, NULL, 0, "no end", 6), -EINVAL);
	assert_int_equal(ask(f, FUSE_LOOKUP, 99, NULL, 0, "x", 2), -ESTALE);
	struct fuse_mknod_in dev = {.mode = S_IFBLK | 0600, .rdev = 0x800};
	assert_int_equal(ask(f, FUSE_MKNOD, 1, &dev, sizeof(dev), "sda", 4), -EPERM);
	struct fuse_read_in r = {.fh = 12345, .size = UINT32_MAX, .offset = UINT64_MAX};
	assert_int_equal(ask(f, FUSE_READ, 1, &r, sizeof(r), NULL, 0), -EINVAL);
	assert_int_equal(ask(f, FUSE_WRITE, 1, &r, 4, NULL, 0), -EINVAL);
	assert_int_equal(ask(f, 60000, 1, NULL, 0, NULL, 0), -ENOSYS);
	assert_int_equal(fuse_answer(f, in, 8, out), -EPROTO);
	end(f);
}

static void test_read_only(void **state)
{
	(void)state;
	struct fuse *f = share(true);
	struct fuse_mkdir_in m = {.mode = 0755};
	assert_int_equal(ask(f, FUSE_MKDIR, 1, &m, sizeof(m), "d", 2), -EROFS);
	char path[80];
	snprintf(path, sizeof(path), "%s/x", dir);
	close(open(path, O_WRONLY | O_CREAT, 0644));
	uint64_t x = lookup(f, 1, "x");
	struct fuse_open_in o = {.flags = O_WRONLY};
	assert_int_equal(ask(f, FUSE_OPEN, x, &o, sizeof(o), NULL, 0), -EROFS);
	o.flags = O_RDONLY;
	assert_int_equal(ask(f, FUSE_OPEN, x, &o, sizeof(o), NULL, 0), 0);
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_write_and_read), cmocka_unit_test(test_folders),
					   cmocka_unit_test(test_nothing_leads_out), cmocka_unit_test(test_read_only)};
	return cmocka_run_group_tests_name("share/fuse", tests, NULL, NULL);
}
