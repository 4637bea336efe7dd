// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/change.h"

#include <errno.h>

#include "base/jpath.h"
#include "server/registry.h"
#include "server/status.h"

struct change { change_fn *fn; void *user; };

static json_t *make_changed(struct reg_write *w, const json_t *cur, json_t **next)
{
	struct change *c = w->user;
	json_t *copy = json_deep_copy(cur);

	if (!copy)
		return status_errno(-ENOMEM);
	if (c->fn(copy, c->user)) {
		*next = copy;
	} else {
		json_decref(copy);
		*next = json_incref((json_t *)cur);
	}
	return NULL;
}

int change_object(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name, const char *subresource,
		  change_fn *fn, void *user, struct err *e)
{
	struct change c = { fn, user };
	struct reg_write w = { .srv = srv, .kind = k, .action = REG_UPDATE, .ns = ns, .name = name, .subresource = subresource,
			       .make = make_changed, .user = &c };

	return reg_run(&w, NULL, e);
}

static json_t *make_new(struct reg_write *w, const json_t *cur, json_t **next)
{
	(void)cur;
	*next = json_deep_copy(w->user);
	return *next ? NULL : status_errno(-ENOMEM);
}

int create_object_out(struct server *srv, const struct k8s_kind *k, const char *ns, json_t *obj, struct obj **made, struct err *e)
{
	struct reg_write w = { .srv = srv, .kind = k, .action = REG_CREATE, .ns = ns, .name = "", .subresource = "",
			       .make = make_new, .user = obj };

	return reg_run(&w, made, e);
}

int create_object(struct server *srv, const struct k8s_kind *k, const char *ns, json_t *obj, struct err *e)
{
	return create_object_out(srv, k, ns, obj, NULL, e);
}

static int delete_with(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name, const char *uid,
		       json_t *options, struct err *e)
{
	struct reg_write w = { .srv = srv, .kind = k, .action = REG_DELETE, .ns = ns, .name = name, .subresource = "",
			       .delete_options = options };

	if (uid)
		jpath_set(options, "preconditions.uid", json_string(uid));
	return reg_run(&w, NULL, e);
}

int delete_object(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name, const char *uid, long grace,
		  struct err *e)
{
	own_json json_t *options = json_object();

	if (grace >= 0)
		json_object_set_new(options, "gracePeriodSeconds", json_integer(grace));
	return delete_with(srv, k, ns, name, uid, options, e);
}

int delete_object_and(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name, const char *uid,
		      const char *policy, struct err *e)
{
	own_json json_t *options = json_pack("{s:s}", "propagationPolicy", policy);

	return delete_with(srv, k, ns, name, uid, options, e);
}
