// SPDX-License-Identifier: Apache-2.0
// CNI with shell scripts as plug-ins: what they are given, in which order, and what is made of their answers.
#include "netw_cni.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/jpath.h"

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/netw_cni_test.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return dir_remove(dir, NULL);
}

static void plugin(const char *name, const char *script)
{
	char path[128], text[2048];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int n = snprintf(text, sizeof(text), "#!/bin/sh\nlog=%s/log\n%s\n", dir, script);
	assert_int_equal(file_write_atomic(path, text, (size_t)n, 0755, NULL), 0);
}

/* Appends to the log "NAME COMMAND IFNAME ARGS | input". */
#define LOGS "printf '%s %s %s %s | ' ${0##*/} $CNI_COMMAND $CNI_IFNAME \"$CNI_ARGS\" >>$log; cat >>$log; echo >>$log\n"

static const char *logged(void)
{
	static char text[4096];
	char path[128];
	struct buf b = BUF_INIT;
	snprintf(path, sizeof(path), "%s/log", dir);
	assert_int_equal(file_read(path, sizeof(text) - 1, &b, NULL), 0);
	snprintf(text, sizeof(text), "%s", b.data);
	buf_fini(&b);
	return text;
}

static struct cni_run run_of(const json_t *list, const json_t *runtime)
{
	return (struct cni_run){.bin = dir, .list = list, .runtime = runtime, .container_id = "c", .netns = "/run/netns/c",
				.ifname = "eth0", .args = "A=1"};
}

static void test_chain(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	json_t *list = json_loads("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"one\"},"
				  "{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true}},"
				  "{\"type\":\"two\",\"capabilities\":{\"portMappings\":true,\"bandwidth\":false}}]}", 0, NULL);
	json_t *runtime = json_loads("{\"bandwidth\":{},\"portMappings\":[1]}", 0, NULL), *none = json_object(), *result = NULL;
	plugin("one", LOGS "[ $CNI_COMMAND = DEL ] || echo '{\"one\":1}'");
	plugin("two", LOGS "[ $CNI_COMMAND = DEL ] || echo '{\"two\":2}'");
	plugin("portmap", LOGS "echo '{\"map\":3}'");
	struct cni_run r = run_of(list, runtime);
	assert_int_equal(cni_add(&r, &result, &e), 0);
	assert_int_equal(jpath_int(result, "two", 0), 2);
	assert_string_equal(logged(),
		"one ADD eth0 A=1 | {\"type\":\"one\",\"cniVersion\":\"1.0.0\",\"name\":\"n\"}\n"
		"portmap ADD eth0 A=1 | {\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true},\"cniVersion\":\"1.0.0\",\"name\":\"n\","
		"\"runtimeConfig\":{\"portMappings\":[1]},\"prevResult\":{\"one\":1}}\n"
		"two ADD eth0 A=1 | {\"type\":\"two\",\"capabilities\":{\"portMappings\":true,\"bandwidth\":false},\"cniVersion\":\"1.0.0\","
		"\"name\":\"n\",\"runtimeConfig\":{\"portMappings\":[1]},\"prevResult\":{\"map\":3}}\n");
	plugin("log", "");   // empty the log
	r.runtime = none;
	assert_int_equal(cni_del(&r, result, &e), 0);
	assert_null(strstr(logged(), "portmap"));   // nothing to map: not run
	assert_true(strstr(logged(), "two DEL") < strstr(logged(), "one DEL"));
	assert_non_null(strstr(logged(), "\"prevResult\":{\"two\":2}"));
	json_decref(result);
	json_decref(list);
	json_decref(runtime);
	json_decref(none);
}

static void test_failures(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	json_t *list = json_loads("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"one\"},{\"type\":\"two\"}]}", 0, NULL);
	json_t *none = json_object(), *result = NULL;
	struct cni_run r = run_of(list, none);
	plugin("one", "echo '{\"code\":11,\"msg\":\"no more room\",\"details\":\"really\"}'; exit 1");
	plugin("two", LOGS);
	assert_int_equal(cni_add(&r, &result, &e), -EIO);
	assert_string_equal(e.text, "plugin type=\"one\" failed (add): no more room; really");
	assert_null(result);
	plugin("one", "echo oops >&2; exit 3");
	assert_int_equal(cni_add(&r, &result, &e), -EIO);
	assert_string_equal(e.text, "plugin type=\"one\" failed (add): exit code 3: oops");
	plugin("one", "echo '[1]'");
	assert_int_equal(cni_add(&r, &result, &e), -EIO);
	assert_non_null(strstr(e.text, "printed no JSON object"));
	plugin("one", LOGS);
	plugin("two", LOGS "exit 1");
	assert_int_equal(cni_del(&r, NULL, &e), -EIO);
	assert_non_null(strstr(logged(), "one DEL"));   // all are tried
	json_decref(list);
	json_decref(none);
}

static void test_lists(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	static const char *bad[] = {
		"[]", "{}", "{\"cniVersion\":\"0.2.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}",
		"{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"a\"}]}", "{\"cniVersion\":\"1.0.0\",\"name\":\"../n\",\"plugins\":[{\"type\":\"a\"}]}",
		"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"bridge\"}", "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[]}",
		"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"../../bin/sh\"}]}", "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[3]}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		json_t *list = json_loads(bad[i], 0, NULL);
		assert_int_equal(cni_check_list(list, &e), -EINVAL);
		json_decref(list);
	}
	json_t *list = cni_default_list("bkh-a", "10.88.0.0/24", "/leases");
	assert_int_equal(cni_check_list(list, &e), 0);
	assert_int_equal(cni_check_plugins(list, dir, &e), -ENOENT);
	plugin("bridge", ""), plugin("portmap", ""), plugin("bandwidth", "");
	assert_int_equal(cni_check_plugins(list, dir, &e), -ENOENT);   // host-local is needed too
	assert_non_null(strstr(e.text, "host-local"));
	plugin("host-local", "");
	assert_int_equal(cni_check_plugins(list, dir, &e), 0);
	json_decref(list);
}

static void test_runtime(void **state)
{
	(void)state;
	struct netw_port ports[] = {{80, 8080, "tcp", ""}, {53, 53, "udp", "127.0.0.1"}};
	struct netw_pod_spec p = {.ports = ports, .ports_count = 2, .egress_bps = 5};
	json_t *r = cni_runtime(&p);
	char *text = json_dumps(r, JSON_COMPACT);
	assert_string_equal(text, "{\"portMappings\":[{\"hostPort\":80,\"containerPort\":8080,\"protocol\":\"tcp\"},"
		"{\"hostPort\":53,\"containerPort\":53,\"protocol\":\"udp\",\"hostIP\":\"127.0.0.1\"}],"
		"\"bandwidth\":{\"egressRate\":5,\"egressBurst\":2147483647}}");
	free(text);
	json_decref(r);
	r = cni_runtime(&(struct netw_pod_spec){0});
	assert_int_equal(json_object_size(r), 0);
	json_decref(r);
}

static int addresses(const char *text, struct netw_pod *p)
{
	json_t *j = json_loads(text, 0, NULL);
	int rc = cni_addresses(j, "eth0", p, NULL);
	json_decref(j);
	return rc;
}

static void test_addresses(void **state)
{
	(void)state;
	struct netw_pod p = {0};
	assert_int_equal(addresses("{\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\"}],\"ips\":["
		"{\"interface\":0,\"address\":\"10.0.0.1/24\"},{\"interface\":1,\"address\":\"10.0.0.5/24\",\"gateway\":\"10.0.0.1\"},"
		"{\"address\":\"fd00::5/64\",\"gateway\":\"fd00::1\"}]}", &p), 0);
	assert_int_equal(p.addrs_count, 2);
	assert_string_equal(p.addrs[0].address, "10.0.0.5");
	assert_int_equal(p.addrs[0].prefix_len, 24);
	assert_string_equal(p.addrs[0].gateway, "10.0.0.1");
	assert_string_equal(p.addrs[1].address, "fd00::5");
	static const char *bad[] = {
		"{}", "{\"ips\":[]}", "{\"ips\":[{}]}", "{\"ips\":[{\"address\":\"10.0.0.5\"}]}", "{\"ips\":[{\"address\":\"10.0.0.5/\"}]}",
		"{\"ips\":[{\"address\":\"10.0.0.5/33\"}]}", "{\"ips\":[{\"address\":\"10.0.0.5/2x\"}]}", "{\"ips\":[{\"address\":\"x/24\"}]}",
		"{\"ips\":[{\"address\":\"10.0.0.5/24\",\"gateway\":\"x\"}]}", "{\"ips\":[{\"address\":\"10.0.0.5/24\",\"interface\":9}]}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(addresses(bad[i], &p), -EINVAL);
	assert_int_equal(p.addrs_count, 2);   // untouched by failures
}

#define with_dir(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_dir(test_chain), with_dir(test_failures), with_dir(test_lists), cmocka_unit_test(test_runtime), cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
