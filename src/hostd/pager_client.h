// SPDX-License-Identifier: Apache-2.0
// hostd's connection to bulkhead-pagerd. It keeps every VM attached: the descriptors and VADs that a VM was attached with
// are held here, and when pagerd has died and come back, a thread attaches all of them again.
// All calls: any thread; they may block for a round trip (a few seconds at most).
#ifndef BH_HOSTD_PAGER_CLIENT_H
#define BH_HOSTD_PAGER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pagerd/proto/pager_msg.h"
#include "vmx/proto/vmx_msg.h"

struct pager_client;

/* control: pagerd's socket, which need not be there yet. Returns 0; -errno: no memory, no thread. */
int pager_client_start(const char *control, struct pager_client **out, struct err *e);
void pager_client_stop(struct pager_client *c);            // VMs stay attached to pagerd. NULL allowed

/* Can a VM that starts now be paged: pagerd is there and this host lets processes use userfaultfd? If not, a sentence why
 * in why (len bytes; untouched otherwise). c NULL: no. Waits a moment for a pagerd that is just being started. */
bool pager_client_usable(struct pager_client *c, char *why, size_t len);
/* An open /dev/userfaultfd for vmx to inherit, borrowed; -1: this host has none. */
int pager_client_device(const struct pager_client *c);

#define PAGER_CLIENT_FDS_MAX 16
struct pager_client_vm {
	uint8_t id[16];                      // of this run of the VM: never the same for two
	struct vmx_memory memory;            // vmx's answer to VMX_MSG_MEMORY
	int memory_fd[1 + VMX_MAPS_MAX];     // and its descriptors, memory.fds of them; borrowed
	uint64_t limit_bytes, reserve_bytes; // as in struct pager_attach
	uint32_t shares;
	/* Where the pages come from. None: all of the memory is zeros. fd: which of vad_fd; borrowed. */
	const struct pager_vad *vad;
	size_t vads;
	const int *vad_fd;
	size_t vad_fds;
};

/* Attach, or change what is attached under this id. While pagerd is away the VM is attached as soon as it is back, and
 * this returns 0. -errno with text: pagerd refuses; the VM is not kept. -EINVAL: too many VADs or descriptors. */
int pager_client_attach(struct pager_client *c, const struct pager_client_vm *vm, struct err *e);
/* Another share of the host's memory for an attached VM. 0; -ENOENT: it is not attached; -errno with pagerd's text. */
int pager_client_limit(struct pager_client *c, const uint8_t id[16], uint64_t limit_bytes, uint64_t reserve_bytes, uint32_t shares,
		       struct err *e);
/* The VM is gone. Nothing to do if it was not attached. */
void pager_client_detach(struct pager_client *c, const uint8_t id[16]);

/* The rest: 0; -ENOTCONN pagerd is away; -ENOENT it does not know the VM; -errno with its text. out: written on success. */
int pager_client_stats(struct pager_client *c, const uint8_t id[16], struct pager_stats *out, struct err *e);
int pager_client_host(struct pager_client *c, struct pager_host *out, struct err *e);
/* Load a range of guest memory, bytes, multiples of 4096. *pages: how many were loaded. */
int pager_client_prefetch(struct pager_client *c, const uint8_t id[16], uint64_t offset, uint64_t length, uint64_t *pages,
			  struct err *e);

#endif
