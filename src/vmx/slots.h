// SPDX-License-Identifier: Apache-2.0
// Which virtio-mmio slot each device takes, with every engine: a template's state names devices by slot, and a clone's
// devices must be found in the slots that the guest's ACPI tables declare. Slot n is at 0xfeb00000 + n * 0x200, with
// interrupt 24 + n. Slot 0 has no working interrupt under QEMU's microvm.
#ifndef BULKHEAD_VMX_SLOTS_H
#define BULKHEAD_VMX_SLOTS_H

#define SLOT_VSOCK 1
#define SLOT_BALLOON 2
#define SLOT_NET 3      // first of NETS_MAX
#define NETS_MAX 4
#define SLOT_REHEARSAL (SLOT_NET + NETS_MAX - 1)   // in a clone that waits for its pod: a network card that leads nowhere
#define SLOT_DISK (SLOT_NET + NETS_MAX)   // first of DISKS_MAX
#define DISKS_MAX 16
#define SLOT_RNG (SLOT_DISK + DISKS_MAX)
#define SLOTS 24

_Static_assert(SLOT_RNG + 1 == SLOTS, "the machine has 24 slots");

#endif
