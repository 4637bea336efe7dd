// SPDX-License-Identifier: Apache-2.0
// The sending side of a TLS 1.3 session, taken out of the session that shook hands (as a kernel's TLS would take it): records
// are sealed in place, many can leave in one system call, and nothing but the keys is kept. All cryptography is GnuTLS's.
#ifndef BH_SERVER_TLS_OUT_H
#define BH_SERVER_TLS_OUT_H

#include <gnutls/gnutls.h>
#include <stddef.h>
#include <stdint.h>

struct tls_out;

#define TLS_OUT_HEAD 5                  // bytes of a record before its text
#define TLS_OUT_TAIL 17                 // and after it
#define TLS_OUT_TEXT_MAX 16384          // bytes of text in one record

/* Everything that session has sent must be out, and it must send nothing more. It may be freed at once. Returns 0, -ENOTSUP (not
 * TLS 1.3, or a cipher that is not known here) or -ENOMEM. */
int tls_out_take(gnutls_session_t session, struct tls_out **out);
void tls_out_free(struct tls_out *o);   // NULL is fine

/* Make a record of the len bytes at record + TLS_OUT_HEAD. Returns its size (len + TLS_OUT_HEAD + TLS_OUT_TAIL), or -EOVERFLOW:
 * the keys have protected as much as they may. */
int tls_out_seal(struct tls_out *o, char *record, size_t len);
/* Records that the keys may still protect. */
uint64_t tls_out_left(const struct tls_out *o);
/* Make the record that says that nothing follows: TLS_OUT_CLOSE bytes. */
#define TLS_OUT_CLOSE (TLS_OUT_HEAD + 2 + TLS_OUT_TAIL)
int tls_out_seal_close(struct tls_out *o, char *record);

#endif
