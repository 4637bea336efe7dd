// SPDX-License-Identifier: Apache-2.0
// Shared by the handlers of hostd's HTTPS server: one request on its way, and how to answer it.
#ifndef BH_HOSTD_STREAMING_INTERNAL_H
#define BH_HOSTD_STREAMING_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>

#include "streaming.h"
#include "streaming_params.h"
#include "streaming_wire.h"

#define RETIRED_MAX 8

struct streaming {
	struct MHD_Daemon *daemon;
	struct MHD_Daemon *retired[RETIRED_MAX];   // with earlier certificates: serve the connections they have
	unsigned retired_count;
	const char *cert_path, *key_path;
	struct streaming_ops ops;
	void *ctx;
	const struct streaming_auth_ops *auth;
	void *auth_ctx;
	int stop_fd;           // eventfd, readable once streaming_stop has been called
	uint16_t port;
	char *cert, *key, *ca; // PEM
	pthread_mutex_t lock;  // of what follows
	pthread_cond_t idle;   // jobs is 0
	unsigned jobs, jobs_peak;   // upgrades under way, most of them since there were none
	bool stopping;         // no new ones
};

struct upgrade_job;

/* What is kept for a request from its first callback to its last. */
struct exchange { struct upgrade_job *job; };

/* One request. Lives on the stack of its connection's thread. */
struct request {
	struct streaming *s;
	struct MHD_Connection *connection;
	struct exchange *exchange;
	const char *method;
	char *ns, *pod, *uid, *container;   // of the path; uid: "" when not given
	struct streaming_params params;
	const char *query_error;            // sentence, when a parameter was wrong; else NULL
};

/* Answers. All return what an MHD handler returns. */
enum MHD_Result reply_text(struct request *rq, unsigned code, const char *text);          // plain, newline added
enum MHD_Result reply_owned(struct request *rq, unsigned code, const char *type, char *body, size_t len);   // frees body

/* Handlers, each for one path of the kubelet API. */
enum MHD_Result streaming_logs(struct request *rq);
enum MHD_Result streaming_exec(struct request *rq);
enum MHD_Result streaming_attach(struct request *rq);
enum MHD_Result streaming_port_forward(struct request *rq);
enum MHD_Result streaming_run(struct request *rq);

/* Who asks (streaming_auth.c). 0 allowed, 401 nobody who is known, 403 not one of those who may, 500 the API server cannot be
 * asked. name: for the sentence and the log. */
#define AUTH_NAME_MAX 128
unsigned streaming_authorize(struct streaming *s, struct MHD_Connection *c, const char *method, const char *path,
			     char name[AUTH_NAME_MAX]);

/* Upgrades (streaming_upgrade.c). */
enum upgrade { UPGRADE_NONE, UPGRADE_SPDY, UPGRADE_WEBSOCKET };
enum upgrade upgrade_kind(struct MHD_Connection *c);

struct upgrade_job {
	void (*run)(struct upgrade_job *job, struct wire *w, int stop_fd);   // on the connection's own thread, as long as it takes
	void (*free)(struct upgrade_job *job);
	struct streaming *s;
};

/* Choose the first protocol of the client's list that is one of ours (NULL-terminated). default_protocol: for a client
 * that names none; NULL: that is an error. *chosen NULL: an answer has been queued, with the result that is returned. */
enum MHD_Result upgrade_choose(struct request *rq, enum upgrade kind, const char *const ours[], const char *default_protocol,
			       const char **chosen);

/* Answer 101 and hand the connection to job, which is taken over in every case. */
void upgrade_end(struct streaming *s, struct upgrade_job *job);   // the request is over; NULL allowed
enum MHD_Result upgrade_start(struct request *rq, enum upgrade kind, const char *protocol, struct upgrade_job *job);

#endif
