// SPDX-License-Identifier: Apache-2.0
// Pods whose node is no more: nobody is left to end them, so they are removed, after a while in which the node may be
// registered again.
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
#include "server/meta.h"
#include "server/registry.h"

#define QUARANTINE_NS (40 * NS_PER_S)

struct gc {
	struct server *srv;
	struct map missing;      // node name -> monotonic ns since when it is missed (pointer to uint64_t)
	bool dirty;              // pods or nodes have changed
};

static bool node_exists(struct gc *g, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(g->srv->store, reg_key(k8s_kind_find("", "v1", "nodes"), "", name, key));

	return o != NULL;
}

static void node_changed(void *unit, int type, struct obj *o)
{
	struct gc *g = unit;
	const char *name = obj_name(o).name;

	free(map_remove(&g->missing, name));
	if (type == EVENT_DELETED)
		g->dirty = true;
}

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct gc *g = unit;
	char node[OBJ_NODE_MAX];

	if (type != EVENT_DELETED && o->node_len && !map_get(&g->missing, obj_node(o, node)) && !node_exists(g, node))
		g->dirty = true;
}

/* When may pods of this node go? */
static uint64_t go_at(struct gc *g, const char *node, uint64_t now)
{
	uint64_t *since = map_get(&g->missing, node);

	if (!since) {
		since = malloc(sizeof *since);
		if (!since)
			return now + QUARANTINE_NS;
		*since = now;
		if (map_put(&g->missing, node, since)) {
			free(since);
			return now + QUARANTINE_NS;
		}
	}
	return *since + QUARANTINE_NS;
}

static uint64_t look_at(struct gc *g, struct obj *o, uint64_t now)
{
	char node[OBJ_NODE_MAX];
	own_json json_t *pod = NULL;
	const char *ns, *name;
	uint64_t at;

	if (!o->node_len || node_exists(g, obj_node(o, node)))
		return LOOP_NEVER;
	pod = obj_json(o);
	ns = jpath_str(pod, "metadata.namespace", "");
	name = jpath_str(pod, "metadata.name", "");
	at = go_at(g, node, now);
	if (now < at)
		return at;
	log_info("pods", "removing pod=%s/%s: its node=%s is no more", ns, name, node);
	delete_object(g->srv, k8s_kind_find("", "v1", "pods"), ns, name, jpath_str(pod, "metadata.uid", ""), 0, NULL);
	return LOOP_NEVER;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct gc *g = unit;
	uint64_t next = LOOP_NEVER;
	struct store_list l;

	if (!g->dirty && !g->missing.count)
		return LOOP_NEVER;
	if (store_list(g->srv->store, "pods/", NULL, 0, 0, &l))
		return now + NS_PER_S;
	g->dirty = false;
	for (size_t i = 0; i < l.count; i++) {
		uint64_t at = look_at(g, l.objs[i], now);
		if (at < next)
			next = at;
	}
	if (next == LOOP_NEVER)
		map_fini(&g->missing, free);
	store_list_fini(&l);
	return next;
}

static int gc_open(struct server *srv, void **unit, struct err *e)
{
	struct gc *g = calloc(1, sizeof *g);

	if (!g)
		return err_set(e, ENOMEM, "out of memory");
	g->srv = srv;
	*unit = g;
	return 0;
}

static void gc_close(void *unit)
{
	struct gc *g = unit;

	map_fini(&g->missing, free);
	free(g);
}

static const struct unit_source sources[] = {
	{ "", "v1", "nodes", node_changed, NULL },
	{ "", "v1", "pods", pod_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops pod_gc_unit = {
	.name = "pod removal", .sources = sources, .open = gc_open, .work = work, .close = gc_close,
};
