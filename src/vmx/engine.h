// SPDX-License-Identifier: Apache-2.0
// What runs the guest's processors: the private interface that engine_qemu and engine_kvm stand behind.
// All calls are made on the main thread. The engine tells the VM what happens by vm_running and vm_ended.
#ifndef BULKHEAD_VMX_ENGINE_H
#define BULKHEAD_VMX_ENGINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct vm;
struct vmx_status;
struct engine;            // of one VM; each engine has its own

struct engine_ops {
	const char *name;                                     // as in the configuration
	bool has_transport;                                   // drives our devices in this process, network cards too; runs no program
	/* Open what is opened by path, before the jail is closed. NULL: nothing. Returns 0 and *out, or -errno. */
	int (*open)(struct vm *vm, struct engine **out, struct err *e);
	/* Start the guest; *out is what open made. The VM's memory is there and its devices exist; the engine connects them to a transport.
	 * Returns 0 and *out, or -errno. */
	int (*start)(struct vm *vm, struct engine **out, struct err *e);
	void (*kill)(struct engine *g);                       // end the guest now; vm_ended follows
	int (*power_button)(struct engine *g, struct err *e); // ask the guest to power off. 0 or -errno
	void (*exits)(const struct engine *g, struct vmx_status *s);   // fill in the exits; NULL: not known
	/* Take so much of its memory from the guest, which decides when it can do without. 0 or -errno; NULL: cannot. */
	int (*balloon)(struct engine *g, uint64_t target_bytes, struct err *e);
	uint64_t (*ballooned)(const struct engine *g);        // bytes taken by now; NULL: none
	pid_t (*pid)(const struct engine *g);                 // of a child process; 0: none
	/* Give the guest, which has run without, the network cards and the disks from first_disk on that are in vm now. 0, or -errno:
	 * some may be there. NULL: cannot; a VM of this engine does not wait. */
	int (*plug)(struct engine *g, unsigned first_disk, struct err *e);
	/* Pause the guest and write its state and its memory (proto/vmx_msg.h, VMX_MSG_SAVE). 0: it stays paused; -errno: it runs on.
	 * NULL: the engine cannot. */
	int (*save)(struct engine *g, int state_fd, int memory_fd, struct err *e);
	/* The guest is dead or dies here; the transports are taken down, on the device threads, which still run. */
	void (*free)(struct engine *g);
};

extern const struct engine_ops engine_kvm, engine_qemu;

#endif
