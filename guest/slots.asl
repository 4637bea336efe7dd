// SPDX-License-Identifier: Apache-2.0
// Virtio slots of QEMU's microvm that are empty when a template boots (all but 0 and the balloon's, 2), so that clones can have devices in them: QEMU's own
// tables declare the filled ones only. The guest's kernel takes this table from the beginning of its initramfs.
DefinitionBlock ("", "SSDT", 2, "BLKHD", "SLOTS", 1)
{
#define SLOT(NAME, N, BASE, IRQ) \
	Device (NAME) { \
		Name (_HID, "LNRO0005") \
		Name (_UID, N) \
		Name (_CCA, One) \
		Name (_CRS, ResourceTemplate () { \
			Memory32Fixed (ReadWrite, BASE, 0x200) \
			Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) { IRQ } \
		}) \
	}
	Scope (\_SB)
	{
		SLOT (BS01, 1, 0xFEB00200, 25)
		SLOT (BS03, 3, 0xFEB00600, 27)
		SLOT (BS04, 4, 0xFEB00800, 28)
		SLOT (BS05, 5, 0xFEB00A00, 29)
		SLOT (BS06, 6, 0xFEB00C00, 30)
		SLOT (BS07, 7, 0xFEB00E00, 31)
		SLOT (BS08, 8, 0xFEB01000, 32)
		SLOT (BS09, 9, 0xFEB01200, 33)
		SLOT (BS10, 10, 0xFEB01400, 34)
		SLOT (BS11, 11, 0xFEB01600, 35)
		SLOT (BS12, 12, 0xFEB01800, 36)
		SLOT (BS13, 13, 0xFEB01A00, 37)
		SLOT (BS14, 14, 0xFEB01C00, 38)
		SLOT (BS15, 15, 0xFEB01E00, 39)
		SLOT (BS16, 16, 0xFEB02000, 40)
		SLOT (BS17, 17, 0xFEB02200, 41)
		SLOT (BS18, 18, 0xFEB02400, 42)
		SLOT (BS19, 19, 0xFEB02600, 43)
		SLOT (BS20, 20, 0xFEB02800, 44)
		SLOT (BS21, 21, 0xFEB02A00, 45)
		SLOT (BS22, 22, 0xFEB02C00, 46)
		SLOT (BS23, 23, 0xFEB02E00, 47)
	}
}
