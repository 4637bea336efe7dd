// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "base/own.h"
#include "claim_class.h"

static int parse(const char *json, char **filters, struct err *e)
{
	own_json json_t *parameters = json_loads(json, 0, NULL);
	return claim_class_parse(parameters, filters, e);
}

static void test_filters(void **state)
{
	(void)state;
	own_free char *filters = NULL, *none = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(parse("{\"filters\": \" throttle:iops=500,bps=10M\\n compress \", \"fsType\": \"ext4\"}", &filters, &e), 0);
	assert_string_equal(filters, "[{\"type\":\"throttle\",\"settings\":{\"iops\":\"500\",\"bps\":\"10M\"}},"
				     "{\"type\":\"compress\",\"settings\":{}}]");
	assert_int_equal(claim_class_parse(NULL, &none, &e), 0);
	assert_null(none);
}

static void test_wrong(void **state)
{
	(void)state;
	static const struct { const char *json, *word; } bad[] = {
		{"{\"size\": \"1\"}", "unknown"}, {"{\"fsType\": \"xfs\"}", "not offered"}, {"{\"filters\": \":a=b\"}", "name"},
		{"{\"filters\": \"throttle:iops\"}", "KEY=VALUE"}, {"{\"filters\": \"throttle:=1\"}", "KEY=VALUE"}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		own_free char *filters = NULL;
		struct err e = ERR_INIT;
		assert_int_equal(parse(bad[i].json, &filters, &e), -EINVAL);
		assert_non_null(strstr(e.text, bad[i].word));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_filters), cmocka_unit_test(test_wrong)};
	return cmocka_run_group_tests_name("hostd/claim_class", tests, NULL, NULL);
}
