// SPDX-License-Identifier: Apache-2.0
// Put a kernel, its initramfs and its command line into guest memory, by the PVH boot protocol: an ELF file with the
// note XEN_ELFNOTE_PHYS32_ENTRY, entered in 32-bit mode without paging.
#ifndef BULKHEAD_KVM_BOOT_H
#define BULKHEAD_KVM_BOOT_H

#include <stdint.h>

#include "base/err.h"
#include "virtio/guest_mem.h"

struct boot_entry {
	uint32_t eip;       // where the first processor begins
	uint32_t ebx;       // guest address of the start info
};

/* mem: the guest's memory, first region at 0. kernel_fd, initrd_fd: regular files; initrd_fd -1: none. rsdp: guest address
 * of the ACPI root pointer. Returns 0, or -errno and a sentence. */
int boot_load(const struct guest_mem *mem, int kernel_fd, int initrd_fd, const char *cmdline, gpa_t rsdp,
	      struct boot_entry *out, struct err *e);

#endif
