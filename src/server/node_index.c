// SPDX-License-Identifier: Apache-2.0
#include "server/node_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/map.h"

struct node {
	struct obj **pods;
	size_t count, cap;
};

struct node_index { struct map nodes; };

static void node_free(void *value)
{
	struct node *n = value;

	free(n->pods);
	free(n);
}

struct node_index *node_index_new(void)
{
	return calloc(1, sizeof(struct node_index));
}

void node_index_free(struct node_index *x)
{
	if (!x)
		return;
	map_fini(&x->nodes, node_free);
	free(x);
}

static void take_out(struct node_index *x, const struct obj *o)
{
	char name[OBJ_NODE_MAX];
	struct node *n = map_get(&x->nodes, obj_node(o, name));
	size_t i = 0;

	if (!n)
		return;
	while (i < n->count && n->pods[i] != o)
		i++;
	if (i < n->count)
		n->pods[i] = n->pods[--n->count];
	if (!n->count)
		node_free(map_remove(&x->nodes, name));
}

static int put_in(struct node_index *x, struct obj *o)
{
	char name[OBJ_NODE_MAX];
	struct node *n = map_get(&x->nodes, obj_node(o, name));

	if (!n) {
		n = calloc(1, sizeof *n);
		if (!n || map_put(&x->nodes, name, n)) {
			free(n);
			return -ENOMEM;
		}
	}
	if (n->count == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 8;
		struct obj **grown = realloc(n->pods, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		n->pods = grown;
		n->cap = cap;
	}
	n->pods[n->count++] = o;
	return 0;
}

int node_index_change(struct node_index *x, const struct obj *before, struct obj *now)
{
	if (before && before->node_len)
		take_out(x, before);
	return now && now->node_len ? put_in(x, now) : 0;
}

struct obj *const *node_index_get(const struct node_index *x, const char *node, size_t *count)
{
	const struct node *n = map_get(&x->nodes, node);

	*count = n ? n->count : 0;
	return n ? n->pods : NULL;
}
