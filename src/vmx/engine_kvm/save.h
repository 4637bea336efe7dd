// SPDX-License-Identifier: Apache-2.0
// A whole VM of the KVM engine, saved and restored: machine, ports and the devices in their slots.
#ifndef BULKHEAD_KVM_SAVE_H
#define BULKHEAD_KVM_SAVE_H

#include "base/buf.h"
#include "base/err.h"
#include "vmx/engine_kvm/bus.h"
#include "vmx/engine_kvm/machine.h"
#include "vmx/engine_kvm/state.h"

/* The machine is stopped, its devices are paused. 0 and b filled, or -errno. */
int save_vm(struct machine *m, struct bus *bus, const struct state_shape *shape, struct buf *b, struct err *e);

/* A fresh machine and fresh devices become what was saved, paused. What the state does not mention stays fresh; what it
 * mentions must be there. cpu_model: which the saved processors must be of, NULL: any. bytes: of the file. 0, or -errno and a sentence. */
int restore_vm(struct machine *m, struct bus *bus, const struct state_shape *shape, const char *cpu_model, const struct buf *bytes,
	       struct err *e);

/* The whole file behind fd. 0 or -errno. */
int state_read(int fd, struct buf *out, struct err *e);

#endif
