// SPDX-License-Identifier: Apache-2.0
// Descriptors: golden pairs of what is wrong and what is said; sizes and durations.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "disk/descriptor.h"

#define ID "\"id\":\"6f1ac2c5-7d9c-4a9e-8f1d-2b7a9f0d3c11\""
#define REST "\"size\":4096,\"block\":4096,\"generation\":1,\"data\":\"d.data\""
#define GOOD "{\"bulkhead-disk\":1," ID "," REST "}"

static void test_golden(void **state)
{
	static const struct { const char *text, *says; } bad[] = {
		{ "", "disk 'd.bhd': not a descriptor: line" },
		{ "[]", "disk 'd.bhd': not a descriptor: not an object" },
		{ "{}", "disk 'd.bhd': not a disk descriptor ('bulkhead-disk' is missing)" },
		{ "{\"bulkhead-disk\":2}", "disk 'd.bhd': format version 2 is not known, only 1 is" },
		{ "{\"bulkhead-disk\":1,\"features\":[\"holo\"]}", "disk 'd.bhd': needs feature 'holo', which this version of Bulkhead does not have" },
		{ "{\"bulkhead-disk\":1,\"colour\":1}", "disk 'd.bhd': the descriptor has an unknown member 'colour'; a newer version of Bulkhead may have written it" },
		{ "{\"bulkhead-disk\":1,\"id\":\"x\"}", "disk 'd.bhd': descriptor: 'id' is missing or not a lower-case UUID" },
		{ "{\"bulkhead-disk\":1," ID ",\"size\":\"big\"}", "disk 'd.bhd': descriptor: 'size' is missing or not a number" },
		{ "{\"bulkhead-disk\":1," ID ",\"size\":-1}", "disk 'd.bhd': descriptor: 'size' is -1, not from 0 to" },
		{ "{\"bulkhead-disk\":1," ID ",\"size\":512,\"block\":1000,\"generation\":1,\"data\":\"x\"}", "disk 'd.bhd': block size 1000 is not a power of two from 4096 to 1048576" },
		{ "{\"bulkhead-disk\":1," ID ",\"size\":513,\"block\":4096,\"generation\":1,\"data\":\"x\"}", "disk 'd.bhd': size 513 is not a multiple of 512" },
		{ "{\"bulkhead-disk\":1," ID "," REST ",\"filters\":[{\"type\":\"link\"}]}", "disk 'd.bhd': a disk without parent has no filter 'link', this one has 1" },
		{ "{\"bulkhead-disk\":1," ID "," REST ",\"filters\":[{\"type\":\"stats\"},{\"type\":\"stats\"}]}", "disk 'd.bhd': there is already a filter 'stats'" },
		{ "{\"bulkhead-disk\":1," ID "," REST ",\"filters\":[{\"type\":\"../x\"}]}", "disk 'd.bhd': '../x' is not a filter type (lower-case letters, digits, '-')" },
		{ "{\"bulkhead-disk\":1," ID "," REST ",\"filters\":[{\"type\":\"stats\",\"settings\":{\"a\":[]}}]}", "disk 'd.bhd': setting 'a' of filter 'stats' is neither text, number, true nor false" },
	};
	struct descriptor *d = NULL;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(descriptor_parse(bad[i].text, strlen(bad[i].text), "d.bhd", &d, &e) < 0);
		if (strncmp(e.text, bad[i].says, strlen(bad[i].says))) fail_msg("%s\nsays   %s\nnot    %s", bad[i].text, e.text, bad[i].says);
		assert_null(d);
	}
	assert_int_equal(descriptor_parse(GOOD, strlen(GOOD), "d.bhd", &d, &e), 0);
	assert_int_equal(d->size, 4096);
	descriptor_free(d);
}

static void test_sizes(void **state)
{
	static const struct { const char *text; uint64_t v; } good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "64K", 65536 }, { "1.5G", 3ull << 29 }, { "2TiB", 2ull << 40 }, { "18446744073709551615", UINT64_MAX },
	};
	static const char *const bad[] = { "", "-1", "x", "1Q", "1KK", "99999999999999999999", "1e9", "9999999P" };
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(size_parse(good[i].text, &v), 0);
		assert_int_equal(v, good[i].v);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (size_parse(bad[i], &v) == 0) fail_msg("'%s' is taken for a size", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_sizes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
