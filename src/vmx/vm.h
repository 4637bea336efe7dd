// SPDX-License-Identifier: Apache-2.0
// One VM: its memory, devices and state, and the engine that runs it. Owned by the main thread.
#ifndef BULKHEAD_VMX_VM_H
#define BULKHEAD_VMX_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/guest_mem.h"
#include "vmx/config.h"
#include "vmx/paging.h"
#include "vmx/proto/vmx_msg.h"
#include "vmx/tsc.h"

struct bh_disk;
struct balloon;
struct blk;
struct console;
struct devthread;
struct engine;
struct engine_ops;
struct evloop;
struct net;
struct rng;
struct virtio_dev;
struct vsock;

struct vm_device {                  // a device of ours, on a thread of its own
	struct devthread *thread;   // owned
	struct virtio_dev *dev;     // borrowed from vsock or disk below
	unsigned slot;              // virtio-mmio slot
};

struct vm_disk {
	struct bh_disk *disk;       // owned
	struct blk *blk;            // owned
	struct vm_device device;
};

struct vm_net {
	struct net *net;            // owned
	struct vm_device device;
};

struct vm {
	struct vmx_config *config;         // borrowed
	struct evloop *loop;               // borrowed: the main thread's
	enum vmx_state state;
	pid_t pid;                         // of this process, as the host numbers it
	uint64_t start_real_ns, start_ns;  // when vmx started; the second on the monotonic clock
	uint64_t engine_ns;                // monotonic: when the engine was started
	struct tsc_mark tsc;               // taken at start
	struct guest_ram ram;
	struct paging paging;
	struct vsock *vsock;               // owned
	struct vm_device vsock_device;
	struct vm_disk disk[DISKS_MAX];    // config->ndisks of them
	struct vm_net net[NETS_MAX];       // config->nnets of them, where the engine has no network cards of its own
	struct devthread *small_thread;    // owned; of the two devices that have little to do, where the engine has none of its own
	struct rng *rng;                   // owned
	struct balloon *balloon;           // owned
	struct vm_device rng_device, balloon_device;   // on small_thread
	struct console *console;           // owned; made by the engine
	const struct engine_ops *ops;
	struct engine *engine;             // owned
	bool stop_asked;                   // somebody wanted the end
	bool failed;                       // it ended otherwise than by power off or on request
	char why[ERR_TEXT_MAX];            // how it ended, a sentence
};

/* Make memory and devices: everything that is opened by path is opened here. 0 or -errno; vm_fini in any case. */
int vm_init(struct vm *vm, struct vmx_config *c, struct evloop *l, struct err *e);
void vm_fini(struct vm *vm);             // kills the guest, flushes and closes the disks

int vm_start(struct vm *vm, struct err *e);       // starts engine and device threads
/* The VM waited: it is a pod's now, with the disks and network cards that VMX_MSG_PLUG names. 0 or -errno: it is good for nothing then. */
int vm_plug(struct vm *vm, const int *fds, size_t nfds, struct err *e);
void vm_kill(struct vm *vm);                      // on request
int vm_power_button(struct vm *vm, struct err *e);
/* size: 0: a raw disk's file has grown by itself. -EALREADY: the guest knows that size. May wait for I/O in flight. */
int vm_resize(struct vm *vm, const char *serial, uint64_t size_bytes, struct err *e);
/* Pause and save; see VMX_MSG_SAVE. 0: it stays paused, -errno: it runs on. */
int vm_save(struct vm *vm, int state_fd, int memory_fd, struct err *e);
int vm_balloon(struct vm *vm, uint64_t target_bytes, struct err *e);   // the guest shall do without so much. 0 or -errno
void vm_status(const struct vm *vm, struct vmx_status *s);         // all but head

// Called by the engine, on the main thread.
void vm_running(struct vm *vm);                                    // the guest's processors run
/* The guest is no more; ends the main loop. failed: it did not power off by itself. */
void vm_ended(struct vm *vm, bool failed, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
