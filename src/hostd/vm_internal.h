// SPDX-License-Identifier: Apache-2.0
// What the files around a VM's process and its control connection share.
#ifndef BH_HOSTD_VM_INTERNAL_H
#define BH_HOSTD_VM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "vm.h"

#define REPLY_TIMEOUT_MS 5000

struct vm {
	char *dir, *vsock_path, *group;    // group: the folder it was started in
	int control;               // connection for requests, guarded by lock
	int watch;                 // second connection, only to see the end
	int pidfd;
	pid_t pid;
	atomic_bool ended;
	atomic_int refs;
	uint64_t next_id;
	pthread_mutex_t lock;
	pthread_t watcher;
	int quit[2];               // written to stop the watcher
	pthread_mutex_t owner_lock;   // guards on_end and user, which change with the owner
	vm_end_fn *on_end;
	void *user;
	struct pager_client *pager;   // borrowed; NULL: the memory is not paged
	uint8_t memory_id[16];
	_Atomic uint64_t balloon_asked;
};

/* Ask vmx: fds (borrowed) go with the request, whose version and id are filled in; the first reply_len bytes of the answer are copied. One
 * at a time, any thread. 0 or -errno; vmx's own sentence in e. */
int vm_request(struct vm *vm, struct vmx_msg *rq, size_t rq_len, const int *fds, size_t nfds, void *reply, size_t reply_len, struct err *e);

/* Connect to the VM in dir and start watching it. 0 and *out; -errno as vm_adopt. */
int vm_attach(const char *dir, const struct vm_paging *paging, vm_end_fn *on_end, void *user, struct vm **out, struct err *e);
/* Hand the memory of the VM at the other end of sock to pagerd; id: under which it knows it. May wait until its engine has mapped it.
 * -ENODATA: it is not paged; -EPIPE: it has ended; -ENOTSUP: pagerd does not take it. */
int vm_memory_attach(int sock, const struct vm_paging *p, uint8_t id[16], struct err *e);
char *vm_path(const char *dir, const char *name);   // heap; NULL: no memory

#endif
