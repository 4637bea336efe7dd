// SPDX-License-Identifier: Apache-2.0
// Clones that wait for a pod: VMs that have gone on from a template, whose agent answers, and that have nothing of a pod yet - no
// identity, no entropy, no disk, no network card. A pod whose template has one moves into it instead of waiting for a clone to come up.
// It serves that pod and no other. A few are kept for each template that was used lately; making one waits until no pod starts.
//
// They live in ROOT/waiting/N/vm until a pod takes that folder. hostd ends them when it stops, and those of an earlier hostd when it
// starts.
#ifndef BH_HOSTD_WAITING_H
#define BH_HOSTD_WAITING_H

#include <jansson.h>
#include <stdbool.h>

#include "agent_client.h"
#include "base/err.h"
#include "host.h"
#include "template.h"
#include "vm.h"

#define WAITING_MAX 16
#define WAITING_BYTES (128ull << 20)       // about what one takes of the host's memory

struct waiting;

struct waiting_clone {                     // whoever has taken it sets to NULL what it keeps
	struct vm *vm;
	struct agent_client *agent;
	unsigned number;                   // its VM number; 0: none
	bool sampled;                      // as clone_start says
	char template[16], dir[512];
	uint64_t made_ns;                  // monotonic
	struct waiting_clone *next;
};

/* count: how many for each template, 1 to WAITING_MAX; 0: *out is NULL, and nothing waits. Every call takes NULL. */
int waiting_start(const struct host *h, unsigned count, struct waiting **out, struct err *e);
void waiting_stop(struct waiting *w);       // ends all of them; nobody gets one from now on
void waiting_free(struct waiting *w);       // when no pod starts any more

/* For a pod. NULL: none waits of this template; there will be one for the next pod. The caller's, until waiting_end. Any thread. */
struct waiting_clone *waiting_take(struct waiting *w, const struct template *t);
bool waiting_end(struct waiting *w, struct waiting_clone *c);      // what is left of it: ended and removed; false: it does not end
/* A pod's VM begins to come up (1), has come up or failed (-1), or has begun its containers (0): a moment to leave it alone. */
void waiting_starts(struct waiting *w, int change);

bool waiting_drop(struct waiting *w);      // the host is short of memory: all go, and for a while none is made. Whether there were any
json_t *waiting_list(struct waiting *w);   // rows as of pods_vms; new reference
unsigned waiting_count(struct waiting *w, const char *template);

#endif
