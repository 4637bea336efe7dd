// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/stateful_plan.h"

#include <stdlib.h>
#include <string.h>

long long stateful_ordinal(const char *set, const char *pod)
{
	size_t n = strlen(set);
	long long ordinal;
	char *end;

	if (strncmp(set, pod, n) || pod[n] != '-' || pod[n + 1] < '0' || pod[n + 1] > '9')
		return -1;
	ordinal = strtoll(pod + n + 1, &end, 10);
	return *end ? -1 : ordinal;
}

struct plan {
	const struct stateful_spec *spec;
	struct stateful_step *out;
	size_t count;
};

static void step(struct plan *p, enum stateful_act act, const struct stateful_pod *pod)
{
	p->out[p->count++] = (struct stateful_step){ act, pod->ordinal, pod->ordinal >= p->spec->start + p->spec->partition };
}

/* Bring up those that should be. True: something has to happen before the next phase. */
static bool bring_up(struct plan *p, const struct stateful_pod *pods, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct stateful_pod *pod = &pods[i];
		if (!pod->there)
			step(p, STATEFUL_CREATE, pod);
		else if (pod->over && !pod->deleting)
			step(p, STATEFUL_DELETE, pod);
		if (!p->spec->parallel && (!pod->there || !pod->healthy))
			return true;         // one after the other
	}
	return false;
}

/* Take down those that are too many, from the highest. */
static bool take_down(struct plan *p, const struct stateful_pod *pods, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!pods[i].deleting)
			step(p, STATEFUL_DELETE, &pods[i]);
		if (!p->spec->parallel)
			return true;
	}
	return false;
}

/* Replace those of the old revision, from the highest, each when all above it are well. */
static void update(struct plan *p, const struct stateful_pod *pods, size_t n)
{
	for (size_t i = n; i-- > 0 && pods[i].ordinal >= p->spec->start + p->spec->partition;) {
		if (!pods[i].there)
			return;
		if (!pods[i].updated && !pods[i].deleting) {
			if (!pods[i].over)   // that one is being replaced anyway
				step(p, STATEFUL_DELETE, &pods[i]);
			return;
		}
		if (!pods[i].healthy)
			return;
	}
}

size_t stateful_plan(const struct stateful_spec *spec, const struct stateful_pod *pods, size_t n, struct stateful_step *out)
{
	size_t wanted = (size_t)spec->replicas < n ? (size_t)spec->replicas : n;
	struct plan p = { spec, out, 0 };

	if (bring_up(&p, pods, wanted) || take_down(&p, pods + wanted, n - wanted) || spec->on_delete)
		return p.count;
	update(&p, pods, wanted);
	return p.count;
}
