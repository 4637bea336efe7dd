// SPDX-License-Identifier: Apache-2.0
// Put a kernel, its initramfs and its command line into guest memory, and say where the first processor begins:
//   an ELF file with the note XEN_ELFNOTE_PHYS32_ENTRY: by the PVH protocol, in 32-bit mode without paging;
//   an ELF file without: by the 64-bit boot protocol of Linux, at its entry point;
//   a bzImage: by the 32-bit boot protocol of Linux.
#ifndef BULKHEAD_KVM_BOOT_H
#define BULKHEAD_KVM_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/guest_mem.h"

struct boot_entry {
	uint64_t rip;
	uint32_t rbx, rsi;  // guest address of the PVH start info or of Linux's boot parameters
	uint64_t cr3;       // 64-bit mode, with these page tables; 0: 32-bit mode without paging
};

/* mem: the guest's memory, first region at 0. kernel_fd, initrd_fd: regular files; initrd_fd -1: none. rsdp: guest address
 * of the ACPI root pointer. Returns 0, or -errno and a sentence. */
int boot_load(const struct guest_mem *mem, int kernel_fd, int initrd_fd, const char *cmdline, gpa_t rsdp,
	      struct boot_entry *out, struct err *e);

#endif
