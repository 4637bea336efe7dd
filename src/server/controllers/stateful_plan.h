// SPDX-License-Identifier: Apache-2.0
// What a StatefulSet does next, given its pods; without side effects.
#ifndef BH_SERVER_CONTROLLERS_STATEFUL_PLAN_H
#define BH_SERVER_CONTROLLERS_STATEFUL_PLAN_H

#include <stdbool.h>
#include <stddef.h>

struct stateful_spec {
	long long replicas, start, partition;
	bool parallel, on_delete;
};

struct stateful_pod {
	long long ordinal;
	bool there;
	bool deleting, over;      // over: Succeeded or Failed
	bool healthy;             // running, ready, for long enough, not being deleted
	bool updated;             // of the update revision
};

enum stateful_act { STATEFUL_CREATE, STATEFUL_DELETE };
struct stateful_step { enum stateful_act act; long long ordinal; bool updated; };   // updated: create from the update revision

/* pods: those that should be (in order, absent ones with there false), then the condemned ones, highest ordinal first.
 * out: room for n steps. Returns how many are to be done now. */
size_t stateful_plan(const struct stateful_spec *spec, const struct stateful_pod *pods, size_t n, struct stateful_step *out);

/* "web-3" of "web" -> 3; -1: not a pod of this set. */
long long stateful_ordinal(const char *set, const char *pod);

#endif
