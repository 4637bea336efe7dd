// SPDX-License-Identifier: Apache-2.0
#include "server/bootstrap.h"

#include <errno.h>
#include <jansson.h>

#include "base/jpath.h"
#include "server/rbac_bootstrap.h"
#include "server/registry.h"
#include "server/volumes.h"

static const struct { const char *group, *version, *plural, *json; } objects[] = {
	{ "", "v1", "namespaces", "{\"metadata\":{\"name\":\"default\"}}" },
	{ "", "v1", "namespaces", "{\"metadata\":{\"name\":\"kube-system\"}}" },
	{ "", "v1", "namespaces", "{\"metadata\":{\"name\":\"kube-public\"}}" },
	{ "", "v1", "namespaces", "{\"metadata\":{\"name\":\"kube-node-lease\"}}" },
	{ "scheduling.k8s.io", "v1", "priorityclasses",
	  "{\"metadata\":{\"name\":\"system-cluster-critical\"},\"value\":2000000000,\"description\":\"Used for system critical pods "
	  "that must run in the cluster, but can be moved to another node if necessary.\"}" },
	{ "scheduling.k8s.io", "v1", "priorityclasses",
	  "{\"metadata\":{\"name\":\"system-node-critical\"},\"value\":2000001000,\"description\":\"Used for system critical pods that "
	  "must not be moved from their current node.\"}" },
	{ "storage.k8s.io", "v1", "storageclasses",
	  "{\"metadata\":{\"name\":\"bulkhead-disk\",\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}},"
	  "\"provisioner\":\"" VOLUME_PROVISIONER "\",\"volumeBindingMode\":\"WaitForFirstConsumer\",\"allowVolumeExpansion\":true}" },
	{ "snapshot.storage.k8s.io", "v1", "volumesnapshotclasses",
	  "{\"metadata\":{\"name\":\"bulkhead-disk\",\"annotations\":{\"snapshot.storage.kubernetes.io/is-default-class\":\"true\"}},"
	  "\"driver\":\"" VOLUME_PROVISIONER "\",\"deletionPolicy\":\"Delete\"}" },
};

static json_t *make(struct reg_write *w, const json_t *cur, json_t **next)
{
	(void)cur;
	*next = json_deep_copy(w->user);
	return NULL;
}

static int ensure(struct server *srv, const struct k8s_kind *k, json_t *j, struct err *e)
{
	const char *name = jpath_str(j, "metadata.name", "");
	char key[REG_KEY_MAX];
	own_obj struct obj *there = NULL;
	struct reg_write w = { .srv = srv, .kind = k, .action = REG_CREATE, .ns = "", .name = "", .subresource = "", .make = make,
			       .user = j };
	int r;

	if (!k || (there = store_get(srv->store, reg_key(k, "", name, key))))
		return 0;
	r = reg_run(&w, NULL, e);
	return r && r != -EEXIST ? err_wrap(e, "make %s \"%s\"", k->plural, name) : 0;
}

static int ensure_access(struct server *srv, struct err *e)
{
	const char *plural;
	int r = 0;

	for (size_t i = 0; !r; i++) {
		own_json json_t *j = rbac_bootstrap(i, &plural);
		if (!j)
			break;
		r = ensure(srv, k8s_kind_find("rbac.authorization.k8s.io", "v1", plural), j, e);
	}
	return r;
}

int bootstrap_objects(struct server *srv, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < sizeof objects / sizeof *objects && !r; i++) {
		own_json json_t *j = json_loads(objects[i].json, 0, NULL);
		r = ensure(srv, k8s_kind_find(objects[i].group, objects[i].version, objects[i].plural), j, e);
	}
	return r ? r : ensure_access(srv, e);
}
