// SPDX-License-Identifier: Apache-2.0
#include "oci.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "user.h"

static const char minimal[] = "{\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\",\"env\":[\"A=1\",\"B=2\"]}}";

static void expect_refused(const char *text, const char *sentence)
{
	struct err e = ERR_INIT;
	assert_null(oci_parse(text, &e));
	assert_int_equal(e.code, EINVAL);
	if (sentence)
		assert_string_equal(e.text, sentence);
}

static void test_refused(void **state)
{
	(void)state;
	expect_refused("{", NULL);
	expect_refused("[]", "oci_config is not an object");
	expect_refused("{}", "oci_config has no process");
	expect_refused("{\"process\":{\"args\":[],\"cwd\":\"/\"}}",
		       "oci_config: process.args must be an array of strings, at least one");
	expect_refused("{\"process\":{\"args\":[1],\"cwd\":\"/\"}}",
		       "oci_config: process.args must be an array of strings, at least one");
	expect_refused("{\"process\":{\"args\":[\"\"],\"cwd\":\"/\"}}", "oci_config: process.args starts with an empty string");
	expect_refused("{\"process\":{\"args\":[\"a\"],\"cwd\":\"b\"}}",
		       "oci_config: process.cwd must be an absolute path, not 'b'");
	expect_refused("{\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\"env\":[1]}}",
		       "oci_config: process.env must be an array of strings");
	expect_refused("{\"process\":{\"args\":[\"a\"],\"cwd\":\"/\"},\"linux\":[]}", "oci_config: linux must be an object");
	expect_refused("{\"process\":{\"args\":[\"a\"],\"cwd\":\"/\"},\"mounts\":{}}", "oci_config: mounts must be an array");
}

static json_t *complete(const char *text, const struct oci_plan *plan)
{
	struct err e = ERR_INIT;
	json_t *c = oci_parse(text, &e);
	assert_non_null(c);
	assert_int_equal(oci_complete(c, plan, &e), 0);
	return c;
}

static void test_filled_in(void **state)
{
	(void)state;
	struct user u = {.uid = 7, .gid = 8, .groups = {8, 9}, .groups_count = 2};
	struct oci_plan p = {.rootfs = "/r", .cgroup = "/pod/x", .user = &u, .terminal = true};
	json_t *c = complete("{\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\"},\"hostname\":\"h\",\"root\":{\"readonly\":true},"
			     "\"linux\":{\"namespaces\":[{\"type\":\"network\"},{\"type\":\"user\"}]}}", &p);
	assert_string_equal(jpath_str(c, "root.path", ""), "/r");
	assert_true(jpath_bool(c, "root.readonly", false));
	assert_true(jpath_bool(c, "process.terminal", false));
	assert_int_equal(jpath_int(c, "process.user.uid", -1), 7);
	assert_int_equal(json_array_size(jpath_get(c, "process.user.additionalGids")), 2);
	assert_string_equal(jpath_str(c, "linux.cgroupsPath", ""), "/pod/x");
	assert_string_equal(jpath_str(c, "linux.personality.domain", ""), "LINUX");
	assert_int_equal(jpath_int(c, "process.oomScoreAdj", -1), 0);
	assert_null(json_object_get(c, "hostname"));
	assert_int_equal(json_array_size(jpath_get(c, "linux.namespaces")), 3);   // pid, mount, cgroup
	assert_string_equal(json_string_value(json_object_get(jpath_get(c, "linux.resources.unified"), "memory.oom.group")), "1");
	json_decref(c);
}

static void test_shared_processes(void **state)
{
	(void)state;
	struct oci_plan p = {.rootfs = "/r", .cgroup = "/c", .shared_pids = true, .pid_namespace = "/proc/9/ns/pid"};
	json_t *c = complete(minimal, &p);
	assert_string_equal(jpath_str(json_array_get(jpath_get(c, "linux.namespaces"), 0), "path", ""), "/proc/9/ns/pid");
	json_decref(c);
}

static const char *destination(const json_t *c, size_t i)
{
	return jpath_str(json_array_get(json_object_get(c, "mounts"), i), "destination", "");
}

static void test_mounts_from_the_outside_in(void **state)
{
	(void)state;
	const struct oci_mount mounts[] = {{.source = "/1", .destination = "/a/b/c", .propagation = ""},
					   {.source = "/2", .destination = "/a", .propagation = "rslave", .read_only = true},
					   {.source = "/3", .destination = "/dev/shm", .propagation = ""}};
	struct oci_plan p = {.rootfs = "/r", .cgroup = "/c", .mounts = mounts, .mounts_count = 3};
	json_t *c = complete("{\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\"},\"mounts\":[{\"destination\":\"/dev\"},"
			     "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\"},{\"destination\":\"/proc\"}]}", &p);
	assert_int_equal(json_array_size(json_object_get(c, "mounts")), 5);
	assert_string_equal(destination(c, 0), "/dev");
	assert_string_equal(destination(c, 1), "/proc");
	assert_string_equal(destination(c, 2), "/a");
	assert_string_equal(destination(c, 3), "/dev/shm");
	assert_string_equal(destination(c, 4), "/a/b/c");
	const json_t *a = json_array_get(json_object_get(c, "mounts"), 2);
	assert_string_equal(json_string_value(json_array_get(json_object_get(a, "options"), 1)), "ro");
	assert_string_equal(json_string_value(json_array_get(json_object_get(a, "options"), 2)), "rslave");
	assert_string_equal(jpath_str(c, "linux.rootfsPropagation", ""), "rslave");
	json_decref(c);
}

static void test_devices(void **state)
{
	(void)state;
	const struct oci_device d = {.path = "/dev/x", .major = 254, .minor = 16, .read_only = true};
	struct oci_plan p = {.rootfs = "/r", .cgroup = "/c", .devices = &d, .devices_count = 1};
	json_t *c = complete(minimal, &p);
	assert_int_equal(jpath_int(json_array_get(jpath_get(c, "linux.devices"), 0), "major", 0), 254);
	assert_string_equal(jpath_str(json_array_get(jpath_get(c, "linux.resources.devices"), 0), "access", ""), "r");
	json_decref(c);
}

static void test_exec(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	json_t *c = oci_parse(minimal, &e);
	char *argv[] = {"ls", "-l"}, *env[] = {"B=3", "C=4"}, *bad[] = {"\xff"};
	json_t *x = oci_exec_process(c, argv, 2, env, 2, true, &e);
	char *text = json_dumps(json_object_get(x, "env"), JSON_COMPACT);
	assert_string_equal(text, "[\"A=1\",\"B=3\",\"C=4\",\"TERM=xterm\"]");
	free(text);
	assert_int_equal(json_array_size(json_object_get(x, "args")), 2);
	assert_true(jpath_bool(x, "terminal", false));
	assert_int_equal(json_array_size(jpath_get(c, "process.env")), 2);   // the container's own is untouched
	json_decref(x);
	assert_null(oci_exec_process(c, bad, 1, NULL, 0, false, &e));
	assert_int_equal(e.code, EINVAL);
	assert_null(oci_exec_process(c, argv, 2, argv, 1, false, &e));       // no NAME=VALUE
	json_decref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_filled_in),
					   cmocka_unit_test(test_shared_processes),
					   cmocka_unit_test(test_mounts_from_the_outside_in), cmocka_unit_test(test_devices),
					   cmocka_unit_test(test_exec)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
