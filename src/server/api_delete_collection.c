// SPDX-License-Identifier: Apache-2.0
// deletecollection: every selected object by the same path as a single delete, many in flight at once.
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/api.h"
#include "server/api_write.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/write_options.h"

#define IN_FLIGHT_MAX 128

struct collection {
	const struct k8s_kind *kind;
	struct store_list list;
	size_t next;                          // first object not begun
	json_t *options;
	bool dry_run;
	json_t *failure;                      // first Status that is not "not found"
	struct reg_write writes[IN_FLIGHT_MAX];
	char *names[IN_FLIGHT_MAX];           // "ns/name", cut in two
	bool busy[IN_FLIGHT_MAX];
	_Atomic int outstanding;
};

static void collection_free(void *state)
{
	struct collection *c = state;

	for (int i = 0; i < IN_FLIGHT_MAX; i++)
		if (c->names[i]) {
			reg_fini(&c->writes[i]);
			free(c->names[i]);
		}
	store_list_fini(&c->list);
	json_decref(c->options);
	json_decref(c->failure);
	free(c);
}

/* On the committer thread. The last one resumes the request. */
static void one_done(struct store_write *sw)
{
	struct request *r = sw->user;
	struct collection *c = r->state;

	if (atomic_fetch_sub(&c->outstanding, 1) == 1)
		request_wake(r);
}

static bool begin_one(struct request *r, struct collection *c, int i)
{
	struct obj_name n = obj_name(c->list.objs[c->next]);

	if (asprintf(&c->names[i], "%.*s%c%.*s", (int)n.ns_len, n.ns, 0, (int)n.name_len, n.name) < 0) {
		c->names[i] = NULL;
		return false;
	}
	c->next++;
	c->writes[i] = (struct reg_write){ .srv = r->srv, .who = r->who, .kind = c->kind, .action = REG_DELETE, .ns = c->names[i],
					   .name = c->names[i] + n.ns_len + 1, .subresource = "", .delete_options = c->options,
					   .dry_run = c->dry_run };
	c->busy[i] = true;
	return true;
}

static void end_one(struct collection *c, int i)
{
	json_t *s = c->writes[i].status;

	if (s && status_code(s) != 404 && !c->failure)
		c->failure = json_incref(s);
	reg_fini(&c->writes[i]);
	free(take(c->names[i]));
	c->busy[i] = false;
}

static void reply_collection(struct request *r, struct collection *c)
{
	if (c->failure)
		reply_status(r, json_incref(c->failure));
	else
		reply_json(r, 200, status_success(NULL, NULL, NULL));
}

static void collection_step(struct request *r)
{
	struct collection *c = r->state;
	int submit[IN_FLIGHT_MAX], n = 0;

	for (int i = 0; i < IN_FLIGHT_MAX; i++)
		while (c->busy[i] || (c->next < c->list.count && begin_one(r, c, i))) {
			if (reg_step(&c->writes[i]) == REG_SUBMIT) {
				submit[n++] = i;
				break;
			}
			end_one(c, i);
		}
	if (!n) {
		reply_collection(r, c);
		return;
	}
	atomic_store(&c->outstanding, n);
	request_suspend(r, collection_step);
	for (int i = 0; i < n; i++) {
		struct store_write *sw = &c->writes[submit[i]].sw;
		sw->done = one_done;
		sw->user = r;
		store_submit(r->srv->store, sw);
	}
}

/* Keep what is selected. Returns NULL or a Status. */
static json_t *collect(struct request *r, struct collection *c)
{
	struct k8s_selector *labels = NULL, *fields = NULL;
	char prefix[REG_KEY_MAX];
	const char *name;
	int e;
	size_t kept = 0;
	uint64_t limit = 0;
	json_t *s = api_limit(r, &limit);

	if (!s)
		s = api_selectors(r, c->kind, &labels, &fields, &name);
	if (s)
		return s;
	reg_prefix(c->kind, *r->route.ns ? r->route.ns : NULL, prefix);
	e = store_list(r->srv->store, prefix, NULL, 0, 0, &c->list);
	for (size_t i = 0; i < c->list.count; i++) {
		own_json json_t *j = api_object(c->kind, c->list.objs[i]);
		if ((!labels || k8s_label_selector_match(labels, jpath_get(j, "metadata.labels"))) &&
		    (!fields || k8s_field_selector_match(fields, j)))
			c->list.objs[kept++] = c->list.objs[i];
		else
			obj_unref(c->list.objs[i]);
	}
	if (!e)
		c->list.count = kept;
	while (limit && c->list.count > limit)
		obj_unref(c->list.objs[--c->list.count]);
	k8s_selector_free(labels);
	k8s_selector_free(fields);
	return e ? status_errno(e) : NULL;
}

void api_delete_collection(struct request *r, const struct k8s_kind *k)
{
	struct collection *c = calloc(1, sizeof *c);
	json_t *s;

	if (!c) {
		reply_status(r, status_errno(-ENOMEM));
		return;
	}
	c->kind = k;
	r->state = c;
	r->free_state = collection_free;
	s = api_delete_options(r, &c->options);
	c->dry_run = options_dry_run(&r->route, c->options);
	if (!s)
		s = collect(r, c);
	if (s)
		reply_status(r, s);
	else
		collection_step(r);
}
