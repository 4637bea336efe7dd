// SPDX-License-Identifier: Apache-2.0
#include "server/admit_account.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/registry.h"
#include "server/status.h"

#define MOUNT_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
#define VOLUME_PREFIX "kube-api-access-"

static json_t *find_account(struct server *srv, const char *ns, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(srv->store, reg_key(k8s_kind_find("", "v1", "serviceaccounts"), ns, name, key));

	return o ? obj_json(o) : NULL;
}

/* The pod decides, then the account; both silent: yes. */
static bool wants_token(const json_t *spec, const json_t *account)
{
	return jpath_bool(spec, "automountServiceAccountToken", jpath_bool(account, "automountServiceAccountToken", true));
}

static json_t *list_of(json_t *obj, const char *field)
{
	json_t *list = json_object_get(obj, field);

	if (!json_is_array(list) && !json_object_set_new(obj, field, json_array()))
		list = json_object_get(obj, field);
	return list;
}

static bool mounts_there(const json_t *container)
{
	json_t *m;
	size_t i;

	json_array_foreach(json_object_get(container, "volumeMounts"), i, m)
		if (!strcmp(jpath_str(m, "mountPath", ""), MOUNT_PATH))
			return true;
	return false;
}

/* Returns how many containers got the mount. */
static int mount_in(json_t *containers, const char *volume)
{
	json_t *c;
	size_t i;
	int n = 0;

	json_array_foreach(containers, i, c)
		if (json_is_object(c) && !mounts_there(c)) {
			json_array_append_new(list_of(c, "volumeMounts"), json_pack("{s:s,s:b,s:s}", "name", volume, "readOnly", 1,
										    "mountPath", MOUNT_PATH));
			n++;
		}
	return n;
}

static json_t *make_volume(const char *name)
{
	return json_pack("{s:s,s:{s:i,s:[{s:{s:i,s:s}},{s:{s:s,s:[{s:s,s:s}]}},{s:{s:[{s:s,s:{s:s,s:s}}]}}]}}", "name", name,
			 "projected", "defaultMode", 0644, "sources",
			 "serviceAccountToken", "expirationSeconds", 3607, "path", "token",
			 "configMap", "name", "kube-root-ca.crt", "items", "key", "ca.crt", "path", "ca.crt",
			 "downwardAPI", "items", "path", "namespace", "fieldRef", "apiVersion", "v1", "fieldPath", "metadata.namespace");
}

static void add_token_volume(json_t *spec)
{
	static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
	char name[] = VOLUME_PREFIX "xxxxx";
	unsigned char random[5];
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(spec, "volumes"), i, v)   // made from a pod that has it already
		if (!strncmp(jpath_str(v, "name", ""), VOLUME_PREFIX, strlen(VOLUME_PREFIX)) && json_object_get(v, "projected")) {
			mount_in(json_object_get(spec, "initContainers"), jpath_str(v, "name", ""));
			mount_in(json_object_get(spec, "containers"), jpath_str(v, "name", ""));
			return;
		}
	while (getrandom(random, sizeof random, 0) != sizeof random)
		;
	for (i = 0; i < sizeof random; i++)
		name[strlen(VOLUME_PREFIX) + i] = letters[random[i] % (sizeof letters - 1)];
	if (mount_in(json_object_get(spec, "initContainers"), name) + mount_in(json_object_get(spec, "containers"), name))
		json_array_append_new(list_of(spec, "volumes"), make_volume(name));
}

json_t *admit_account(struct server *srv, const struct k8s_kind *k, json_t *pod)
{
	json_t *spec = json_object_get(pod, "spec"), *secrets;
	const char *ns = jpath_str(pod, "metadata.namespace", ""), *name;
	own_json json_t *account = NULL;
	char why[700];

	if (json_object_get(jpath_get(pod, "metadata.annotations"), "kubernetes.io/config.mirror"))
		return NULL;   // shows what a node runs by itself
	if (!*jpath_str(spec, "serviceAccountName", ""))
		json_object_set_new(spec, "serviceAccountName", json_string("default"));
	name = jpath_str(spec, "serviceAccountName", "");
	json_object_set_new(spec, "serviceAccount", json_string(name));
	account = find_account(srv, ns, name);
	// The default account of a new namespace comes a moment later; its token waits for it on the node.
	if (!account && strcmp(name, "default")) {
		snprintf(why, sizeof why, "error looking up service account %.250s/%.250s: serviceaccount \"%.100s\" not found", ns, name, name);
		return status_forbidden(k, jpath_str(pod, "metadata.name", ""), why);
	}
	secrets = json_object_get(account, "imagePullSecrets");
	if (json_array_size(secrets) && !json_array_size(json_object_get(spec, "imagePullSecrets")))
		json_object_set_new(spec, "imagePullSecrets", json_deep_copy(secrets));
	if (wants_token(spec, account))
		add_token_volume(spec);
	return NULL;
}
