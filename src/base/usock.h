// SPDX-License-Identifier: Apache-2.0
// Unix-domain sockets between our processes. Descriptors are close-on-exec. Paths longer than sun_path are refused
// with -ENAMETOOLONG.
#ifndef BH_USOCK_H
#define BH_USOCK_H

#include <stddef.h>
#include <sys/types.h>

#include "err.h"

/* type: SOCK_STREAM or SOCK_SEQPACKET. mode: permissions of the socket file. A stale file at path is replaced.
 * Returns the listening descriptor or -errno. */
int usock_listen(const char *path, int type, mode_t mode, struct err *e);

/* Returns a connected, blocking descriptor or -errno. */
int usock_connect(const char *path, int type, struct err *e);

#define USOCK_FDS_MAX 16

/* Send one message with nfds descriptors (borrowed). Returns 0 or -errno. */
int usock_send(int fd, const void *data, size_t len, const int *fds, size_t nfds);

/* Receive one message of at most len bytes. fds: room for *nfds descriptors; on return *nfds = received, owned by the
 * caller, close-on-exec. Returns bytes, 0 at end of stream, or -errno (-EMSGSIZE: truncated; descriptors closed). */
ssize_t usock_recv(int fd, void *data, size_t len, int *fds, size_t *nfds);

#endif
