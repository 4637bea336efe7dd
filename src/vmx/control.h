// SPDX-License-Identifier: Apache-2.0
// The control socket: answers the messages of proto/vmx_msg.h to any number of clients, up to 16 at once.
#ifndef BULKHEAD_VMX_CONTROL_H
#define BULKHEAD_VMX_CONTROL_H

struct control;
struct evloop;
struct vm;

/* listen_fd: listening SOCK_SEQPACKET socket, borrowed. NULL: no memory. */
struct control *control_new(struct evloop *l, int listen_fd, struct vm *vm);
void control_free(struct control *c);

#endif
