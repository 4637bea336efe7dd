// SPDX-License-Identifier: Apache-2.0
// What the files around a VM's control connection share.
#ifndef BH_HOSTD_VM_INTERNAL_H
#define BH_HOSTD_VM_INTERNAL_H

#include "vm.h"

/* Ask vmx: fds (borrowed) go with the request, whose version and id are filled in; the first reply_len bytes of the answer are copied. One
 * at a time, any thread. 0 or -errno; vmx's own sentence in e. */
int vm_request(struct vm *vm, struct vmx_msg *rq, size_t rq_len, const int *fds, size_t nfds, void *reply, size_t reply_len, struct err *e);

#endif
