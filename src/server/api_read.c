// SPDX-License-Identifier: Apache-2.0
// get and list.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/jtext.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/api.h"
#include "server/list_options.h"
#include "server/page_token.h"
#include "server/registry.h"
#include "server/status.h"

json_t *api_object(const struct k8s_kind *k, struct obj *o)
{
	json_t *j = obj_json(o);

	if (j)
		k8s_kind_convert(k8s_kind_stored(k), k, j);
	return j;
}

json_t *api_partial(const json_t *obj, const char *version)
{
	char api_version[64];

	snprintf(api_version, sizeof api_version, "meta.k8s.io/%s", version);
	return json_pack("{s:s,s:s,s:O}", "kind", "PartialObjectMetadata", "apiVersion", api_version, "metadata",
			 json_object_get(obj, "metadata"));
}

static const char *table_include(const struct request *r)
{
	const char *include = route_param(&r->route, "includeObject");

	return include && *include ? include : "Metadata";
}

json_t *api_table(const struct request *r, const struct k8s_kind *k, const json_t *items, uint64_t rv,
		  const char *continue_token, const struct accept *a)
{
	char version[32], api_version[64];
	json_t *t;

	snprintf(version, sizeof version, "%llu", (unsigned long long)rv);
	snprintf(api_version, sizeof api_version, "meta.k8s.io/%s", a->version);
	t = k8s_table(k, items, table_include(r), version, continue_token);
	json_object_set_new(t, "apiVersion", json_string(api_version));
	return t;
}

void api_reply_object(struct request *r, const struct k8s_kind *k, unsigned code, struct obj *o)
{
	own_json json_t *j = NULL, *items = NULL;
	struct accept a;

	if (!api_accept(r, &a)) {
		obj_unref(o);
		return;
	}
	if (a.form == ACCEPT_OBJECT && k8s_kind_stored(k) == k) {
		reply_obj(r, code, o);
		return;
	}
	j = api_object(k, o);
	if (a.form == ACCEPT_TABLE) {
		items = json_pack("[O]", j);
		reply_json(r, code, api_table(r, k, items, o->rv, NULL, &a));
	} else {
		reply_json(r, code, a.form == ACCEPT_PARTIAL ? api_partial(j, a.version) : json_incref(j));
	}
	obj_unref(o);
}

/* resourceVersion of a get or list: "" and "0" any; else the state must be at least that new. */
static json_t *check_rv(const struct request *r, uint64_t *rv)
{
	const char *text = route_param(&r->route, "resourceVersion");
	uint64_t now = store_rv(r->srv->store);
	json_t *s;
	char *end;

	*rv = 0;
	if (!text || !*text)
		return NULL;
	*rv = strtoull(text, &end, 10);
	if (*end)
		return status_bad_request("invalid resource version \"%.64s\": must be a number", text);
	if (*rv <= now)
		return NULL;
	s = status_new(504, "Timeout", "Timeout: Too large resource version: %llu, current: %llu", (unsigned long long)*rv,
		       (unsigned long long)now);
	json_object_set_new(s, "details", json_pack("{s:i}", "retryAfterSeconds", 1));
	return status_cause(s, "ResourceVersionTooLarge", "Too large resource version", NULL);
}

void api_get(struct request *r, const struct k8s_kind *k)
{
	char key[REG_KEY_MAX];
	struct obj *o;
	uint64_t rv;
	json_t *s = check_rv(r, &rv);

	if (s) {
		reply_status(r, s);
		return;
	}
	o = store_get(r->srv->store, reg_key(k, r->route.ns, r->route.name, key));
	if (o)
		api_reply_object(r, k, 200, o);
	else
		reply_status(r, status_not_found(k, r->route.name));
}

/* --- list --- */

struct list_query {
	struct k8s_selector *labels, *fields;
	const char *name;            // exactly this one
	uint64_t limit, rv;          // rv: exactly this state; 0: now
	char *after;                 // continue behind this key
	char prefix[REG_KEY_MAX];
};

static void query_fini(struct list_query *q)
{
	k8s_selector_free(q->labels);
	k8s_selector_free(q->fields);
	free(q->after);
}

static json_t *check_fields(const struct k8s_kind *k, const struct k8s_selector *fields)
{
	const char *f;

	for (size_t i = 0; (f = k8s_field_selector_field(fields, i)); i++)
		if (!k8s_kind_field_selectable(k, f))
			return k->custom || k->field_labels ? status_bad_request("field label not supported: %s", f) :
				status_bad_request("\"%s\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", f);
	return NULL;
}

json_t *api_selectors(const struct request *r, const struct k8s_kind *k, struct k8s_selector **labels,
		      struct k8s_selector **fields, const char **name)
{
	const char *l = route_param(&r->route, "labelSelector"), *f = route_param(&r->route, "fieldSelector");
	struct err e = ERR_INIT;
	json_t *s = NULL;

	*labels = *fields = NULL;
	*name = NULL;
	if (l && *l && k8s_label_selector_parse(l, labels, &e))
		return status_bad_request("%s", e.text);
	if (f && *f) {
		if (k8s_field_selector_parse(f, fields, &e))
			s = status_bad_request("%s", e.text);
		else
			s = check_fields(k, *fields);
	}
	if (s) {
		k8s_selector_free(*labels);
		k8s_selector_free(*fields);
		*labels = *fields = NULL;
		return s;
	}
	if (*fields)
		*name = k8s_field_selector_value(*fields, "metadata.name");
	return NULL;
}

static json_t *expired(void)
{
	return status_new(410, "Expired", "The provided continue parameter is too old to display a consistent list result. "
			  "You can start a new list without the continue parameter.");
}

json_t *api_limit(const struct request *r, uint64_t *limit)
{
	const char *text = route_param(&r->route, "limit");
	long long n;
	char *end;

	*limit = 0;
	if (!text || !*text)
		return NULL;
	n = strtoll(text, &end, 10);
	if (*end)
		return status_bad_request("limit: must be a number, not \"%.32s\"", text);
	*limit = n > 0 ? (uint64_t)n : 0;
	return NULL;
}

static json_t *parse_query(struct request *r, const struct k8s_kind *k, struct list_query *q)
{
	const char *token = route_param(&r->route, "continue");
	const char *match = route_param(&r->route, "resourceVersionMatch");
	uint64_t rv = 0;
	json_t *s = list_options_check(&r->route);

	if (!s)
		s = check_rv(r, &rv);
	if (!s)
		s = api_selectors(r, k, &q->labels, &q->fields, &q->name);
	if (s)
		return s;
	reg_prefix(k, k->namespaced && *r->route.ns ? r->route.ns : NULL, q->prefix);
	s = api_limit(r, &q->limit);
	if (s)
		return s;
	if (token && *token) {
		int e = page_token_parse(token, q->prefix, &q->rv, &q->after);
		return e == -EINVAL ? status_bad_request("continue key is not valid: %.64s", token) : e ? status_errno(e) : NULL;
	}
	if (match && !strcmp(match, "Exact"))
		q->rv = rv;
	return NULL;
}

/* By the text of what is stored; only what is served in another form is parsed whole. */
static bool selected(const struct k8s_kind *k, const struct list_query *q, struct obj *o)
{
	bool as_stored = k8s_kind_stored(k) == k;
	own_json json_t *j = NULL, *labels = NULL;

	if (strncmp(obj_key(o), q->prefix, strlen(q->prefix)) || (q->after && strcmp(obj_key(o), q->after) <= 0))
		return false;
	if (q->name && strcmp(obj_name(o).name, q->name))
		return false;
	if (q->labels && !k8s_label_selector_match(q->labels, labels = jtext_get(obj_text(o), o->text_len, "metadata.labels")))
		return false;
	if (!q->fields || as_stored)
		return !q->fields || k8s_field_selector_match_text(q->fields, obj_text(o), o->text_len);
	j = api_object(k, o);
	return k8s_field_selector_match(q->fields, j);
}

/* What may be selected: of pods, those of a node if it is named. */
static int candidates(struct request *r, const struct list_query *q, struct store_list *all)
{
	const char *node = q->fields ? k8s_field_selector_value(q->fields, "spec.nodeName") : NULL;

	if (node && !q->rv && !strncmp(q->prefix, "pods/", 5) && obj_node_name(node))
		return store_list_node(r->srv->store, node, all);
	return store_list(r->srv->store, q->prefix, q->after, q->labels || q->fields ? 0 : q->limit, q->rv, all);
}

/* Fill l with what is selected, at most limit, and say where the next part starts (*next, a key; NULL: this was all). */
static int select_objects(struct request *r, const struct k8s_kind *k, const struct list_query *q, struct store_list *l,
			  char **next)
{
	bool filter = q->labels || q->fields;
	struct store_list all;
	int e = candidates(r, q, &all);
	size_t kept = 0, i;

	*next = NULL;
	if (e)
		return e;
	for (i = 0; i < all.count && filter; i++) {
		struct obj *o = all.objs[i];
		if (q->limit && kept == q->limit)
			break;
		if (selected(k, q, o))
			all.objs[kept++] = o;
		else
			obj_unref(o);
	}
	if (filter) {
		// Whether more would be selected behind the limit is not known: remainingItemCount is left out, as upstream.
		bool more = i < all.count;
		for (; i < all.count; i++)
			obj_unref(all.objs[i]);
		all.count = kept;
		all.remaining = 0;
		if (more)
			*next = strdup(obj_key(all.objs[kept - 1]));
	} else if (all.remaining) {
		*next = strdup(obj_key(all.objs[all.count - 1]));
	}
	*l = all;
	return 0;
}

/* An answer of objects as they are stored: their texts one after the other, sent from where they are. */
struct list_stream {
	struct store_list list;
	struct buf head;
	size_t piece, off;   // what is sent next
};

static size_t last_piece(const struct list_stream *s)
{
	return s->list.count ? 2 * s->list.count : 1;
}

/* Pieces: the head, text, comma, text, ..., text, the end. */
static void list_piece(const struct list_stream *s, size_t n, const char **text, size_t *len)
{
	if (n == 0) {
		*text = s->head.data;
		*len = s->head.len;
	} else if (n == last_piece(s)) {
		*text = "]}\n";
		*len = 3;
	} else if (n % 2) {
		*text = obj_text(s->list.objs[n / 2]);
		*len = s->list.objs[n / 2]->text_len;
	} else {
		*text = ",";
		*len = 1;
	}
}

static ssize_t list_read(void *cls, uint64_t pos, char *out, size_t max)
{
	struct list_stream *s = cls;
	size_t done = 0, len;
	const char *text;

	(void)pos;
	while (done < max && s->piece <= last_piece(s)) {
		size_t n;
		list_piece(s, s->piece, &text, &len);
		n = len - s->off < max - done ? len - s->off : max - done;
		memcpy(out + done, text + s->off, n);
		done += n;
		s->off += n;
		if (s->off == len) {
			s->piece++;
			s->off = 0;
		}
	}
	return done ? (ssize_t)done : MHD_CONTENT_READER_END_OF_STREAM;
}

static void list_free(void *cls)
{
	struct list_stream *s = cls;

	store_list_fini(&s->list);
	buf_fini(&s->head);
	free(s);
}

static json_t *list_meta(const struct store_list *l, const char *token)
{
	char rv[32];
	json_t *m;

	snprintf(rv, sizeof rv, "%llu", (unsigned long long)l->rv);
	m = json_pack("{s:s}", "resourceVersion", rv);
	if (token)
		json_object_set_new(m, "continue", json_string(token));
	if (token && l->remaining)
		json_object_set_new(m, "remainingItemCount", json_integer(l->remaining));
	return m;
}

static void put_api_version(const struct k8s_kind *k, char *out, size_t size)
{
	snprintf(out, size, *k->group ? "%s/%s" : "%s%s", k->group, k->version);
}

static void reply_texts(struct request *r, const struct k8s_kind *k, struct store_list *l, const char *token)
{
	struct list_stream *s = calloc(1, sizeof *s);
	own_json json_t *meta = list_meta(l, token);
	own_free char *meta_text = json_dumps(meta, JSON_COMPACT);
	char version[256];
	size_t about = 0;

	put_api_version(k, version, sizeof version);
	if (!s || !meta_text ||
	    buf_printf(&s->head, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":%s,\"items\":[", k->list_kind, version, meta_text)) {
		if (s)
			buf_fini(&s->head);
		free(s);
		store_list_fini(l);
		reply_status(r, status_errno(-ENOMEM));
		return;
	}
	s->list = *l;
	for (size_t i = 0; i < l->count; i++)
		about += l->objs[i]->text_len;
	reply_stream(r, 200, "application/json", s->head.len + about, list_read, list_free, s);
}

/* Everything else: parsed, converted, printed. */
static void reply_parsed(struct request *r, const struct k8s_kind *k, struct store_list *l, const char *token, const struct accept *a)
{
	own_json json_t *items = json_array();
	char version[256];

	for (size_t i = 0; i < l->count; i++) {
		json_t *j = api_object(k, l->objs[i]);
		if (a->form == ACCEPT_PARTIAL) {
			json_array_append_new(items, api_partial(j, a->version));
			json_decref(j);
		} else {
			json_array_append_new(items, j);
		}
	}
	if (a->form == ACCEPT_TABLE) {
		json_t *t = api_table(r, k, items, l->rv, token, a);
		if (token && l->remaining)
			jpath_set(t, "metadata.remainingItemCount", json_integer(l->remaining));
		reply_json(r, 200, t);
		return;
	}
	if (a->form == ACCEPT_PARTIAL)
		snprintf(version, sizeof version, "meta.k8s.io/%s", a->version);
	else
		put_api_version(k, version, sizeof version);
	reply_json(r, 200, json_pack("{s:s,s:s,s:o,s:O}", "kind", a->form == ACCEPT_PARTIAL ? "PartialObjectMetadataList" : k->list_kind,
				     "apiVersion", version, "metadata", list_meta(l, token), "items", items));
}

void api_list(struct request *r, const struct k8s_kind *k)
{
	struct list_query q = { 0 };
	struct store_list l = { 0 };
	struct accept a;
	own_free char *next = NULL, *token = NULL;
	json_t *s;
	int e;

	if (!api_accept(r, &a))
		return;
	s = parse_query(r, k, &q);
	if (s) {
		query_fini(&q);
		reply_status(r, s);
		return;
	}
	e = select_objects(r, k, &q, &l, &next);
	query_fini(&q);
	if (e) {
		reply_status(r, e == -EKEYEXPIRED ? expired() : status_errno(e));
		return;
	}
	if (next)
		token = page_token_make(l.rv, next);
	if (a.form == ACCEPT_OBJECT && k8s_kind_stored(k) == k) {
		reply_texts(r, k, &l, token);
		return;
	}
	reply_parsed(r, k, &l, token, &a);
	store_list_fini(&l);
}
