// SPDX-License-Identifier: Apache-2.0
// Guest memory that pagerd hands out page by page: the mappings of this process and of the engine's, each registered with
// a userfaultfd before anything touches it. From then on a thread that touches a page that is not there waits until
// pagerd has been given what VMX_MSG_MEMORY answers. The descriptors are kept as long as the VM lives, so that a pagerd
// that was started again can be given them again, and so that no waiting thread is ever forgotten by the kernel.
#ifndef BULKHEAD_VMX_PAGING_H
#define BULKHEAD_VMX_PAGING_H

#include <stdbool.h>

#include "base/err.h"
#include "vmx/proto/vmx_msg.h"

struct evloop;
struct evwatch;
struct guest_ram;
struct vmx_config;

struct paging {
	bool on;                        // the configuration wants it
	bool known;                     // all mappings are registered: memory and fds are whole
	int device;                     // borrowed: open /dev/userfaultfd, -1: none
	int plugin;                     // owned: what QEMU loads to announce its mappings; -1: none
	const struct guest_ram *ram;    // borrowed
	struct vmx_memory memory;       // but for its head
	int fds[1 + VMX_MAPS_MAX];      // what memory's maps name; 0 is the memory's own, borrowed; the others are owned
	struct evwatch *watch;          // of the socket to the engine's process, owned
	void (*on_known)(void *user);   // may be NULL
	void *user;
};

#define PAGING_INIT {.device = -1, .plugin = -1}

/* What needs the rights that the jail takes away. ram: open, untouched. other_process: the engine runs the guest in a
 * process of its own. Returns 0 or -errno; nothing is done when the configuration does not ask for paging. */
int paging_open(struct paging *p, const struct vmx_config *c, const struct guest_ram *ram, bool other_process, struct err *e);
void paging_close(struct paging *p);

/* Register this process's mapping. From here on no thread that pagerd's clients need may touch guest memory: the main
 * thread never does. 0 or -errno. */
int paging_own(struct paging *p, struct err *e);

/* The engine's process will announce its mappings on sock (owned from now on, in any case; pagerd/proto/engine_msg.h) and
 * is answered at once. 0 or -errno. */
int paging_expect(struct paging *p, struct evloop *l, int sock, struct err *e);

#endif
