// SPDX-License-Identifier: Apache-2.0
// What skopeo's messages are taken for. The samples are what skopeo 1.9 prints.
#include "image_fetch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FATAL(text) "time=\"2026-11-22T14:02:31Z\" level=warning msg=\"x\"\ntime=\"2026-11-22T14:02:31Z\" level=fatal msg=\"" text "\"\n"
#define NAMED(text) FATAL("Error parsing image name \\\"docker://127.0.0.1:1/nginx:v9\\\": " text)

static void test_reasons(void **state)
{
	(void)state;
	static const struct { const char *output, *reason; int code; } cases[] = {
		{NAMED("reading manifest v9 in 127.0.0.1:1/nginx: manifest unknown: manifest unknown"),
		 "reading manifest v9 in 127.0.0.1:1/nginx: manifest unknown: manifest unknown", ENOENT},
		{NAMED("pinging container registry 127.0.0.1:1: Get \\\"http://127.0.0.1:1/v2/\\\": dial tcp 127.0.0.1:1: connect: connection refused"),
		 "pinging container registry 127.0.0.1:1: Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", EHOSTUNREACH},
		{NAMED("reading manifest v9 in x: unauthorized: authentication required"),
		 "reading manifest v9 in x: unauthorized: authentication required", EACCES},
		{FATAL("writing blob: write /x: no space left on device"), "writing blob: write /x: no space left on device", ENOSPC},
		{FATAL("Digest did not match, expected a, got b"), "Digest did not match, expected a, got b", EBADMSG},
		{"something else\nmore\n", "something else", EIO},
		{"", "no output", EIO},
		{"level=fatal msg=\"unfinished \\", "unfinished \\", EIO},
		{"level=fatal msg=\"Error parsing image name \"", "Error parsing image name ", EIO},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char reason[300];
		assert_int_equal(image_fetch_reason(cases[i].output, reason, sizeof(reason)), cases[i].code);
		assert_string_equal(reason, cases[i].reason);
	}
}

static void test_small_room(void **state)
{
	(void)state;
	char reason[8];
	assert_int_equal(image_fetch_reason(FATAL("0123456789"), reason, sizeof(reason)), EIO);
	assert_string_equal(reason, "0123456");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_reasons), cmocka_unit_test(test_small_room)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
