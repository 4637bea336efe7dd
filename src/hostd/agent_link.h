// SPDX-License-Identifier: Apache-2.0
// The wire below agent_client.h: a connection to a guest's vsock port through VMDIR/vsock.sock, and frames on it.
#ifndef BH_HOSTD_AGENT_LINK_H
#define BH_HOSTD_AGENT_LINK_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define AGENT_PORT_CONTROL 1024
#define AGENT_PORT_STREAM 1025
#define AGENT_MESSAGE_MAX (4u << 20)

/* CONNECT port; wait for OK. A blocking socket, owned by the caller; -ECONNREFUSED: nobody listens there (yet);
 * -ETIMEDOUT; -errno. */
int agent_link_open(const char *vsock_path, unsigned port, uint32_t timeout_ms, struct err *e);

/* [u32 little-endian length][bytes]. Block. 0 or -errno; receiving: -ENODATA at the end, -EPROTO too long. in is
 * cleared first. */
int agent_link_send(int fd, const void *message, size_t len);
int agent_link_recv(int fd, struct buf *in);

/* A head and what follows it, in one go. Blocks. 0 or -errno. */
int agent_link_send_parts(int fd, const void *head, size_t head_len, const void *data, size_t len);

#endif
