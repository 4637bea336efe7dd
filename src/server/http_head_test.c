// SPDX-License-Identifier: Apache-2.0
#include "server/http_head.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_good(void **state)
{
	static const char text[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade:  SPDY/3.1 \r\nContent-Length: 12\r\nX-A:\r\n\r\nbody";
	struct http_head h;

	(void)state;
	for (size_t n = 0; n < sizeof text - 1 - 4; n++)   // incomplete
		assert_int_equal(http_head_parse(text, n, &h), 0);
	assert_int_equal(http_head_parse(text, sizeof text - 1, &h), sizeof text - 1 - 4);
	assert_int_equal(h.code, 101);
	assert_int_equal(h.count, 3);
	assert_int_equal(h.content_length, 12);
	assert_string_equal(http_head_get(&h, "upgrade"), "SPDY/3.1");
	assert_string_equal(http_head_get(&h, "x-a"), "");
	assert_null(http_head_get(&h, "y"));
	http_head_fini(&h);
}

static void test_bad(void **state)
{
	static const char *const texts[] = {
		"\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "HTTP/1.1 200 OK\r\na b: x\r\n\r\n", "HTTP/1.1 200 OK\r\na: x\001y\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\n continued: x\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
	};
	struct http_head h;
	char *big = malloc(HTTP_HEAD_MAX);

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_int_equal(http_head_parse(texts[i], strlen(texts[i]), &h), -EBADMSG);
	memset(big, 'a', HTTP_HEAD_MAX);
	assert_int_equal(http_head_parse(big, HTTP_HEAD_MAX - 1, &h), 0);
	assert_int_equal(http_head_parse(big, HTTP_HEAD_MAX, &h), -EBADMSG);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_bad) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
