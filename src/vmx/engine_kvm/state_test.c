// SPDX-License-Identifier: Apache-2.0
// The file of a saved VM: what is written is read, and nothing else is accepted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "vmx/engine_kvm/state.h"

static struct state state;

static void make(struct buf *b)
{
	struct state_shape shape = {.vcpus = 2, .memory_mib = 64};
	assert_int_equal(state_begin(b, &shape), 0);
	assert_int_equal(state_add(b, STATE_REGS, 0, "first", 5), 0);
	assert_int_equal(state_add(b, STATE_REGS, 1, "the second", 10), 0);
	assert_int_equal(state_add(b, STATE_DEVICE, 7, "", 0), 0);
	state_finish(b);
}

static void expect(const struct buf *b, size_t len, const char *sentence)
{
	struct err e = ERR_INIT;
	assert_int_equal(state_parse(&state, b->data, len, &e), -22);
	if (!strstr(e.text, sentence))
		fail_msg("\"%s\" instead of \"%s\"", e.text, sentence);
}

static void test_round(void **unused)
{
	(void)unused;
	own_buf struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	char text[10];
	size_t len;
	make(&b);
	assert_int_equal(state_parse(&state, b.data, b.len, &e), 0);
	assert_int_equal(state.shape.vcpus, 2);
	assert_int_equal(state.shape.memory_mib, 64);
	assert_int_equal(state_take(&state, STATE_REGS, 1, text, 10, "registers", &e), 0);
	assert_memory_equal(text, "the second", 10);
	assert_int_equal(state_all_taken(&state, &e), -22);
	const void *p = state_find(&state, STATE_REGS, 0, &len);
	assert_non_null(p);
	assert_int_equal(len, 5);
	assert_int_equal((uintptr_t)p % 8, 0);
	assert_int_equal(state_all_taken(&state, &e), -22);
	assert_non_null(strstr(e.text, "a device was saved in slot 7"));
	assert_non_null(state_find(&state, STATE_DEVICE, 7, &len));
	assert_int_equal(state_all_taken(&state, &e), 0);
	assert_null(state_find(&state, STATE_DEVICE, 8, &len));
	assert_int_equal(state_take(&state, STATE_REGS, 0, text, 4, "registers", &e), -22);
	assert_int_equal(state_take(&state, STATE_REGS, 2, text, 4, "registers", &e), -22);
}

static void test_every_bit_counts(void **unused)
{
	(void)unused;
	own_buf struct buf b = BUF_INIT;
	make(&b);
	for (size_t i = 0; i < b.len; i++) {
		if (i >= 16 && i < 24)
			continue;   // the shape: its owner compares it
		b.data[i] ^= 0x10;
		expect(&b, b.len, "");
		b.data[i] ^= 0x10;
	}
	const struct { size_t at; const char *says; } head[] = {{0, "no saved state of the KVM engine"}, {8, "restores version"}, {12, "another kind of processor"}};
	for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++) {
		b.data[head[i].at] ^= 1;
		expect(&b, b.len, head[i].says);
		b.data[head[i].at] ^= 1;
	}
	for (size_t len = 0; len < b.len; len++)
		expect(&b, len, len < 40 ? "cut off" : "bytes instead of");
}

static void test_sections(void **unused)
{
	(void)unused;
	own_buf struct buf b = BUF_INIT;
	make(&b);
	assert_int_equal(state_add(&b, STATE_REGS, 0, "again", 5), 0);
	state_finish(&b);
	expect(&b, b.len, "section 2.0 twice");
	buf_fini(&b);
	make(&b);
	buf_append(&b, "\1\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16);   // a section as long as can be
	state_finish(&b);
	expect(&b, b.len, "ends within a section");
	buf_fini(&b);
	make(&b);
	for (uint32_t i = 0; i < STATE_SECTIONS_MAX; i++)
		assert_int_equal(state_add(&b, STATE_EVENTS, i, "", 0), 0);
	state_finish(&b);
	expect(&b, b.len, "more than");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_round), cmocka_unit_test(test_every_bit_counts),
					   cmocka_unit_test(test_sections)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
