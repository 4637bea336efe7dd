// SPDX-License-Identifier: Apache-2.0
// Events are kept for an hour after they last happened.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/registry.h"

#define TTL_NS (3600 * NS_PER_S)
#define PAUSE_NS (60 * NS_PER_S)     // at least this between two looks

struct ttl {
	struct server *srv;
	uint64_t next;               // monotonic; LOOP_NEVER: there are no events
};

static void event_changed(void *unit, int type, struct obj *o)
{
	struct ttl *t = unit;

	(void)o;
	if (type == EVENT_ADDED && t->next == LOOP_NEVER)
		t->next = clock_mono_ns() + PAUSE_NS;
}

/* When (real time) the event may go. */
static uint64_t expiry(const json_t *event)
{
	static const char *const fields[] = { "lastTimestamp", "series.lastObservedTime", "eventTime", "metadata.creationTimestamp" };
	uint64_t at;

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (!clock_parse(jpath_str(event, fields[i], ""), &at))
			return at + TTL_NS;
	return 0;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct ttl *t = unit;
	uint64_t real = clock_real_ns(), first = LOOP_NEVER;
	struct store_list l;

	if (now < t->next)
		return t->next;
	if (store_list(t->srv->store, "events/", NULL, 0, 0, &l))
		return now + PAUSE_NS;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *j = obj_json(l.objs[i]);
		uint64_t at = expiry(j);
		if (at <= real)
			delete_object(t->srv, k8s_kind_find("", "v1", "events"), jpath_str(j, "metadata.namespace", ""),
				      jpath_str(j, "metadata.name", ""), NULL, -1, NULL);
		else if (at < first)
			first = at;
	}
	store_list_fini(&l);
	t->next = first == LOOP_NEVER ? LOOP_NEVER : now + (first - real < PAUSE_NS ? PAUSE_NS : first - real);
	return t->next;
}

static int ttl_open(struct server *srv, void **unit, struct err *e)
{
	struct ttl *t = calloc(1, sizeof *t);

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	t->srv = srv;
	t->next = LOOP_NEVER;
	*unit = t;
	return 0;
}

static const struct unit_source sources[] = {
	{ "", "v1", "events", event_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops event_ttl_unit = {
	.name = "event expiry", .sources = sources, .open = ttl_open, .work = work, .close = free,
};
