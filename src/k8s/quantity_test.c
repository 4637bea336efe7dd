// SPDX-License-Identifier: Apache-2.0
#include "quantity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_parse(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t milli;
	} good[] = {
		{"0", 0}, {"1", 1000}, {"-1", -1000}, {"+5", 5000}, {"100m", 100}, {"0.1", 100}, {".5", 500}, {"5.", 5000},
		{"1k", 1000000}, {"1Ki", 1024000}, {"1.5Gi", 1610612736000}, {"1E", INT64_MAX}, {"1Ei", INT64_MAX},
		{"2e3", 2000000}, {"2E3", 2000000}, {"1e-3", 1}, {"1u", 1}, {"1n", 1}, {"-1n", -1}, {"1000000n", 1},
		{"1001u", 2}, {"0.0001", 1}, {"9223372036854775807", INT64_MAX}, {"123456789012345678n", 123456789013},
		{"0.00000000000000000000000000000000001", 1}, {"100000000000000000000000000000000000000n", INT64_MAX},
		{"1000000000000000000000000000000000000e-36", 1000},
		{"1e99999999999999999999", INT64_MAX}, {"1e-99999999999999999999", 1}, {"0e99999", 0},
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		int64_t milli = -77;
		assert_int_equal(k8s_quantity_parse(good[i].text, &milli), 0);
		assert_int_equal(milli, good[i].milli);
	}
}

static void test_refuse(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "-", "m", "1 ", " 1", "1mm", "1ki", "1K", "1.2.3", "1e", "1e+", "1e1.5", "1Kib",
		"0x10", "1,5", "1i", "Ki", ".", "1e 5", "١"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int64_t milli = -77;
		if (k8s_quantity_parse(bad[i], &milli) != -EINVAL)
			fail_msg("accepted '%s'", bad[i]);
		assert_int_equal(milli, -77);
	}
	int64_t milli;
	assert_int_equal(k8s_quantity_parse(NULL, &milli), -EINVAL);
}

static void test_text(void **state)
{
	(void)state;
	char out[K8S_QUANTITY_TEXT_MAX];
	assert_string_equal(k8s_quantity_text(1500, 0, out), "1500m");
	assert_string_equal(k8s_quantity_text(1000, 0, out), "1");
	assert_string_equal(k8s_quantity_text(1000000, 0, out), "1k");
	assert_string_equal(k8s_quantity_text(0, 1, out), "0");
	assert_string_equal(k8s_quantity_text(1073741824000, 1, out), "1Gi");
	assert_string_equal(k8s_quantity_text(512000, 1, out), "512");
	assert_string_equal(k8s_quantity_text(1500000, 1, out), "1500");
	assert_string_equal(k8s_quantity_text(-2048000, 1, out), "-2Ki");
	assert_string_equal(k8s_quantity_canonical("1024Mi", out), "1Gi");
	assert_string_equal(k8s_quantity_canonical("0.5", out), "500m");
	assert_string_equal(k8s_quantity_canonical("1000e3", out), "1e6");
	assert_string_equal(k8s_quantity_canonical("1.5Gi", out), "1536Mi");
	assert_null(k8s_quantity_canonical("abc", out));
}

static void test_json(void **state)
{
	(void)state;
	json_t *j = json_pack("{s:s,s:i,s:f,s:b}", "s", "1500m", "i", 2, "f", 0.5, "b", 1);
	assert_int_equal(k8s_quantity_milli(json_object_get(j, "s"), 7), 1500);
	assert_int_equal(k8s_quantity_value(json_object_get(j, "s"), 7), 2);
	assert_int_equal(k8s_quantity_milli(json_object_get(j, "i"), 7), 2000);
	assert_int_equal(k8s_quantity_milli(json_object_get(j, "f"), 7), 500);
	assert_int_equal(k8s_quantity_milli(json_object_get(j, "b"), 7), 7);
	assert_int_equal(k8s_quantity_value(NULL, 7), 7);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_text), cmocka_unit_test(test_json)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
