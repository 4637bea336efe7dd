// SPDX-License-Identifier: Apache-2.0
// The file of a saved VM, with any bytes behind a head that is right (or any head, for odd lengths).
#include <stdlib.h>
#include <string.h>

#include "vmx/engine_kvm/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	static struct state s;
	own_buf struct buf b = BUF_INIT;
	struct state_shape shape = {.vcpus = 1, .memory_mib = 32};
	struct err e = ERR_INIT;
	if (len % 2) {
		state_parse(&s, in, len, &e);
		return 0;
	}
	if (state_begin(&b, &shape) || buf_append(&b, in, len))
		abort();
	state_finish(&b);
	if (state_parse(&s, b.data, b.len, &e))
		return 0;
	for (uint32_t kind = 0; kind < 80; kind++) {
		char to[64];
		state_take(&s, kind, 0, to, sizeof(to), "section", &e);
	}
	size_t n = 0;
	for (unsigned i = 0; i < s.n; i++)
		n += s.section[i].len;
	if (n > len)
		abort();
	return 0;
}
