// SPDX-License-Identifier: Apache-2.0
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"

static void test_output_and_code(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT, err = BUF_INIT;
	struct proc_opts o = {.input = "hello", .input_len = 5, .env = (const char *[]){"WORD=there", NULL}};
	assert_int_equal(proc_run((const char *[]){"sh", "-c", "cat; echo $WORD; echo oops >&2; exit 7", NULL}, &o, &out, &err, &e), 7);
	assert_string_equal(out.data, "hellothere\n");
	assert_string_equal(err.data, "oops\n");
	buf_fini(&out);
	buf_fini(&err);
	assert_int_equal(proc_run((const char *[]){"sh", "-c", "kill -9 $$", NULL}, NULL, NULL, NULL, &e), 137);
	assert_int_equal(proc_check((const char *[]){"sh", "-c", "echo a >&2; echo why >&2; exit 2", NULL}, NULL, NULL, &e), -EIO);
	assert_string_equal(e.text, "sh: exit code 2: why");
}

static void test_missing_program(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(proc_check((const char *[]){"no-such-program-here", NULL}, NULL, NULL, &e), -ENOENT);
	assert_string_equal(e.text, "cannot run no-such-program-here: is it installed?");
}

static void test_timeout_kills_the_group(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct proc_opts o = {.timeout_ms = 100};
	uint64_t t = clock_mono_ns();
	assert_int_equal(proc_run((const char *[]){"sh", "-c", "sleep 60 & sleep 60", NULL}, &o, NULL, NULL, &e), -ETIMEDOUT);
	assert_true(clock_mono_ns() - t < 20 * NS_PER_S);
}

static void test_input_nobody_reads(void **state)
{
	(void)state;
	static char much[1 << 20];
	struct proc_opts o = {.input = much, .input_len = sizeof(much)};
	for (int i = 0; i < 20; i++)
		assert_int_equal(proc_run((const char *[]){"true", NULL}, &o, NULL, NULL, NULL), 0);
}

static void count_line(void *user, const char *line) { *(int *)user += strncmp(line, "line", 4) == 0; }

static void test_lines(void **state)
{
	(void)state;
	int lines = 0;
	struct proc_opts o = {.on_line = count_line, .user = &lines};
	assert_int_equal(proc_run((const char *[]){"sh", "-c", "for i in 1 2 3; do echo line $i >&2; done; printf line4 >&2", NULL}, &o, NULL, NULL, NULL), 0);
	assert_int_equal(lines, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_output_and_code), cmocka_unit_test(test_missing_program),
					   cmocka_unit_test(test_timeout_kills_the_group), cmocka_unit_test(test_lines), cmocka_unit_test(test_input_nobody_reads)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
