// SPDX-License-Identifier: Apache-2.0
// Answers that go on for long (watches) after they have left the HTTP library: a few threads write what there is straight to the
// sockets. An answer with nothing to say costs nobody anything, and what many have to say at once costs one wake-up.
//
// Whatever the client sends, and its hang-up, ends the answer; so does a client that takes nothing for two minutes. What the
// client does not take is held to PUMP_HELD_MAX bytes, and nothing more is asked of the source until it is gone.
#ifndef BH_SERVER_PUMP_H
#define BH_SERVER_PUMP_H

#include <gnutls/gnutls.h>
#include <sys/types.h>

#include "base/err.h"

struct pump;
struct pump_conn;

#define PUMP_END (-1)
#define PUMP_HELD_MAX (8 * 16406)

/* Where an answer's bytes come from. Called on one thread at a time. */
struct pump_source {
	/* Up to max bytes; 0: there are none, and pump_wake will be called when there are; PUMP_END: the answer is over. */
	ssize_t (*read)(void *user, char *out, size_t max);
	/* The connection is gone. No pump_wake may come after it. */
	void (*free)(void *user);
};

/* limit: of answers at a time; count: incremented while one is under way. */
int pump_start(unsigned threads, unsigned limit, _Atomic int *count, struct pump **p, struct err *e);
void pump_stop(struct pump *p);     // from now on who does not take what there is is cut off, and nobody comes; NULL is fine
void pump_free(struct pump *p);     // after pump_stop, when no answer is left; NULL is fine
unsigned pump_live(struct pump *p); // answers under way

/* Take a connection over from its TLS session, which must have sent everything and sends nothing from now on; fd is duplicated.
 * Its answer (HTTP/1.1, chunked) goes on after pump_begin. Returns 0, -ENOTSUP (tls_out.h), -EBUSY (there are as many as
 * there may be, or the pump is stopping), -ENOMEM or -EMFILE: nothing was done. */
int pump_take(struct pump *p, gnutls_session_t session, int fd, struct pump_conn **c);
void pump_begin(struct pump_conn *c, const struct pump_source *source, void *user);
void pump_wake(struct pump_conn *c);   // any thread, after pump_begin; does not block

#endif
