// SPDX-License-Identifier: Apache-2.0
// A request that changes an object: shared by the verbs (api_write.c) and the subresources.
#ifndef BH_SERVER_API_WRITE_H
#define BH_SERVER_API_WRITE_H

#include "server/registry.h"
#include "server/request.h"

enum patch_type { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };

struct api_write {
	struct reg_write reg;                 // reg.user is this struct
	json_t *body;                         // parsed; owned; NULL: given away, to be parsed again from:
	struct buf text;                      // the body as it came
	const char *type;                     // its Content-Type
	enum patch_type patch;
	bool force;                           // apply: take over fields of others
	char agent[64];                       // program name of the client
	void (*reply)(struct request *r, struct api_write *w);   // on success
};

/* Make it the state of r, with api_write_reply_object as its reply. NULL: a reply is set. */
struct api_write *api_write_new(struct request *r, const struct k8s_kind *k, enum reg_action action);
bool api_write_body(struct request *r, struct api_write *w);   // check the options, parse the body into w->body; false: a reply is set
bool api_write_patch_body(struct request *r, struct api_write *w);   // kind of patch, options, body; false: a reply is set
/* The patch applied to cur, an object of kind k. Returns NULL and *next (new reference), or a Status. */
json_t *api_write_patched(struct api_write *w, const struct k8s_kind *k, const json_t *cur, json_t **next);
void api_write_run(struct request *r, struct api_write *w);    // to the reply, with suspensions between
void api_write_reply_object(struct request *r, struct api_write *w);
void api_write_free(void *state);

json_t *api_delete_options(struct request *r, json_t **options);

#endif
