// SPDX-License-Identifier: Apache-2.0
// Where a VM's control groups go. That limits are there and hold is shown end to end (tests/e2e/pod.bats and the lab).
#include "vm_cgroup.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char hybrid[] =
	"25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw\n"
	"32 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
	"36 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct\n"
	"37 25 0:32 / /sys/fs/cgroup/cpuset rw,nosuid - cgroup cgroup rw,cpuset\n"
	"38 25 0:33 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n";
static const char hybrid_own[] = "9:memory:/system.slice/hostd\n7:cpu,cpuacct:/\n3:cpuset:/x\n0::/system.slice/hostd\n";

static const char unified[] = "30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

static void expect(const char *mounts, const char *own, const char *controller, const char *at, int version)
{
	char out[PATH_MAX] = "";
	int v = 0;
	assert_int_equal(vm_cgroup_place(mounts, own, controller, out, sizeof(out), &v), 0);
	assert_string_equal(out, at);
	assert_int_equal(v, version);
}

static void version_1_goes_below_the_own_group(void **state)
{
	(void)state;
	expect(hybrid, hybrid_own, "memory", "/sys/fs/cgroup/memory/system.slice/hostd", 1);
	expect(hybrid, hybrid_own, "cpu", "/sys/fs/cgroup/cpu,cpuacct", 1);
}

static void a_controller_that_is_not_there_may_be_version_2(void **state)
{
	(void)state;
	expect(hybrid, hybrid_own, "pids", "/sys/fs/cgroup/unified/system.slice", 2);
}

static void version_2_goes_beside_the_own_group(void **state)
{
	(void)state;
	expect(unified, "0::/system.slice/hostd.service\n", "memory", "/sys/fs/cgroup/system.slice", 2);
	expect(unified, "0::/hostd.service\n", "cpu", "/sys/fs/cgroup", 2);
	expect(unified, "0::/\n", "pids", "/sys/fs/cgroup", 2);
}

static void a_mount_may_begin_inside_the_hierarchy(void **state)
{
	(void)state;
	expect("38 25 0:33 /docker/ab12 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/ab12/x\n", "memory",
	       "/sys/fs/cgroup/memory/x", 1);
	expect("38 25 0:33 /docker/ab12 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/ab12\n", "memory",
	       "/sys/fs/cgroup/memory", 1);
}

static void nothing_is_found_in_nonsense(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "\n", "x", " - ", "1 2 3 4 - cgroup2\n", "0::", "a:b", "1:memory", "::::\n"};
	char out[PATH_MAX];
	int v;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(vm_cgroup_place(texts[i], hybrid_own, "memory", out, sizeof(out), &v), -ENOENT);
		assert_int_equal(vm_cgroup_place(unified, texts[i], "memory", out, sizeof(out), &v), -ENOENT);
	}
	assert_int_equal(vm_cgroup_place(unified, "0::/a/b\n", "memory", out, 8, &v), -ENOENT);   // no room
}

static void a_name_is_one_component_and_ends_as_the_folder(void **state)
{
	(void)state;
	char out[64], dir[400];
	vm_cgroup_name("/var/lib/bulkhead/pods/u-1/vm", out, sizeof(out));
	assert_string_equal(out, "bulkhead-var-lib-bulkhead-pods-u-1-vm");
	memset(dir, 'a', sizeof(dir));
	memcpy(dir + sizeof(dir) - 8, "/u-2/vm", 8);
	dir[0] = '/';
	vm_cgroup_name(dir, out, sizeof(out));
	assert_true(strlen(out) < sizeof(out) && !strchr(out, '/'));
	assert_string_equal(out + strlen(out) - 7, "-u-2-vm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1_goes_below_the_own_group),
		cmocka_unit_test(a_controller_that_is_not_there_may_be_version_2),
		cmocka_unit_test(version_2_goes_beside_the_own_group),
		cmocka_unit_test(a_mount_may_begin_inside_the_hierarchy),
		cmocka_unit_test(nothing_is_found_in_nonsense),
		cmocka_unit_test(a_name_is_one_component_and_ends_as_the_folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
