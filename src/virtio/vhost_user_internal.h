// SPDX-License-Identifier: Apache-2.0
// What vhost_user.c and vhost_user_ring.c share. A ring runs while it has addresses, a kick descriptor and is enabled.
// Messages that change it stop it first.
#ifndef BH_VHOST_USER_INTERNAL_H
#define BH_VHOST_USER_INTERNAL_H

#include "virtio/vhost_user.h"
#include "virtio/vhost_user_proto.h"

#define FDS_MAX 8

struct ring {
	struct vhost_user *u;
	unsigned index;
	uint32_t num;
	uint16_t next;
	bool has_addr, enabled;
	uint64_t desc, avail, used;   // user addresses
	int kick, call, err;          // owned; -1: none
	struct evwatch *watch;        // of kick, while running
};

struct vhost_user {
	struct vhost_user_attr a;
	struct evwatch *watch;
	struct guest_mem mem;
	uint64_t features, protocol;
	int backend_fd;               // where we send requests of our own; owned; -1: none
	struct ring *ring;            // a.dev->nqueues
	struct {                      // message being received, or the reply to it
		struct vhu_head head;
		union vhu_payload p;
	} in;
	size_t have;                  // bytes received of head and payload
	int fds[FDS_MAX];             // that came with it; owned
	unsigned nfds;
	const char *why;              // set by a handler: the protocol was broken
};

void ring_signal(int fd);                     // an eventfd, or -1
bool ring_running(const struct ring *r);
void ring_stop(struct ring *r);
/* Start the ring if everything is known. Returns a sentence if it cannot be as the front-end says. */
const char *ring_update(struct ring *r);
void rings_stop(struct vhost_user *u);
const char *rings_update(struct vhost_user *u);
void rings_reset(struct vhost_user *u);      // as they were before the first message

#endif
