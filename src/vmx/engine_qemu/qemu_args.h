// SPDX-License-Identifier: Apache-2.0
// QEMU's command line for a VM.
#ifndef BULKHEAD_VMX_QEMU_ARGS_H
#define BULKHEAD_VMX_QEMU_ARGS_H

#include "vmx/config.h"

struct vm;

struct qemu_fds {               // QEMU's ends; the caller's
	int console, qmp, vsock;
	int initrd;             // instead of the configuration's; -1: none
	int pager;              // SOCK_SEQPACKET; only of a paged VM
	int disk[DISKS_MAX];
};

#define QEMU_ARGS_MAX 192
#define QEMU_KEEP_MAX 64

struct qemu_args {
	char *argv[QEMU_ARGS_MAX];      // owned, NULL-terminated
	int argc;
	int keep[QEMU_KEEP_MAX];        // descriptors that the command line names; borrowed
	int nkeep;
};

/* Returns 0 or -errno; qemu_args_fini in any case. */
int qemu_args_build(struct qemu_args *a, const struct vm *vm, const struct qemu_fds *fds, struct err *e);
void qemu_args_fini(struct qemu_args *a);

#endif
