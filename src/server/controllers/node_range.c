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

struct ranges {
	struct server *srv;
	struct map look;               // nodes without one
};

static void node_changed(void *unit, int type, struct obj *o)
{
	struct ranges *g = unit;
	own_json json_t *node = obj_json(o);
	const char *name = jpath_str(node, "metadata.name", "");

	if (type != EVENT_DELETED && !*jpath_str(node, "spec.podCIDR", ""))
		map_put(&g->look, name, g);
	else
		map_remove(&g->look, name);
}

/* Does any node have addresses of this range? */
static bool taken(const struct store_list *nodes, const struct cidr *want)
{
	for (size_t i = 0; i < nodes->count; i++) {
		own_json json_t *node = obj_json(nodes->objs[i]);
		struct cidr c;
		if (!cidr_parse(jpath_str(node, "spec.podCIDR", ""), &c) && (cidr_has(&c, want->base) || cidr_has(want, c.base)))
			return true;
	}
	return false;
}

static bool find_free(struct ranges *g, struct cidr *out)
{
	struct store_list nodes;
	bool found = false;
	char prefix[REG_KEY_MAX];

	if (store_list(g->srv->store, reg_prefix(k8s_kind_find("", "v1", "nodes"), NULL, prefix), NULL, 0, 0, &nodes))
		return false;
	for (uint32_t n = 0; !found && cidr_nth(&g->srv->pod_range, g->srv->node_prefix, n, out); n++)
		found = !taken(&nodes, out);
	store_list_fini(&nodes);
	return found;
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
	const char *name;
	size_t pos = 0;

	g->look = (struct map)MAP_INIT;
	while (map_next(&todo, &pos, &name)) {
		struct cidr range;
		struct err e = ERR_INIT;
		int r = find_free(g, &range) ? change_object(g->srv, k8s_kind_find("", "v1", "nodes"), "", name, "", set_range, &range, &e) :
					       err_set(&e, ENOSPC, "all pod ranges are in use");
		if (r && r != -ENOENT) {
			log_limited(LOG_LEVEL_WARN, "ranges", "node=%s: %s", name, e.text);
			map_put(&g->look, name, g);
		}
	}
	map_fini(&todo, NULL);
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
	free(g);
}

static const struct unit_source sources[] = {
	{ "", "v1", "nodes", node_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops node_range_unit = {
	.name = "node ranges", .sources = sources, .open = ranges_open, .work = work, .close = ranges_close,
};
