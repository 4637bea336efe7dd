// SPDX-License-Identifier: Apache-2.0
// One pod VM as hostd sees it: a bulkhead-vmx process and its folder (control.sock, vsock.sock, console.log, vmx.log,
// vm.json). The process outlives hostd; a new hostd adopts it by its folder.
#ifndef BH_HOSTD_VM_H
#define BH_HOSTD_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "vmx/proto/vmx_msg.h"

struct vm;
struct pager_client;
struct pager_vad;

/* Memory that comes from pagerd: where its pages are from and how much of it stays. All borrowed. */
struct vm_paging {
	struct pager_client *client;
	uint64_t limit_bytes, reserve_bytes;   // as in struct pager_attach
	unsigned shares;
	const struct pager_vad *vad;           // none: zeros; fd names one of vad_fd
	size_t vads;
	const int *vad_fd;
	size_t vad_fds;
};

struct vm_disk { const char *serial, *path; bool read_only; };

struct vm_config {
	const char *dir;           // made if absent
	const char *id, *name;     // pod uid, "ns/name"
	const char *vmx_path, *guest_dir, *engine;
	unsigned vcpus, memory_mib;
	const struct vm_disk *disks;
	size_t disks_count;
	int tap_fd;                // borrowed; -1: no network
	const int *queue_fd;       // the TAP's further queues, borrowed
	size_t queue_fds;
	bool vnet_hdr;
	const char *mac;
	const char *metrics_dir;   // where vmx links its counters; NULL: nowhere
	unsigned uid;              // the VM's user and group
	const char *cmdline;       // more words for the guest's kernel; NULL: none
	bool template;             // boots to be saved
	bool waiting;              // a restored one that gets disks and network card later, by vm_plug
	int restore_state_fd, restore_memory_fd;   // borrowed: go on from there instead of a boot; -1: no
	const struct vm_paging *paging;   // NULL: ordinary memory
};

/* Called once on the VM's watcher thread when the VM has ended. Must not call vm_close. */
typedef void vm_end_fn(void *user);

/* Start a VM and wait until its engine runs (not: until the guest has booted). May block for tens of ms.
 * 0 and *vm; -errno with the reason that vmx gave. */
int vm_start(const struct vm_config *c, vm_end_fn *on_end, void *user, struct vm **vm, struct err *e);

/* Find a VM that an earlier hostd started in dir. paging: if it is paged, as it was started (NULL: leave that alone).
 * -ENOENT: there is none, or it has ended. */
int vm_adopt(const char *dir, const struct vm_paging *paging, vm_end_fn *on_end, void *user, struct vm **vm, struct err *e);

/* Give a VM that waited the disks and the network card that c names, and its name. 0; -ENOTSUP: not these disks; -errno: the VM is
 * good for nothing then. */
int vm_plug(struct vm *vm, const struct vm_config *c, struct err *e);
/* Can vm_plug give a VM the disks that c names? 0; -ENOTSUP: they have too many files, or a filter that opens its own; -errno. */
int vm_plug_check(const struct vm_config *c, struct err *e);
/* Somebody else's from now on, who is told of its end, in another folder (which must not be there). 0; -EPIPE: it has ended, and
 * nobody is told; -errno. Nobody else may use the VM meanwhile. */
int vm_become(struct vm *vm, const char *dir, vm_end_fn *on_end, void *user, struct err *e);

int vm_status(struct vm *vm, struct vmx_status *out, struct err *e);   // any thread; blocks for one round trip
/* Pause it and write its state and memory (sparse); it stays paused. Takes seconds. */
int vm_save(struct vm *vm, int state_fd, int memory_fd, struct err *e);
void vm_end_leftover(const char *dir);   // a VM that an earlier hostd left in dir, if there is one
/* The same. False: it was killed, or does not answer, and is still there; *gone as of vm_gone_fd, and its user. */
bool vm_ended_leftover(const char *dir, int *gone, uid_t *uid);
/* Tell the VM that a disk has this size now. -EALREADY: it knows. */
int vm_resize(struct vm *vm, const char *serial, uint64_t size_bytes, struct err *e);
/* Ask the guest to do without so much memory; it takes its time (vmx_status says how far it is). -ENOTSUP: it has no balloon. */
int vm_balloon(struct vm *vm, uint64_t target_bytes, struct err *e);
uint64_t vm_balloon_asked(const struct vm *vm);   // what vm_balloon asked for last, in this process
bool vm_alive(const struct vm *vm);
int vm_memory_fd(struct vm *vm, struct err *e);   // its memfd, the caller's; -ENODATA: it is not paged; -errno
/* What pagerd says of the VM's memory. -ENODATA: it is not paged; -errno. Any thread. */
struct pager_stats;
int vm_memory_stats(struct vm *vm, struct pager_stats *out, struct err *e);
uint32_t vm_pid(const struct vm *vm);      // of vmx
/* Under which id pagerd knows the VM's memory; NULL: it is not paged. */
const uint8_t *vm_memory_id(const struct vm *vm);
const char *vm_vsock_path(const struct vm *vm);

/* End the VM: kill at once. Waits until its process is gone (at most a few seconds, then SIGKILL). Whether it is: one that hangs in the
 * kernel still has its user, files and devices. Any thread. */
bool vm_kill(struct vm *vm);
int vm_gone_fd(const struct vm *vm);       // the caller's; readable when the VM's process is gone; -1: cannot be known

/* Forget the VM (it goes on if alive). Waits for the watcher thread. NULL allowed. */
void vm_close(struct vm *vm);

/* For a reader that asks vm_status without the pod's lock: the handle stays usable (if only to say that the VM has ended)
 * until it is put back, even if it is closed meanwhile. */
struct vm *vm_get(struct vm *vm);
void vm_put(struct vm *vm);

/* The last lines the VM wrote about itself (vmx.log), one line, for messages. out: len bytes. */
void vm_last_words(const char *dir, char *out, size_t len);

#endif
