// SPDX-License-Identifier: Apache-2.0
#include "streaming_params.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "streaming_status.h"

static struct streaming_params p;

static int add(const char *name, const char *value)
{
	struct err e = ERR_INIT;
	int rc = streaming_params_add(&p, name, value, &e);
	assert_true(!rc == !e.text[0]);
	return rc;
}

static int setup(void **state)
{
	(void)state;
	streaming_params_init(&p);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	streaming_params_fini(&p);
	return 0;
}

static void test_exec(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(streaming_params_check_exec(&p, &e), -EINVAL);
	assert_string_equal(e.text, "you must specify at least 1 of stdin, stdout, stderr");
	add("command", "sh");
	add("command", "");
	add("command", "a b&c");
	add("input", "1");
	add("stdout", "true");
	add("error", "1");
	add("unknown", "x");
	assert_int_equal(p.command_count, 3);
	assert_string_equal(p.command[2], "a b&c");
	assert_null(p.command[3]);
	assert_int_equal(streaming_params_check_exec(&p, &e), 0);
	assert_true(p.in && p.out && p.err && !p.tty);
	add("tty", "1");
	add("input", "0");
	assert_int_equal(streaming_params_check_exec(&p, &e), 0);
	assert_true(!p.in && p.out && !p.err && p.tty);
}

static void test_log(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(p.log.tail_lines, -1);
	assert_int_equal(add("tailLines", "10"), 0);
	assert_int_equal(p.log.tail_lines, 10);
	assert_int_equal(add("tailLines", "-1"), -EINVAL);
	assert_int_equal(add("tailLines", "1x"), -EINVAL);
	assert_int_equal(add("tailLines", ""), -EINVAL);
	assert_int_equal(add("tailLines", "99999999999999999999"), -EINVAL);
	assert_int_equal(add("limitBytes", "0"), -EINVAL);
	assert_int_equal(add("limitBytes", "1"), 0);
	assert_int_equal(add("sinceTime", "2026-11-22T13:33:49Z"), 0);
	assert_true(p.log.since_ns == 1795354429ull * NS_PER_S);
	assert_int_equal(add("sinceTime", "yesterday"), -EINVAL);
	assert_int_equal(add("sinceSeconds", "60"), 0);
	assert_true(p.log.since_ns <= clock_real_ns() - 60 * NS_PER_S);
	assert_int_equal(add("sinceSeconds", "9223372036854775807"), 0);
	assert_true(p.log.since_ns > 0);
	add("follow", "");
	add("timestamps", "false");
	add("previous", "true");
	assert_true(p.log.follow && !p.log.timestamps && p.previous);
	assert_int_equal(add("stream", "Stderr"), 0);
	assert_int_equal(add("stream", "what"), -EINVAL);
	assert_int_equal(streaming_params_check_log(&p, &e), -EINVAL);
}

static void test_ports(void **state)
{
	(void)state;
	assert_int_equal(add("port", "80,8080"), 0);
	assert_int_equal(add("ports", "65535"), 0);
	assert_int_equal(p.ports_count, 3);
	assert_int_equal(p.ports[1], 8080);
	assert_int_equal(add("port", "0"), -EINVAL);
	assert_int_equal(add("port", "65536"), -EINVAL);
	assert_int_equal(add("port", "80,"), -EINVAL);
	assert_int_equal(add("port", "123456789"), -EINVAL);
	while (p.ports_count < PARAMS_PORTS_MAX)
		assert_int_equal(add("port", "1"), 0);
	assert_int_equal(add("port", "1"), -EINVAL);
}

static void expect(struct buf *b, const char *text)
{
	assert_string_equal(b->len ? b->data : "", text);
	buf_fini(b);
}

static void test_status(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	status_success(3, &b);
	expect(&b, "");
	status_success(4, &b);
	expect(&b, "{\"metadata\":{},\"status\":\"Success\"}");
	status_exit_code(4, 3, &b);
	expect(&b, "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: exit status 3\","
		   "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}");
	status_internal(1, "x", &b);
	expect(&b, "Internal error occurred: x");
	status_internal(5, "\xff", &b);
	expect(&b, "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: ?\",\"reason\":\"InternalError\","
		   "\"details\":{\"causes\":[{\"message\":\"?\"}]},\"code\":500}");
	status_exec_failure("c1", "/bin/x", ENOENT, "", &b);
	expect(&b, "error executing command in container: failed to exec in container: failed to start exec \"c1\": OCI runtime exec failed: "
		   "exec failed: unable to start container process: exec: \"/bin/x\": stat /bin/x: no such file or directory: unknown");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {T(test_exec), T(test_log), T(test_ports), T(test_status)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
