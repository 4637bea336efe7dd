// SPDX-License-Identifier: Apache-2.0
// One HTTP request, from its first line to the last byte of its answer. A handler runs on an HTTP thread and must not
// block: it either sets a reply, or suspends the request and has somebody resume it.
#ifndef BH_SERVER_REQUEST_H
#define BH_SERVER_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>

#include "base/buf.h"
#include "server/flows.h"
#include "server/identity.h"
#include "server/obj.h"
#include "server/route.h"
#include "server/server.h"
#include "server/store.h"

#define REQUEST_BODY_MAX (3u << 20)

struct audit_event;
struct pump_conn;
struct tls_push;

struct request {
	struct server *srv;
	struct MHD_Connection *conn;
	struct tls_push *push;               // the connection's
	struct route route;
	struct audit_event *audit;           // what the audit log will say of it (audit.h); NULL: nothing
	const struct identity *who;          // lives as long as the request
	struct identity *token_who;          // owned: who a bearer token names
	struct buf body;
	size_t body_seen;                    // bytes of body that came, kept or not
	bool started, admitted, complete;    // headers seen; allowed; body seen
	bool chunked;                        // the client takes answers in chunks (HTTP/1.1)
	bool follows;                        // its work is done, it goes on while there is something to follow (request_follows)
	bool counted;                        // in srv->requests
	char *uri;

	struct MHD_Response *response;       // the reply once there is one
	unsigned code;

	void (*resume)(struct request *r);   // what goes on after a suspension
	struct flow_ticket ticket;           // fair.h
	uint64_t working_since;              // its work since then is still to be charged
	void (*fair_admit)(struct request *r);
	struct store_wait refresh;           // a shared store is looked at before the request is served
	void *state;                         // the handler's, freed by free_state with the request
	void (*free_state)(void *state);
};

const char *request_header(const struct request *r, const char *name);   // NULL when absent
void request_count(struct request *r);      // as one that is to be answered
void request_follows(struct request *r);    // its work is done; fine again
void request_ended(struct request *r);
/* Is there no other that is not answered yet? Then nobody is kept waiting by what this one does on its HTTP thread. */
bool request_is_alone(const struct request *r);

/* Suspend r: the handler returns without a reply; resume(r) runs on an HTTP thread after request_wake. */
void request_suspend(struct request *r, void (*resume)(struct request *r));
void request_wake(struct request *r);   // any thread, once per suspension
/* The same for the body of an answer: its reader returns 0 after request_pause, and is called again after request_wake. */
void request_pause(struct request *r);
/* Or its reader returns MHD_CONTENT_READER_END_WITH_ERROR after this one: the request ends, its connection is pump.h's, and the
 * answer goes on with pump_begin, to be called when the reader is freed. What it has returned before must be all of the answer that
 * there is now. NULL: that cannot be done. */
struct pump_conn *request_leave(struct request *r);

/* Replies; each sets r->response once. Stolen arguments are freed on failure too. */
void reply_json(struct request *r, unsigned code, json_t *j);                          // steals j
void reply_status(struct request *r, json_t *status);                                  // steals status; code from it
void reply_obj(struct request *r, unsigned code, struct obj *o);                       // steals o; sends its text
void reply_text(struct request *r, unsigned code, const char *type, const char *text); // copies text
void reply_buf(struct request *r, unsigned code, const char *type, struct buf *b);     // takes over b's bytes
/* len bytes at data that stay until free_fn(user), which is called when the answer is sent (or cannot be). */
void reply_shared(struct request *r, unsigned code, const char *type, const char *data, size_t len, void (*free_fn)(void *user),
		  void *user);

/* An answer produced piece by piece, of about so many bytes (0: not known, it goes on). read: as MHD_ContentReaderCallback (may suspend the connection and return 0). */
void reply_stream(struct request *r, unsigned code, const char *type, size_t about, MHD_ContentReaderCallback read,
		  MHD_ContentReaderFreeCallback free_fn, void *user);

#endif
