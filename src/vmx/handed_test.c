// SPDX-License-Identifier: Apache-2.0
// Which of the files handed over the disk library gets.
#include "handed.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bulkhead/disk.h"

static char data[] = "/tmp/bulkhead-handed-test-XXXXXX";

static int setup(void **state)
{
	struct handed *h = calloc(1, sizeof(*h));
	strcpy(data + sizeof(data) - 7, "XXXXXX");
	int fd = mkstemp(data);
	assert_true(h && fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	h->file[h->count++] = (struct vmx_file){.path = strdup(data), .fd = fd};
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct handed *h = *state;
	for (unsigned i = 0; i < h->count; i++)
		close(h->file[i].fd);
	handed_fini(h);
	free(h);
	return unlink(data);
}

static void a_writable_one_once(void **state)
{
	int fd = handed_open(*state, data, true);
	assert_true(fd >= 0);
	assert_int_equal(handed_open(*state, data, true), -EBUSY);
	assert_int_equal(handed_open(*state, data, false), -EBUSY);
	assert_int_equal(handed_open(*state, "/elsewhere", false), -ENOENT);
	close(fd);
}

static void a_readable_one_often(void **state)
{
	struct handed *h = *state;
	close(h->file[0].fd);
	h->file[0].fd = open(data, O_RDONLY | O_CLOEXEC);
	assert_int_equal(handed_open(h, data, true), -EBUSY);
	for (int i = 0; i < 3; i++) {
		int fd = handed_open(h, data, false);
		assert_true(fd >= 0);
		close(fd);
	}
}

/* Two disks on one file in one message: the second is refused, as it would be outside the jail. */
static void two_disks_on_one_file(void **state)
{
	struct bh_disk_attr rd = {.mode = BH_DISK_RDONLY};
	struct bh_disk *d = NULL, *second = NULL;
	struct err e = ERR_INIT;
	bh_disk_set_opener(handed_open, *state);
	assert_int_equal(bh_disk_open(data, NULL, &d, &e), 0);
	assert_int_equal(bh_disk_open(data, NULL, &second, &e), -EBUSY);
	assert_int_equal(bh_disk_open(data, &rd, &second, &e), -EBUSY);
	bh_disk_set_opener(NULL, NULL);
	assert_int_equal(bh_disk_close(d, &e), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(a_writable_one_once), T(a_readable_one_often), T(two_disks_on_one_file)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
