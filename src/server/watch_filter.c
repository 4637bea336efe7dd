// SPDX-License-Identifier: Apache-2.0
#include "server/watch_filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jtext.h"
#include "base/own.h"

/* --- groups --- */

static unsigned hash(const char *text, size_t len)
{
	unsigned h = 5381;

	for (size_t i = 0; i < len; i++)
		h = h * 33 + (unsigned char)text[i];
	return h;
}

static unsigned resource_group(const char *key)
{
	return hash(key, strcspn(key, "/")) % WATCH_RESOURCE_GROUPS;
}

static unsigned name_group(const char *name, size_t len)
{
	return WATCH_EVERYTHING + 1 + hash(name, len) % WATCH_NAME_GROUPS;
}

/* Bytes of "RESOURCE/NAMESPACE/"; 0: there is no namespace. */
static size_t namespace_len(const char *key)
{
	size_t resource = strcspn(key, "/"), ns;

	if (!key[resource])
		return 0;
	ns = strcspn(key + resource + 1, "/");
	return ns && key[resource + 1 + ns] ? resource + ns + 2 : 0;
}

static unsigned group_of(const struct watch_filter *f)
{
	if (f->exact)
		return name_group(f->prefix, f->prefix_len);
	if (f->node)
		return name_group(f->node, strlen(f->node));
	if (f->prefix_len && namespace_len(f->prefix) == f->prefix_len)
		return name_group(f->prefix, f->prefix_len);
	return f->prefix_len ? resource_group(f->prefix) : WATCH_EVERYTHING;
}

static int add_group(unsigned group, unsigned *groups, int n)
{
	for (int i = 0; i < n; i++)
		if (groups[i] == group)
			return n;
	groups[n] = group;
	return n + 1;
}

int watch_filter_groups(const struct event *e, unsigned groups[WATCH_GROUPS_OF_EVENT])
{
	const char *key = obj_key(e->obj);
	size_t ns = namespace_len(key);
	char node[OBJ_NODE_MAX];
	int n = 0;

	n = add_group(resource_group(key), groups, n);
	n = add_group(WATCH_EVERYTHING, groups, n);
	n = add_group(name_group(key, e->obj->key_len), groups, n);
	if (ns)
		n = add_group(name_group(key, ns), groups, n);
	if (e->obj->node_len)
		n = add_group(name_group(obj_node(e->obj, node), e->obj->node_len), groups, n);
	if (e->prev && e->prev->node_len)
		n = add_group(name_group(obj_node(e->prev, node), e->prev->node_len), groups, n);
	return n;
}

/* --- what passes --- */

static const json_t *parsed_labels(struct watch_parsed *p)
{
	if (!p->known)
		p->labels = jtext_get(obj_text(p->obj), p->obj->text_len, "metadata.labels");
	p->known = true;
	return p->labels;
}

static bool key_matches(const struct watch_filter *f, const char *key)
{
	return f->exact ? !strcmp(key, f->prefix) : !strncmp(key, f->prefix, f->prefix_len);
}

static bool selected(const struct watch_filter *f, struct watch_parsed *p)
{
	if (!p->obj)
		return false;
	if (f->node && !obj_is_on(p->obj, f->node))
		return false;
	return (!f->labels || k8s_label_selector_match(f->labels, parsed_labels(p))) &&
	       (!f->fields || k8s_field_selector_match_text(f->fields, obj_text(p->obj), p->obj->text_len));
}

bool watch_filter_matches(const struct watch_filter *f, struct watch_parsed *p)
{
	return key_matches(f, obj_key(p->obj)) && selected(f, p);
}

int watch_filter_event(const struct watch_filter *f, int type, struct watch_parsed *now, struct watch_parsed *before)
{
	bool is, was;

	if (!key_matches(f, obj_key(now->obj)))
		return -1;
	if (!watch_filter_selects(f))
		return type;
	is = type != EVENT_DELETED && selected(f, now);
	was = selected(f, before);
	return is && was ? EVENT_MODIFIED : is ? EVENT_ADDED : was ? EVENT_DELETED : -1;
}

/* --- making them --- */

/* The one node whose pods it asks for. */
static const char *node_of(const struct watch_filter *f)
{
	const char *node = f->fields ? k8s_field_selector_value(f->fields, "spec.nodeName") : NULL;

	return node && !strncmp(f->prefix, "pods/", 5) && obj_node_name(node) ? node : NULL;
}

static int put_id(struct watch_filter *f)
{
	own_buf struct buf b = BUF_INIT;

	if (buf_printf(&b, "%s%s\n", f->exact ? "=" : "", f->prefix) || k8s_selector_print(f->labels, &b) || buf_puts(&b, "\n") ||
	    k8s_selector_print(f->fields, &b))
		return -1;
	f->hash = hash(b.data, b.len);
	f->id = buf_take(&b);
	return f->id ? 0 : -1;
}

struct watch_filter *watch_filter_new(const struct watch_opts *o)
{
	struct watch_filter *f = calloc(1, sizeof *f);

	if (!f) {
		k8s_selector_free(o->labels);
		k8s_selector_free(o->fields);
		return NULL;
	}
	*f = (struct watch_filter){ .labels = o->labels, .fields = o->fields, .exact = o->exact, .prefix = strdup(o->prefix) };
	if (!f->prefix || put_id(f)) {
		watch_filter_free(f);
		return NULL;
	}
	f->prefix_len = strlen(f->prefix);
	f->node = node_of(f);
	f->group = group_of(f);
	return f;
}

void watch_filter_free(struct watch_filter *f)
{
	if (!f)
		return;
	k8s_selector_free(f->labels);
	k8s_selector_free(f->fields);
	free(f->prefix);
	free(f->id);
	free(f);
}

bool watch_filter_same(const struct watch_filter *a, const struct watch_filter *b)
{
	return a->hash == b->hash && !strcmp(a->id, b->id);
}
