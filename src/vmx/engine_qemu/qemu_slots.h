// SPDX-License-Identifier: Apache-2.0
// The initramfs of a template: the given one behind an ACPI table that declares every virtio slot (guest/slots.asl).
#ifndef BULKHEAD_VMX_QEMU_SLOTS_H
#define BULKHEAD_VMX_QEMU_SLOTS_H

#include "base/err.h"

/* Returns a descriptor, the caller's, or -errno. initrd_fd: borrowed. */
int qemu_slots_initrd(int initrd_fd, struct err *e);

#endif
