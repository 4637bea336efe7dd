// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "server/gzip.h"
#include "server/negotiate.h"

#define LEN 1000000

static char text[LEN], packed[2 * LEN], unpacked[LEN + 1];
static int freed;

static void count_free(void *user)
{
	(void)user;
	freed++;
}

/* Half of it is random, so that compressing makes little of it. */
static void make_text(void)
{
	unsigned seed = 1;

	for (size_t i = 0; i < LEN; i++)
		text[i] = i < LEN / 2 ? (char)rand_r(&seed) : (char)('a' + i % 7);
}

static size_t unpack(size_t len)
{
	z_stream z = { .next_in = (Bytef *)packed, .avail_in = (uInt)len, .next_out = (Bytef *)unpacked, .avail_out = sizeof unpacked };

	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	inflateEnd(&z);
	return sizeof unpacked - z.avail_out;
}

/* Read all in pieces of at most so many bytes. */
static size_t read_all(struct gzip *g, size_t piece)
{
	size_t len = 0;
	ssize_t n;

	while ((n = gzip_read(g, len, packed + len, piece)) != MHD_CONTENT_READER_END_OF_STREAM) {
		assert_true(n > 0 && (size_t)n <= piece);
		len += (size_t)n;
	}
	return len;
}

static void what_goes_in_comes_out(void **state)
{
	static const size_t pieces[] = { 1000, 16384, 65536 }, lens[] = { 0, 1, 16384, LEN };

	(void)state;
	make_text();
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 4; k++) {
			struct gzip *g = gzip_new_text(text, lens[k], count_free, NULL);
			size_t n = read_all(g, pieces[i]);
			assert_int_equal(unpack(n), lens[k]);
			assert_memory_equal(unpacked, text, lens[k]);
			assert_true(lens[k] < LEN || n < LEN * 3 / 4);
			freed = 0;
			gzip_free(g);
			assert_int_equal(freed, 1);
		}
}

/* A reader that waits before each piece, and fails in the end. */
static ssize_t halting(void *cls, uint64_t pos, char *out, size_t max)
{
	int *calls = cls;

	(void)max;
	if (++*calls % 2)
		return 0;
	if (pos == 3000)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	memcpy(out, text + pos, 1000);
	return 1000;
}

static void a_source_may_wait_or_fail(void **state)
{
	int calls = 0;
	struct gzip *g = gzip_new(halting, count_free, &calls);
	ssize_t n;

	(void)state;
	for (int i = 0; (n = gzip_read(g, 0, packed, 10)) >= 0; i++)
		assert_true(i < 2000);
	assert_int_equal(n, MHD_CONTENT_READER_END_WITH_ERROR);
	gzip_free(g);
}

static void who_takes_it(void **state)
{
	static const char *const yes[] = { "gzip", "deflate, gzip", "gzip;q=0.5", "br,\tGZIP ; q=1", "a,gzip,b" };
	static const char *const no[] = { "", ",", "identity", "gzip;q=0", "gzip; q=0.000", "gzipped", "x-gzip", "br;gzip", "*" };

	(void)state;
	assert_false(accept_gzip(NULL));
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		if (!accept_gzip(yes[i]))
			fail_msg("%s", yes[i]);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		if (accept_gzip(no[i]))
			fail_msg("%s", no[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out), cmocka_unit_test(a_source_may_wait_or_fail), cmocka_unit_test(who_takes_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
