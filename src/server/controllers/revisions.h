// SPDX-License-Identifier: Apache-2.0
// ControllerRevisions: every pod template that a StatefulSet or DaemonSet has had, numbered.
#ifndef BH_SERVER_CONTROLLERS_REVISIONS_H
#define BH_SERVER_CONTROLLERS_REVISIONS_H

#include <jansson.h>

#include "server/controllers/syncer.h"

struct revisions {
	json_t *all;           // array of ControllerRevisions of the owner
	json_t *latest;        // the one of the template of now; borrowed from all
};

/* Read them, find the one of the template of now or make it, and give it the highest number. 0 or -errno. */
int revisions_open(struct syncer *s, const json_t *owner, struct revisions *r);
void revisions_close(struct revisions *r);

json_t *revisions_find(const struct revisions *r, const char *name);         // borrowed; NULL: there is none
json_t *revisions_template(const json_t *revision);                          // the pod template; new
const char *revision_name(const json_t *revision);
const char *revision_hash(const json_t *revision);

/* Delete those beyond the limit that neither the owner nor a child uses, oldest first. */
void revisions_trim(struct syncer *s, const json_t *owner, const struct revisions *r, const struct child *children, const char *keep);

#endif
