// SPDX-License-Identifier: Apache-2.0
// What a guest of the KVM engine is told about its machine; the numbers are those of src/vmx/engine_kvm/x86_64/layout.h.
// Compiled with iasl. Before a guest sees it, SLTS is replaced by the bits of the slots that hold a device.
DefinitionBlock ("", "DSDT", 2, "BLKHD", "KVM", 1)
{
	Name (SLTS, 0x5AA5C33C)
	Name (_S5, Package () { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x3F8, 0x3F8, 0, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
			})
		}

		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, 0)
		}

		Device (GED)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 9 }
			})
			OperationRegion (EVTS, SystemIO, 0x604, 4)
			Field (EVTS, DWordAcc, NoLock, WriteAsZeros) { EVT, 32 }
			Method (_EVT, 1, Serialized)
			{
				Local0 = EVT
				If (Local0 & 1) { Notify (PWRB, 0x80) }
			}
		}

#define SLOT(NAME, N, BASE, IRQ) \
	Device (NAME) { \
		Name (_HID, "LNRO0005") \
		Name (_UID, N) \
		Name (_CCA, One) \
		Method (_STA) { If (SLTS & (1 << N)) { Return (0x0F) } Return (0) } \
		Name (_CRS, ResourceTemplate () { \
			Memory32Fixed (ReadWrite, BASE, 0x200) \
			Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { IRQ } \
		}) \
	}
		SLOT (VR01, 1, 0xFEB00200, 5)
		SLOT (VR02, 2, 0xFEB00400, 6)
		SLOT (VR03, 3, 0xFEB00600, 7)
		SLOT (VR04, 4, 0xFEB00800, 8)
		SLOT (VR05, 5, 0xFEB00A00, 10)
		SLOT (VR06, 6, 0xFEB00C00, 11)
		SLOT (VR07, 7, 0xFEB00E00, 12)
		SLOT (VR08, 8, 0xFEB01000, 13)
		SLOT (VR09, 9, 0xFEB01200, 14)
		SLOT (VR10, 10, 0xFEB01400, 15)
		SLOT (VR11, 11, 0xFEB01600, 16)
		SLOT (VR12, 12, 0xFEB01800, 17)
		SLOT (VR13, 13, 0xFEB01A00, 18)
		SLOT (VR14, 14, 0xFEB01C00, 19)
		SLOT (VR15, 15, 0xFEB01E00, 20)
		SLOT (VR16, 16, 0xFEB02000, 21)
		SLOT (VR17, 17, 0xFEB02200, 22)
		SLOT (VR18, 18, 0xFEB02400, 23)
		SLOT (VR19, 19, 0xFEB02600, 1)
		SLOT (VR20, 20, 0xFEB02800, 3)
		SLOT (VR21, 21, 0xFEB02A00, 1)
		SLOT (VR22, 22, 0xFEB02C00, 3)
		SLOT (VR23, 23, 0xFEB02E00, 1)
	}
}
