// SPDX-License-Identifier: Apache-2.0
// The bytes of one client connection after the HTTP server has handed it over: its socket, and the TLS session on it.
#ifndef BH_HOSTD_STREAMING_WIRE_H
#define BH_HOSTD_STREAMING_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct gnutls_session_int;

struct wire {
	int fd;
	struct gnutls_session_int *tls;   // NULL: plain (tests)
	const void *extra;                // bytes read already by the HTTP server, given first
	size_t extra_len;
	size_t retry_len;                 // of a TLS write that must be completed first
};

/* Neither of them waits, whatever the socket's mode. Returns bytes; -EAGAIN; read: 0 at the end; -errno. */
ssize_t wire_read(struct wire *w, void *data, size_t len);
ssize_t wire_write(struct wire *w, const void *data, size_t len);

bool wire_has_bytes(const struct wire *w);   // a read would give some that poll does not know of

#endif
