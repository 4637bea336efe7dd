// SPDX-License-Identifier: Apache-2.0
// Processor models: the same on every host that has them, refused by those that have less.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "vmx/engine_kvm/x86_64/cpuid.h"

// A host with every feature there is, or none.
static struct cpuid host_of(uint32_t bits)
{
	static const uint32_t leaf[][2] = {{1, 0}, {7, 0}, {7, 1}, {0xd, 0}, {0xd, 1}, {0x80000001, 0}, {0x80000007, 0}, {0x80000008, 0}};
	struct cpuid c = {.nent = sizeof(leaf) / sizeof(leaf[0])};
	for (unsigned i = 0; i < c.nent; i++)
		c.entry[i] = (struct kvm_cpuid_entry2){.function = leaf[i][0], .index = leaf[i][1], .eax = bits, .ebx = bits,
						       .ecx = bits, .edx = bits};
	return c;
}

static void test_models(void **unused)
{
	(void)unused;
	static const char *const models[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
	struct cpuid all = host_of(~0u), none = host_of(0), before = none;
	struct err e = ERR_INIT;
	assert_int_equal(cpuid_model(&all, "host", &e), 0);
	assert_int_equal(cpuid_model(&all, NULL, &e), 0);
	assert_int_equal(all.entry[0].ecx, ~0u);
	for (unsigned i = 0; i < 3; i++) {
		struct cpuid rich = host_of(~0u), poorer;
		assert_int_equal(cpuid_model(&rich, models[i], &e), 0);
		assert_true(rich.entry[0].ecx != ~0u && !(rich.entry[0].ecx & 1u << 5));   // no VMX
		assert_int_equal(cpuid_check(&rich, &all, &e), 0);
		poorer = rich;
		assert_int_equal(cpuid_model(&poorer, models[i], &e), 0);   // a host with just that
		assert_memory_equal(&poorer, &rich, sizeof(rich));
		for (unsigned k = 0; k < 3; k++) {   // what was saved as one model is restored as that one
			assert_int_equal(cpuid_is_model(&rich, models[k], &e), k == i ? 0 : -22);
			if (k != i)
				assert_non_null(strstr(e.text, models[k]));
		}
		assert_int_equal(cpuid_is_model(&rich, "host", &e), 0);
		assert_int_equal(cpuid_is_model(&rich, NULL, &e), 0);
		assert_int_equal(cpuid_is_model(&all, models[i], &e), -22);
		assert_int_equal(cpuid_is_model(&rich, "pentium", &e), -22);
		assert_non_null(strstr(e.text, "is not known"));
		if (i) {
			assert_int_equal(cpuid_check(&rich, &before, &e), -22);
			assert_non_null(strstr(e.text, "features that this host lacks"));
			assert_int_equal(cpuid_check(&before, &rich, &e), 0);
			assert_int_equal(cpuid_model(&before, models[i], &e), -95);   // the level below is less
			assert_non_null(strstr(e.text, models[i]));
		}
		before = rich;
	}
	assert_int_equal(cpuid_model(&none, "x86-64-v2", &e), -95);
	assert_int_equal(cpuid_model(&all, "pentium", &e), -22);
	assert_non_null(strstr(e.text, "there are: host, x86-64-v2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
