// SPDX-License-Identifier: Apache-2.0
// What a vmx is told at start: the JSON of proto/vmx_msg.h, checked.
#ifndef BULKHEAD_VMX_CONFIG_H
#define BULKHEAD_VMX_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "virtio/net.h"
#include "vmx/slots.h"

struct vmx_disk_config {
	char serial[21];        // 1-20 printable characters, unique
	char *path;             // owned
	bool read_only;
};

struct vmx_net_config {
	int tap_fd[NET_PAIRS_MAX];
	unsigned ntaps;         // 1: QEMU's are the first queue alone
	char mac[18];
	bool vnet_hdr;
};

struct vmx_config {
	char *id, *name, *cmdline;     // owned
	char *engine;                  // owned; "qemu" or "kvm"
	char *metrics_dir;             // owned; NULL: nobody reads its counters
	unsigned vcpus;
	unsigned memory_mib;
	int kernel_fd, initrd_fd;      // descriptors of this process, as started; close-on-exec
	int control_fd, vsock_fd, console_fd, ready_fd;
	uint64_t console_max_bytes;
	unsigned ndisks, nnets;
	struct vmx_disk_config disk[DISKS_MAX];
	struct vmx_net_config net[NETS_MAX];
	char *cpu_model;               // owned; NULL: all that the host has
	bool waiting;                  // network cards and further disks come later, by vmx_config_plug
	bool template;                 // every virtio slot is declared to the guest, filled or not
	int restore_state_fd, restore_memory_fd;   // -1: the VM boots
	bool paged;
	int userfault_fd;              // -1: none was given
	uid_t uid;                     // 0: stay what we are
	gid_t gid;
};

/* Read and check. fd: borrowed, read from its beginning. Every descriptor named must be open and of the right kind.
 * Returns 0 and *c (owned by the caller), or -errno and a sentence that names the field. ready_fd is set as soon as it
 * is known (-1 before), so that even a bad configuration can be answered. */
int vmx_config_read(int fd, struct vmx_config **c, int *ready_fd, struct err *e);
/* What VMX_MSG_PLUG says: c gets a name, disks and network cards (its tap_fd: borrowed). fds: the message's descriptors, nfds of
 * them, the first is the JSON. files: room for nfds. 0 or -errno; c may then have some of it. */
struct vmx_file { char *path; int fd; bool given; };   // path: owned; fd: borrowed
int vmx_config_plug(struct vmx_config *c, const int *fds, size_t nfds, struct vmx_file *files, unsigned *nfiles, struct err *e);

void vmx_config_free(struct vmx_config *c);

#endif
