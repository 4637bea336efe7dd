// SPDX-License-Identifier: Apache-2.0
// The back-end of the vhost-user protocol: serves one virtio device to a front-end (QEMU) on a connected Unix socket.
// The front-end is not trusted with our memory: every length, index and descriptor is checked, and the guest memory it
// names must be the memory that we gave it. A message that breaks the protocol ends the connection.
#ifndef BULKHEAD_VHOST_USER_H
#define BULKHEAD_VHOST_USER_H

#include "virtio/guest_mem.h"
#include "virtio/virtio_dev.h"

struct evloop;
struct vhost_user;

struct vhost_user_attr {
	struct evloop *loop;            // of the device's thread; borrowed
	int fd;                         // connected SOCK_STREAM socket; owned by vhost_user once it is made
	struct virtio_dev *dev;         // borrowed
	const struct guest_ram *ram;    // the only memory accepted; borrowed
	void (*closed)(void *user, const char *why);   // the connection ended; why: NULL when the peer just left
	void *user;
};

/* Returns NULL when there is no memory (a->fd is then still the caller's). */
struct vhost_user *vhost_user_new(const struct vhost_user_attr *a);
void vhost_user_free(struct vhost_user *u);   // stops the queues, closes the connection

#endif
