// SPDX-License-Identifier: Apache-2.0
// Boot protocol, ports and empty addresses.
#include "tiny.h"

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

void guest_main(const struct start_info *info)
{
	put("hello\n");
	check(info->magic == 0x336ec578 && info->version == 1, "start info");
	const struct start_memory *map = (const void *)(uint32_t)info->memmap;
	uint64_t ram = 0;
	for (unsigned i = 0; i < info->nmemmap; i++)
		ram += map[i].type == 1 ? map[i].size : 0;
	check(ram >= 255u << 20 && ram <= 256u << 20, "256 MiB of memory");
	const char *words = (const char *)(uint32_t)info->cmdline, *last = words;
	for (; *words; words++)
		last = *words == ' ' ? words + 1 : last;
	check(same(last, "tiny=1"), "the command line ends with our word");
	const struct start_module *m = (const void *)(uint32_t)info->modules;
	check(info->nmodules == 1 && m->size == 5 && same((const char *)(uint32_t)m->addr, "seed\n"), "initramfs");
	const char *rsdp = (const char *)(uint32_t)info->rsdp;
	uint8_t sum = 0;
	for (int i = 0; i < 36; i++)
		sum = (uint8_t)(sum + rsdp[i]);
	check(rsdp[0] == 'R' && rsdp[7] == ' ' && !sum, "ACPI root pointer");
	check(inb(0x70) == 0xff && inb(0x3fd) == 0x60, "ports");
	check(mmio_read(0xd0000000) == 0xffffffff, "an address without anything reads as ones");
	mmio_write(0xd0000000, 1);
	check(mmio_read(SLOT_AT(20)) == 0x74726976 && mmio_read(SLOT_AT(20) + 8) == 0, "an empty slot holds device 0");
	/* Drivers must read words. Where registers are memory that the guest can read, their bytes are there; where not, zero. */
	uint8_t byte = *(volatile uint8_t *)(SLOT_AT(1) + 1);
	check(byte == 0 || byte == 'i', "a register's byte reads as zero or as what it is of \"virt\"");
	check(mmio_read(SLOT_AT(1)) == 0x74726976 && mmio_read(SLOT_AT(1) + 4) == 2 && mmio_read(SLOT_AT(1) + 8) == 19,
	      "the vsock device");
	check(mmio_read(SLOT_AT(1) + 0x100) == 3, "its context id");
	check(inl(0x604) == 0, "no event");
	put("done\n");
	power_off();
}
