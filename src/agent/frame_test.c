// SPDX-License-Identifier: Apache-2.0
#include "frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_message(void **state)
{
	(void)state;
	const uint8_t bytes[] = {3, 0, 0, 0, 'a', 'b', 'c', 9};
	const uint8_t *m;
	size_t len;
	for (size_t n = 0; n < 7; n++)
		assert_int_equal(frame_message(bytes, n, 100, &m, &len), 0);
	assert_int_equal(frame_message(bytes, 8, 100, &m, &len), 7);
	assert_ptr_equal(m, bytes + 4);
	assert_int_equal(len, 3);
	assert_int_equal(frame_message(bytes, 8, 2, &m, &len), -EMSGSIZE);
}

static void test_length_is_checked_before_the_bytes_arrive(void **state)
{
	(void)state;
	const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff}, channel[] = {1, 1, 0, 1, 0};
	const uint8_t *m;
	size_t len;
	uint8_t ch;
	uint32_t n;
	assert_int_equal(frame_message(bytes, 4, FRAME_MESSAGE_MAX, &m, &len), -EMSGSIZE);
	assert_int_equal(frame_channel(channel, 5, &ch, &m, &n), -EMSGSIZE);   // 65537
}

static void test_channel(void **state)
{
	(void)state;
	uint8_t frame[FRAME_CHANNEL_HEAD + 2], ch;
	const uint8_t *bytes;
	uint32_t n;
	frame_channel_head(frame, FRAME_STDERR, 2);
	memcpy(frame + FRAME_CHANNEL_HEAD, "hi", 2);
	assert_int_equal(frame_channel(frame, sizeof(frame) - 1, &ch, &bytes, &n), 0);
	assert_int_equal(frame_channel(frame, sizeof(frame), &ch, &bytes, &n), 7);
	assert_int_equal(ch, FRAME_STDERR);
	assert_memory_equal(bytes, "hi", 2);
	frame_channel_head(frame, FRAME_STDIN, 0);
	assert_int_equal(frame_channel(frame, sizeof(frame), &ch, &bytes, &n), 5);
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_message),
					   cmocka_unit_test(test_length_is_checked_before_the_bytes_arrive),
					   cmocka_unit_test(test_channel)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
