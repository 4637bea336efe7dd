// SPDX-License-Identifier: Apache-2.0
// The ways to end, named by the last word of the command line: triple, i8042, acpi, button (waits for it), hang.
#include "tiny.h"

static bool is(const char *words, const char *what)
{
	const char *last = words;
	for (; *words; words++)
		last = *words == ' ' ? words + 1 : last;
	while (*last && *last == *what)
		last++, what++;
	return *last == *what;
}

void guest_main(const struct start_info *info)
{
	const char *how = (const char *)(uint32_t)info->cmdline;
	put("begin\n");
	if (is(how, "triple"))
		__asm__ volatile("ud2");   // without a table to say where to: three faults
	else if (is(how, "i8042"))
		outb(0x64, 0xfe);
	else if (is(how, "acpi"))
		outb(0x602, 1);
	else if (is(how, "button"))
		while (!(inl(0x604) & 1))
			;
	else
		for (;;)
			__asm__ volatile("pause");
	power_off();
}
