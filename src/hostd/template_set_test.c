// SPDX-License-Identifier: Apache-2.0
// Working sets, links to memory images, and keys of templates.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "template_image.h"
#include "template_key.h"
#include "template_link.h"
#include "template_set.h"

#define PAGES 1024
#define BYTES (PAGES * 4096ul)

static char dir[] = "/tmp/bh-template-set-XXXXXX";

static char *in(const char *name)
{
	static char path[8][128];
	static int n;
	n = (n + 1) % 8;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return path[n];
}

static int memory(const unsigned *pages, size_t count, char fill)
{
	char page[4096];
	int fd = memfd_create("test", MFD_CLOEXEC);
	memset(page, fill, sizeof(page));
	assert_int_equal(ftruncate(fd, BYTES), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(pwrite(fd, page, sizeof(page), pages[i] * 4096l), 4096);
	return fd;
}

static bool has(int fd, unsigned page) { return lseek(fd, page * 4096l, SEEK_DATA) == page * 4096l; }

static void most_decide(void **state)
{
	(void)state;
	struct template_set s = TEMPLATE_SET_INIT, again = TEMPLATE_SET_INIT;
	struct err e = ERR_INIT;
	int image = memory((unsigned[]){1, 2, 3, 1000, 1023}, 5, 'i');
	int a = memory((unsigned[]){1, 2, 7}, 3, 'a'), b = memory((unsigned[]){2, 3, 7, 1023}, 4, 'b'), c = memory((unsigned[]){1, 2, 1023}, 3, 'c');
	assert_int_equal(template_set_count(&s), 0);
	assert_int_equal(template_set_sample(&s, in("set"), PAGES, image, a, &e), 0);
	assert_int_equal(template_set_count(&s), 2);                    // 7 is zeros in the image: nothing to bring
	assert_int_equal(template_set_sample(&s, in("set"), PAGES, image, b, &e), 0);
	assert_int_equal(template_set_sample(&s, in("set"), PAGES, image, c, &e), 0);
	assert_int_equal(template_set_count(&s), 3);                    // 1, 2, 1023: two of three, or all
	char page[4096];
	assert_true(has(s.fd, 1) && has(s.fd, 2) && has(s.fd, 1023) && !has(s.fd, 3) && !has(s.fd, 7));
	assert_int_equal(pread(s.fd, page, 4096, 1023 * 4096l), 4096);
	assert_int_equal(page[17], 'i');                                // the template's bytes, not a clone's
	assert_true(pwrite(s.fd, "x", 1, 0) < 0);
	template_set_read(&again, in("set"), PAGES, image);
	assert_int_equal(again.samples, 3);
	assert_int_equal(template_set_count(&again), 3);
	template_set_clear(&again);
	template_set_clear(&s);
	close(a), close(b), close(c), close(image);
}

static void a_bad_record_is_left_alone(void **state)
{
	(void)state;
	struct template_set s = TEMPLATE_SET_INIT;
	int image = memory((unsigned[]){1}, 1, 'i');
	char text[sizeof(uint32_t) * 2 + 8 + PAGES] = "";
	template_set_read(&s, in("none"), PAGES, image);
	assert_int_equal(file_replace(in("set"), "PWS1", 4, 0600, NULL), 0);
	template_set_read(&s, in("set"), PAGES, image);
	assert_int_equal(file_replace(in("set"), text, sizeof(text), 0600, NULL), 0);
	template_set_read(&s, in("set"), PAGES, image);
	assert_int_equal(template_set_count(&s), 0);
	assert_int_equal(s.fd, -1);
	template_set_clear(&s);
	close(image);
}

static void a_link_outlives_its_template(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct template_image_stats st;
	char digest[DIGEST_MAX], page[4096];
	uint64_t bytes = 0;
	int image = memory((unsigned[]){5}, 1, 'z');
	assert_int_equal(template_image_write(image, in("memory"), digest, &st, &e), 0);
	assert_int_equal(template_linked(in("vm"), &bytes, &e), -ENOENT);
	assert_int_equal(template_link(in("vm"), in("memory"), digest, BYTES, &e), 0);
	assert_int_equal(unlink(in("memory")), 0);
	int fd = template_linked(in("vm"), &bytes, &e), other = template_linked(in("vm"), &bytes, &e);
	struct stat s, o;
	assert_true(fd >= 0 && other >= 0);
	assert_int_equal(bytes, BYTES);
	assert_int_equal(fstat(fd, &s), 0);
	assert_int_equal(fstat(other, &o), 0);
	assert_int_equal(s.st_ino, o.st_ino);                           // one copy for all
	assert_int_equal(pread(fd, page, 4096, 5 * 4096), 4096);
	assert_int_equal(page[4095], 'z');
	close(fd), close(other);
	template_memory_forget(digest);
	assert_int_equal(file_replace(in("vm/template-memory"), "other", 5, 0600, &e), 0);
	assert_int_equal(template_linked(in("vm"), &bytes, &e), -EBADMSG);
	template_unlink(in("vm"));
	assert_int_equal(template_linked(in("vm"), &bytes, &e), -ENOENT);
	rmdir(in("vm"));
	close(image);
}

static void every_input_counts(void **state)
{
	(void)state;
	struct template_key k;
	struct err e = ERR_INIT;
	char first[DIGEST_MAX], same[DIGEST_MAX], other[DIGEST_MAX];
	char vmx[128];
	struct host h = {.guest_dir = dir, .vmx_path = vmx, .engine = "kvm"};
	snprintf(vmx, sizeof(vmx), "%s", in("vmx"));
	const char *const files[] = {"vmlinux", "initramfs.cpio", "vmx"};
	for (int i = 0; i < 3; i++)
		assert_int_equal(file_replace(in(files[i]), files[i], 3, 0600, &e), 0);
	template_key_init(&k);
	assert_int_equal(template_key(&k, &h, 1, 256, first, &e), 0);
	assert_int_equal(template_key(&k, &h, 1, 256, same, &e), 0);
	assert_string_equal(first, same);
	assert_int_equal(template_key(&k, &h, 2, 256, other, &e), 0);
	assert_string_not_equal(first, other);
	assert_int_equal(template_key(&k, &h, 1, 384, other, &e), 0);
	assert_string_not_equal(first, other);
	h.engine = "qemu";
	assert_int_equal(template_key(&k, &h, 1, 256, other, &e), 0);
	assert_string_not_equal(first, other);
	h.engine = "kvm";
	k.cpu[0] = k.cpu[0] == 'a' ? 'b' : 'a';        // digest of another processor's model and flags
	assert_int_equal(template_key(&k, &h, 1, 256, other, &e), 0);
	assert_string_not_equal(first, other);
	k.cpu[0] = '\0';                               // looks again
	assert_int_equal(template_key(&k, &h, 1, 256, other, &e), 0);
	assert_string_equal(first, other);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(file_replace(in(files[i]), "changed", 7, 0600, &e), 0);
		assert_int_equal(template_key(&k, &h, 1, 256, other, &e), 0);
		assert_string_not_equal(first, other);
		strcpy(first, other);
	}
	for (int i = 0; i < 3; i++)
		unlink(in(files[i]));
	assert_int_equal(template_key(&k, &h, 1, 256, other, &e), -ENOENT);
}

static int teardown(void **state)
{
	(void)state;
	return dir_remove(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(most_decide), cmocka_unit_test(a_bad_record_is_left_alone),
					   cmocka_unit_test(a_link_outlives_its_template), cmocka_unit_test(every_input_counts)};
	return mkdtemp(dir) ? cmocka_run_group_tests(tests, NULL, teardown) : 1;
}
