// SPDX-License-Identifier: Apache-2.0
// Where things are in the guest's address space and on its interrupt lines. guest/kvm.asl says the same to the guest.
#ifndef BULKHEAD_KVM_LAYOUT_H
#define BULKHEAD_KVM_LAYOUT_H

#include "vmx/slots.h"

// Memory
#define BOOT_INFO 0x6000ull             // start info and command line
#define BOOT_TABLES 0x9000ull           // six pages: page tables, for kernels that are entered in 64-bit mode
#define LOW_RAM_END 0x9f000ull
#define ACPI_BASE 0xe0000ull            // ACPI tables, to 1 MiB
#define HIGH_START 0x100000ull
#define HOLE_START 0xc0000000ull        // memory below ends here at the latest, the rest goes on at 4 GiB
#define HOLE_END 0x100000000ull
#define DEVICES_BASE 0xfeb00000ull      // SLOTS windows of VIRTIO_MMIO_SIZE bytes
#define IOAPIC_BASE 0xfec00000ull
#define LAPIC_BASE 0xfee00000ull
#define TSS_BASE 0xfffbd000ull          // three pages that KVM on Intel needs; the page before them, too

// Ports
#define PORT_SERIAL 0x3f8
#define PORT_I8042_DATA 0x60
#define PORT_I8042_COMMAND 0x64
#define PORT_SLEEP_CONTROL 0x600        // ACPI hardware-reduced sleep control, status and reset
#define PORT_SLEEP_STATUS 0x601
#define PORT_RESET 0x602
#define PORT_EVENTS 0x604               // 32 bits: what happened; reading clears

#define SLEEP_ENABLE 0x20
#define SLEEP_TYPE(v) ((v) >> 2 & 7)
#define SLEEP_TYPE_S5 5
#define EVENT_POWER_BUTTON 1u

// Interrupt lines: the I/O APIC has 24 pins; Linux leaves alone what was the second controller's, 2. Devices that share one are told
// apart by their interrupt status.
#define IOAPIC_PINS 24
#define IRQ_SERIAL 4
#define IRQ_EVENTS 9
#define IRQ_SLOT(n) ((n) < 5 ? 4 + (n) : (n) < 19 ? 5 + (n) : 1 + ((n) - 19) % 2 * 2)   // 5-8, 10-23, 1 and 3

#endif
