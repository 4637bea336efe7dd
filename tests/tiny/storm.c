// SPDX-License-Identifier: Apache-2.0
// A guest that never stops: kicks of every queue, register accesses, console output and resets without end.
#include "tiny.h"

void guest_main(const struct start_info *info)
{
	(void)info;
	put("storm\n");
	for (uint32_t i = 0;; i++) {
		for (unsigned slot = 1; slot < 24; slot++) {
			mmio_write(SLOT_AT(slot) + 0x50, i % 8);
			mmio_write(SLOT_AT(slot) + (i & 0x1fc), i);
			mmio_read(SLOT_AT(slot) + (i * 4 & 0x1fc));
		}
		outb(0x3f8, 'x');
		outl((uint16_t)(i * 7 % 0x600), i);
	}
}
