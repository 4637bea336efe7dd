// SPDX-License-Identifier: Apache-2.0
// Reading and writing a client connection; see streaming_wire.h.
#include "streaming_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>

static ssize_t tls_result(ssize_t n)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
		return -EAGAIN;
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;   // closed without a good-bye: the streams' own protocol knows whether something is missing
	return n == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -ECONNRESET;
}

ssize_t wire_read(struct wire *w, void *data, size_t len)
{
	if (w->extra_len) {
		size_t n = len < w->extra_len ? len : w->extra_len;
		memcpy(data, w->extra, n);
		w->extra = (const char *)w->extra + n;
		w->extra_len -= n;
		return (ssize_t)n;
	}
	if (w->tls) {
		ssize_t n = gnutls_record_recv(w->tls, data, len);
		/* A client that asks for new keys in TLS 1.2 is not answered. */
		return n == GNUTLS_E_REHANDSHAKE || n == GNUTLS_E_WARNING_ALERT_RECEIVED ? -EAGAIN : tls_result(n);
	}
	ssize_t n = recv(w->fd, data, len, MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

ssize_t wire_write(struct wire *w, const void *data, size_t len)
{
	if (!w->tls) {
		ssize_t n = send(w->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		return n < 0 ? -errno : n;
	}
	/* A record that did not fit into the socket is kept by GnuTLS, which wants to be called again for it. */
	ssize_t n = w->retry_len ? gnutls_record_send(w->tls, NULL, 0) : gnutls_record_send(w->tls, data, len);
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
		if (!w->retry_len)
			w->retry_len = len;
		return -EAGAIN;
	}
	w->retry_len = 0;
	return n == 0 ? -EAGAIN : tls_result(n);
}

bool wire_has_bytes(const struct wire *w)
{
	return w->extra_len || (w->tls && gnutls_record_check_pending(w->tls));
}
