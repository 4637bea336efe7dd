// SPDX-License-Identifier: Apache-2.0
// What the tests of disks share: a folder of their own in memory, paths in it, calls that must succeed.
// Include after <cmocka.h>.
#ifndef BH_DISK_TEST_DISK_H
#define BH_DISK_TEST_DISK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"

#define ok(call, e) do { int rc_ = (call); if (rc_ < 0) fail_msg("%s: %d %s", #call, rc_, (e).text); } while (0)

static char dir[64];

__attribute__((unused)) static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/dev/shm/bh-disk-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

__attribute__((unused)) static int remove_dir(void **state)
{
	(void)state;
	return dir_remove(dir, NULL);
}

/* Good until the fourth call from now. */
__attribute__((unused)) static const char *at(const char *name)
{
	static char path[4][128];
	static unsigned n;
	char *p = path[n++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

#endif
