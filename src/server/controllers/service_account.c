// SPDX-License-Identifier: Apache-2.0
// Every namespace has a ServiceAccount "default" and a ConfigMap "kube-root-ca.crt"; made when missing.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/registry.h"

struct accounts {
	struct server *srv;
	json_t *account, *ca_map;  // what is made
	struct map todo;           // namespaces to look at
};

static void namespace_changed(void *unit, int type, struct obj *o)
{
	struct accounts *a = unit;
	own_json json_t *j = obj_json(o);

	if (type == EVENT_DELETED || meta_is_deleting(j))
		map_remove(&a->todo, jpath_str(j, "metadata.name", ""));
	else
		map_put(&a->todo, jpath_str(j, "metadata.name", ""), a);
}

static void child_changed(void *unit, int type, struct obj *o)
{
	struct accounts *a = unit;
	struct obj_name n = obj_name(o);
	char ns[256];

	if (type != EVENT_DELETED || (strcmp(n.name, "default") && strcmp(n.name, "kube-root-ca.crt")))
		return;
	snprintf(ns, sizeof ns, "%.*s", (int)n.ns_len, n.ns);
	map_put(&a->todo, ns, a);
}

static int ensure(struct accounts *a, const char *plural, const char *ns, json_t *obj)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", plural);
	char key[REG_KEY_MAX];
	own_obj struct obj *there = store_get(a->srv->store, reg_key(k, ns, jpath_str(obj, "metadata.name", ""), key));
	struct err e = ERR_INIT;
	int r = there ? 0 : create_object(a->srv, k, ns, obj, &e);

	if (!r || r == -EEXIST || r == -ENOENT || r == -EACCES)   // the namespace may be going
		return 0;
	log_warn("accounts", "namespace=%s: %s", ns, e.text);
	return r;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct accounts *a = unit;
	struct map again = MAP_INIT;
	const char *ns;
	size_t pos = 0;

	while (map_next(&a->todo, &pos, &ns))
		if (ensure(a, "serviceaccounts", ns, a->account) || ensure(a, "configmaps", ns, a->ca_map))
			map_put(&again, ns, a);
	map_fini(&a->todo, NULL);
	a->todo = again;
	return again.count ? now + 1000000000ull : LOOP_NEVER;
}

static void accounts_close(void *unit)
{
	struct accounts *a = unit;

	map_fini(&a->todo, NULL);
	json_decref(a->account);
	json_decref(a->ca_map);
	free(a);
}

static int accounts_open(struct server *srv, void **unit, struct err *e)
{
	struct accounts *a = calloc(1, sizeof *a);
	own_buf struct buf ca = BUF_INIT;
	char path[4096];
	int r;

	snprintf(path, sizeof path, "%s/pki/ca.crt", srv->root);
	r = file_read(path, 1 << 20, &ca, e);
	if (r || !a) {
		free(a);
		return r ? r : err_set(e, ENOMEM, "out of memory");
	}
	a->srv = srv;
	a->account = json_pack("{s:{s:s}}", "metadata", "name", "default");
	a->ca_map = json_pack("{s:{s:s,s:{s:s}},s:{s:s}}", "metadata", "name", "kube-root-ca.crt", "annotations",
			      "kubernetes.io/description",
			      "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "
			      "the internal service IP or kubernetes.default.svc.",
			      "data", "ca.crt", ca.data);
	*unit = a;
	return 0;
}

static const struct unit_source sources[] = {
	{ "", "v1", "namespaces", namespace_changed, NULL },
	{ "", "v1", "serviceaccounts", child_changed, NULL },
	{ "", "v1", "configmaps", child_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops service_account_unit = {
	.name = "service accounts", .sources = sources, .open = accounts_open, .work = work, .close = accounts_close,
};
