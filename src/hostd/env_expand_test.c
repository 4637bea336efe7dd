// SPDX-License-Identifier: Apache-2.0
#include "env_expand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_expansion(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"", ""}, {"plain", "plain"}, {"$(A)", "x"}, {"-$(A)-$(B)-", "-x-yy-"}, {"$(NONE)", "$(NONE)"}, {"$$(A)", "$(A)"},
		{"$A", "$A"}, {"$", "$"}, {"$(A", "$(A"}, {"$$$(A)", "$x"}, {"$()", "$()"},
	};
	json_t *env = json_pack("{s:s, s:s}", "A", "x", "B", "yy");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *got = env_expand(cases[i][0], env);
		assert_string_equal(got, cases[i][1]);
		free(got);
	}
	json_decref(env);
}

static void test_missing(void **state)
{
	(void)state;
	json_t *env = json_pack("{s:s, s:s}", "A", "x", "E", "");
	assert_null(env_missing("$(A)/$$(B)/$C", env));
	char *names = env_missing("$(B)/$(A)/$(E)", env);
	assert_string_equal(names, "B, E");
	free(names);
	json_decref(env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_expansion), cmocka_unit_test(test_missing)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
