// SPDX-License-Identifier: Apache-2.0
// Saving a QEMU guest, and going on from what was saved: the conversation with QEMU's monitor. The guest's memory is left
// out of QEMU's state (x-ignore-shared); it is a file of its own.
#ifndef BULKHEAD_VMX_QEMU_STATE_H
#define BULKHEAD_VMX_QEMU_STATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct qmp;
struct vm;

struct qemu_state {
	struct vm *vm;                         // borrowed
	struct qmp *qmp;                       // borrowed
	enum { QEMU_STATE_NONE, QEMU_STATE_SAVING, QEMU_STATE_LOADING } doing;
	bool done;                             // saving: it has ended, one way or the other
	char why[ERR_TEXT_MAX];                // saving, plugging: what went wrong
	unsigned waiting;                      // plugging: answers that have not come yet
};

/* QEMU takes commands and waits for a state (-incoming defer -S): give it the state, then the vsock device, which no saved
 * state may hold, and let the guest run. vm_running or vm_ended follows. Returns 0 or -errno. */
int qemu_state_load(struct qemu_state *s, struct err *e);

/* The network cards of a guest that waited, and its disks from that one on: into their slots. Waits for QEMU. 0 or -errno. */
int qemu_state_plug(struct qemu_state *s, unsigned first_disk, struct err *e);

/* Pause the guest, write QEMU's state and the memory. Waits for QEMU. 0: it stays paused; -errno: it runs on. */
int qemu_state_save(struct qemu_state *s, int state_fd, int memory_fd, struct err *e);

void qemu_state_event(struct qemu_state *s, const char *name, const json_t *data);   // every event comes here

#endif
