// SPDX-License-Identifier: Apache-2.0
// How TLS records leave: those that are known to be followed by more at once are left with the kernel, which sends them together,
// in fewer and larger packets.
#ifndef BH_SERVER_TLS_PUSH_H
#define BH_SERVER_TLS_PUSH_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

struct tls_push {
	int fd;
	bool more;      // what is sent now is followed by more; the owner's, changed before it is handed to the session
	bool held;      // the kernel may still have some
};

/* p lives as long as the session is used. */
void tls_push_attach(struct tls_push *p, gnutls_session_t session, int fd);
/* Nothing follows after all. */
void tls_push_flush(struct tls_push *p);

#endif
