// SPDX-License-Identifier: Apache-2.0
// Every node gets a range of pod addresses of its own out of the cluster's: spec.podCIDR. A range is free again when its
// node is no more; one that a node has is never changed.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/registry.h"
#include "server/view.h"

struct ranges {
	struct server *srv;
	struct map look;               // nodes without one
	struct map have;               // node name -> struct cidr: that it has
};

static void keep(struct ranges *g, const char *name, const struct cidr *c)
{
	struct cidr *mine = map_get(&g->have, name);

	if (!mine) {
		mine = malloc(sizeof *mine);
		if (!mine || map_put(&g->have, name, mine)) {
			free(mine);
			return;
		}
	}
	*mine = *c;
}

static void node_changed(void *unit, int type, struct obj *o)
{
	struct ranges *g = unit;
	own_json json_t *node = obj_view(o);
	const char *name = obj_name(o).name, *range = jpath_str(node, "spec.podCIDR", "");
	struct cidr c;

	if (type == EVENT_DELETED)
		free(map_remove(&g->have, name));
	else if (!cidr_parse(range, &c))
		keep(g, name, &c);
	if (type != EVENT_DELETED && !*range)
		map_put(&g->look, name, g);
	else
		map_remove(&g->look, name);
}

static void nodes_reset(void *unit)
{
	struct ranges *g = unit;

	map_fini(&g->have, free);
}

/* The cluster's ranges, counted from the first: which have addresses that some node has. */
struct taken { unsigned char *is; uint32_t count, first; };   // first: below it all are taken

static void mark(const struct ranges *g, struct taken *t, const struct cidr *c)
{
	unsigned shift = 32 - g->srv->node_prefix;
	uint64_t last = c->base + cidr_size(c) - 1;

	if (last < g->srv->pod_range.base || !cidr_size(c))
		return;
	for (uint64_t n = c->base < g->srv->pod_range.base ? 0 : (c->base - g->srv->pod_range.base) >> shift;
	     n < t->count && n <= (last - g->srv->pod_range.base) >> shift; n++)
		t->is[n] = 1;
}

static int find_taken(struct ranges *g, struct taken *t)
{
	const struct cidr *c;
	size_t pos = 0;

	*t = (struct taken){ .count = 1u << (g->srv->node_prefix - g->srv->pod_range.prefix) };
	t->is = calloc(t->count, 1);
	if (!t->is)
		return -ENOMEM;
	while ((c = map_next(&g->have, &pos, NULL)))
		mark(g, t, c);
	return 0;
}

static bool take_free(struct ranges *g, struct taken *t, struct cidr *out)
{
	while (t->first < t->count && t->is[t->first])
		t->first++;
	return t->first < t->count && cidr_nth(&g->srv->pod_range, g->srv->node_prefix, t->first++, out);
}

static bool set_range(json_t *node, void *user)
{
	char text[CIDR_TEXT];

	if (*jpath_str(node, "spec.podCIDR", ""))
		return false;
	cidr_text(user, text);
	jpath_set(node, "spec.podCIDR", json_string(text));
	jpath_set(node, "spec.podCIDRs", json_pack("[s]", text));
	return true;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct ranges *g = unit;
	struct map todo = g->look;
	struct taken taken;
	const char *name;
	size_t pos = 0;

	if (!todo.count)
		return LOOP_NEVER;
	if (find_taken(g, &taken))
		return now + 5 * NS_PER_S;
	g->look = (struct map)MAP_INIT;
	while (map_next(&todo, &pos, &name)) {
		struct cidr range;
		struct err e = ERR_INIT;
		int r = take_free(g, &taken, &range) ? change_object(g->srv, k8s_kind_find("", "v1", "nodes"), "", name, "", set_range, &range, &e) :
						       err_set(&e, ENOSPC, "all pod ranges are in use");
		if (r && r != -ENOENT) {
			log_limited(LOG_LEVEL_WARN, "ranges", "node=%s: %s", name, e.text);
			map_put(&g->look, name, g);
		}
	}
	map_fini(&todo, NULL);
	free(taken.is);
	return g->look.count ? now + 5 * NS_PER_S : LOOP_NEVER;
}

static int ranges_open(struct server *srv, void **unit, struct err *e)
{
	struct ranges *g = calloc(1, sizeof *g);

	if (!g)
		return err_set(e, ENOMEM, "out of memory");
	g->srv = srv;
	*unit = g;
	return 0;
}

static void ranges_close(void *unit)
{
	struct ranges *g = unit;

	map_fini(&g->look, NULL);
	map_fini(&g->have, free);
	free(g);
}

static const struct unit_source sources[] = {
	{ "", "v1", "nodes", node_changed, nodes_reset },
	{ .plural = NULL },
};

const struct unit_ops node_range_unit = {
	.name = "node ranges", .sources = sources, .open = ranges_open, .work = work, .close = ranges_close,
};
