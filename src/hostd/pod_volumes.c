// SPDX-License-Identifier: Apache-2.0
// Volumes: the files of configMap, secret, downwardAPI and projected volumes are made here and written by the agent;
// every kind is turned into the mounts of a container.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "env_expand.h"
#include "k8s/client.h"
#include "k8s/quantity.h"
#include "pod.h"

#define AGENT_TIMEOUT_MS 30000
#define MODE_DEFAULT 0644
#define TOKEN_SECONDS_DEFAULT 3600

/* Files of one volume: [{path, data (heap), len, mode}]. */
struct file { char *path, *data; size_t len; unsigned mode; };
struct files { struct file *list; size_t count, room; };

static void files_free(struct files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->list[i].path), free(f->list[i].data);
	free(f->list);
}

/* Takes data in every case. */
static int files_add(struct files *f, const char *path, char *data, size_t len, unsigned mode, struct err *e)
{
	if (f->count == f->room) {
		size_t room = f->room ? f->room * 2 : 8;
		struct file *list = realloc(f->list, room * sizeof(*list));
		if (!list) {
			free(data);
			return err_sys(e, ENOMEM, "volume");
		}
		f->list = list;
		f->room = room;
	}
	char *copy = strdup(path);
	if (!copy || !data) {
		free(copy);
		free(data);
		return err_sys(e, ENOMEM, "volume");
	}
	f->list[f->count++] = (struct file){copy, data, len, mode};
	return 0;
}

/* One value of a ConfigMap or Secret. *data NULL: no such key. */
static void object_value(const json_t *obj, bool secret, const char *key, char **data, size_t *len)
{
	json_t *v = json_object_get(json_object_get(obj, "data"), key);
	bool encoded = secret;
	if (!v && !secret) {
		v = json_object_get(json_object_get(obj, "binaryData"), key);
		encoded = true;
	}
	*data = NULL;
	if (!json_is_string(v))
		return;
	if (encoded) {
		*data = (char *)base64_decode(json_string_value(v), json_string_length(v), len);
		return;
	}
	*len = json_string_length(v);
	*data = malloc(*len + 1);
	if (*data)
		memcpy(*data, json_string_value(v), *len + 1);
}

static int add_object(struct pod *p, struct files *f, bool secret, const char *name, const json_t *source, unsigned mode,
		      struct err *e)
{
	own_json json_t *obj = NULL;
	bool optional = jpath_bool(source, "optional", false);
	const json_t *items = json_object_get(source, "items");
	int rc = pod_object_get(p, secret ? "secrets" : "configmaps", name, &obj, e);
	if (rc == -ENOENT && optional)
		return 0;
	if (rc == -ENOENT)
		return err_set(e, EAGAIN, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
	if (rc)
		return rc;
	size_t i, len = 0;
	json_t *item;
	const char *key;
	char *data;
	json_array_foreach((json_t *)items, i, item) {
		key = jpath_str(item, "key", "");
		object_value(obj, secret, key, &data, &len);
		if (!data && optional)
			continue;
		if (!data)
			return err_set(e, EAGAIN, "references non-existent %s key: %s", secret ? "secret" : "config", key);
		rc = files_add(f, jpath_str(item, "path", key), data, len, (unsigned)jpath_int(item, "mode", mode), e);
		if (rc)
			return rc;
	}
	if (items)
		return 0;
	static const char *const maps[] = {"data", "binaryData"};
	for (size_t m = 0; m < 2; m++) {
		json_object_foreach(json_object_get(obj, maps[m]), key, item) {
			object_value(obj, secret, key, &data, &len);
			if (data && (rc = files_add(f, key, data, len, mode, e)))
				return rc;
		}
	}
	return 0;
}

static int add_downward(struct pod *p, struct files *f, const json_t *items, unsigned mode, struct err *e)
{
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)items, i, item) {
		const json_t *field = json_object_get(item, "fieldRef"), *resource = json_object_get(item, "resourceFieldRef");
		char *value = NULL;
		int rc = field ? pod_field(p, jpath_str(field, "fieldPath", ""), &value, e) :
				 pod_resource_field(p, NULL, resource, &value, e);
		if (!rc)
			rc = files_add(f, jpath_str(item, "path", ""), value, strlen(value), (unsigned)jpath_int(item, "mode", mode), e);
		if (rc)
			return rc;
	}
	return 0;
}

static int add_token(struct pod *p, struct files *f, const json_t *source, unsigned mode, struct err *e)
{
	char path[700], key[512];
	json_t *memory = pod_remembered(p), *held;
	uint64_t now = clock_real_ns();
	const char *audience = jpath_str(source, "audience", NULL);
	own_json json_t *answer = NULL;
	own_json json_t *rq = json_pack("{s:s, s:s, s:{s:o, s:I, s:{s:s, s:s, s:s, s:s}}}", "apiVersion", "authentication.k8s.io/v1",
					"kind", "TokenRequest", "spec", "audiences", audience ? json_pack("[s]", audience) : json_array(),
					"expirationSeconds", (json_int_t)jpath_int(source, "expirationSeconds", TOKEN_SECONDS_DEFAULT),
					"boundObjectRef", "kind", "Pod", "apiVersion", "v1", "name", p->name, "uid", p->uid);
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/serviceaccounts/%s/token", p->ns,
		 jpath_str(p->seen, "spec.serviceAccountName", "default"));
	snprintf(key, sizeof(key), "token/%s/%s", audience ? audience : "", jpath_str(source, "path", "token"));
	held = json_object_get(memory, key);
	if (held && now < (uint64_t)jpath_int(held, "renew", 0)) {
		const char *same = jpath_str(held, "token", "");
		return files_add(f, jpath_str(source, "path", "token"), strdup(same), strlen(same), mode, e);
	}
	int rc = k8s_client_call(p->host->api, "POST", path, NULL, rq, 10000, &answer, e);
	if (rc)
		return err_set(e, EAGAIN, "failed to fetch token: %s", e->text);
	const char *token = jpath_str(answer, "status.token", "");
	uint64_t life_ns = (uint64_t)jpath_int(source, "expirationSeconds", TOKEN_SECONDS_DEFAULT) * NS_PER_S;
	json_object_set_new(memory, key, json_pack("{s:s, s:I}", "token", token, "renew", (json_int_t)(now + life_ns / 5 * 4)));
	return files_add(f, jpath_str(source, "path", "token"), strdup(token), strlen(token), mode, e);
}

static int add_projected(struct pod *p, struct files *f, const json_t *volume, unsigned mode, struct err *e)
{
	size_t i;
	json_t *source;
	const json_t *part;
	json_array_foreach(jpath_get(volume, "sources"), i, source) {
		int rc = 0;
		if ((part = json_object_get(source, "configMap")))
			rc = add_object(p, f, false, jpath_str(part, "name", ""), part, mode, e);
		else if ((part = json_object_get(source, "secret")))
			rc = add_object(p, f, true, jpath_str(part, "name", ""), part, mode, e);
		else if ((part = json_object_get(source, "downwardAPI")))
			rc = add_downward(p, f, json_object_get(part, "items"), mode, e);
		else if ((part = json_object_get(source, "serviceAccountToken")))
			rc = add_token(p, f, part, mode, e);
		else
			rc = err_set(e, ENOTSUP, "projected volume: this kind of source is not supported");
		if (rc)
			return rc;
	}
	return 0;
}

/* The files of a volume; *is_files false: it is another kind. */
static int collect(struct pod *p, const json_t *volume, struct files *f, bool *is_files, struct err *e)
{
	const json_t *v;
	*is_files = true;
	if ((v = json_object_get(volume, "configMap")))
		return add_object(p, f, false, jpath_str(v, "name", ""), v, (unsigned)jpath_int(v, "defaultMode", MODE_DEFAULT), e);
	if ((v = json_object_get(volume, "secret")))
		return add_object(p, f, true, jpath_str(v, "secretName", ""), v, (unsigned)jpath_int(v, "defaultMode", MODE_DEFAULT), e);
	if ((v = json_object_get(volume, "downwardAPI")))
		return add_downward(p, f, json_object_get(v, "items"), (unsigned)jpath_int(v, "defaultMode", MODE_DEFAULT), e);
	if ((v = json_object_get(volume, "projected")))
		return add_projected(p, f, v, (unsigned)jpath_int(v, "defaultMode", MODE_DEFAULT), e);
	*is_files = false;
	return 0;
}

/* FNV-1a over names, modes and contents: enough to see that nothing changed. */
static uint64_t digest_of(const struct files *f)
{
	uint64_t h = 14695981039346656037ull;
	for (size_t i = 0; i < f->count; i++) {
		const struct file *one = &f->list[i];
		for (const char *c = one->path; *c; c++)
			h = (h ^ (unsigned char)*c) * 1099511628211ull;
		h = (h ^ one->mode ^ one->len << 16) * 1099511628211ull;
		for (size_t k = 0; k < one->len; k++)
			h = (h ^ (unsigned char)one->data[k]) * 1099511628211ull;
	}
	return h;
}

static int send_files(struct pod *p, const char *name, const struct files *f, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__WriteVolume wv = BULKHEAD__AGENT__WRITE_VOLUME__INIT;
	own_free Bulkhead__Agent__VolumeFile *list = calloc(f->count + 1, sizeof(*list));
	own_free Bulkhead__Agent__VolumeFile **ptrs = calloc(f->count + 1, sizeof(*ptrs));
	if (!list || !ptrs)
		return err_sys(e, ENOMEM, "volume %s", name);
	for (size_t i = 0; i < f->count; i++) {
		bulkhead__agent__volume_file__init(ptrs[i] = &list[i]);
		list[i].path = f->list[i].path;
		list[i].data.data = (uint8_t *)f->list[i].data;
		list[i].data.len = f->list[i].len;
		list[i].mode = f->list[i].mode;
		list[i].gid = jpath_int(p->seen, "spec.securityContext.fsGroup", 0);
	}
	wv.name = (char *)name;
	wv.n_files = f->count;
	wv.files = ptrs;
	wv.dir_mode = 0755;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_WRITE_VOLUME;
	rq.write_volume = &wv;
	return agent_request(p->agent, &rq, AGENT_TIMEOUT_MS, NULL, e);
}

int pod_volumes_write(struct pod *p, bool first, struct err *e)
{
	size_t i;
	json_t *volume, *memory = pod_remembered(p);
	json_array_foreach(jpath_get(p->seen, "spec.volumes"), i, volume) {
		const char *name = jpath_str(volume, "name", "");
		char key[128];
		snprintf(key, sizeof(key), "volume/%.63s", name);
		struct files f = {.list = NULL};
		bool is_files;
		int rc = collect(p, volume, &f, &is_files, e);
		json_int_t digest = (json_int_t)digest_of(&f);
		json_t *held = json_object_get(memory, key);
		if (!rc && is_files && (first || !held || json_integer_value(held) != digest)) {
			rc = send_files(p, name, &f, e);
			if (!rc)
				json_object_set_new(memory, key, json_integer(digest));
		}
		files_free(&f);
		if (rc == -EPIPE || rc == -ETIMEDOUT)
			return rc;
		if (rc) {
			struct err why = *e;
			return err_set(e, EAGAIN, "MountVolume.SetUp failed for volume \"%s\" : %s", name, why.text);
		}
	}
	return 0;
}

/* --- mounts --- */

static const json_t *volume_find(const struct pod *p, const char *name)
{
	size_t i;
	json_t *v;
	json_array_foreach(jpath_get(p->seen, "spec.volumes"), i, v)
		if (!strcmp(jpath_str(v, "name", ""), name))
			return v;
	return NULL;
}

static int mount_source(struct pod *p, const json_t *volume, const char *name, Bulkhead__Agent__Mount *m, struct err *e)
{
	const json_t *v;
	if ((v = json_object_get(volume, "emptyDir"))) {
		bool memory = !strcmp(jpath_str(v, "medium", ""), "Memory");
		m->kind = memory ? BULKHEAD__AGENT__MOUNT__KIND__TMPFS : BULKHEAD__AGENT__MOUNT__KIND__EMPTY_DIR;
		m->size_bytes = (uint64_t)k8s_quantity_value(json_object_get(v, "sizeLimit"), 0);
		return 0;
	}
	if (json_object_get(volume, "configMap") || json_object_get(volume, "secret") || json_object_get(volume, "downwardAPI") ||
	    json_object_get(volume, "projected")) {
		m->kind = BULKHEAD__AGENT__MOUNT__KIND__FILES;
		m->read_only = true;
		return 0;
	}
	const struct pod_claim *claim = pod_claim_find(p, name);
	if (claim && json_object_get(volume, "hostPath")) {   // a device of the host
		m->kind = BULKHEAD__AGENT__MOUNT__KIND__BLOCK;
		m->source = (char *)claim->serial;
		return 0;
	}
	if (json_object_get(volume, "hostPath") || json_object_get(volume, "image"))
		return pod_share_mount(p, volume, m, e);
	if (claim) {
		m->kind = BULKHEAD__AGENT__MOUNT__KIND__DISK;
		m->source = (char *)claim->serial;
		m->group_always = strcmp(jpath_str(p->seen, "spec.securityContext.fsGroupChangePolicy", "Always"), "OnRootMismatch");
		return 0;
	}
	return err_set(e, ENOTSUP, "volume \"%s\" is of a kind this host does not offer (emptyDir, configMap, secret, downwardAPI, "
				   "projected, hostPath, image, ephemeral and persistentVolumeClaim volumes work)", name);
}

static int sub_path(struct pod *p, const json_t *spec, const json_t *vm, char **out, struct err *e)
{
	const char *expr = jpath_str(vm, "subPathExpr", NULL);
	own_free char *missing = NULL;
	own_json json_t *env = NULL;
	int rc = expr ? pod_env(p, spec, &env, e) : 0;
	if (rc)
		return rc;
	missing = expr ? env_missing(expr, env) : NULL;
	if (missing)
		return err_set(e, EINVAL, "missing value for %s", missing);
	*out = expr ? env_expand(expr, env) : strdup(jpath_str(vm, "subPath", ""));
	return *out ? 0 : err_sys(e, ENOMEM, "mounts");
}

/* volumeDevices: the disk itself. */
static int device_mount(struct pod *p, const json_t *device, Bulkhead__Agent__CreateContainer *out, struct err *e)
{
	const char *name = jpath_str(device, "name", "");
	const struct pod_claim *claim = pod_claim_find(p, name);
	Bulkhead__Agent__Mount *m = calloc(1, sizeof(*m));
	if (!m)
		return err_sys(e, ENOMEM, "mounts");
	bulkhead__agent__mount__init(m);
	out->mounts[out->n_mounts++] = m;
	m->sub_path = strdup("");   // freed like the others'
	if (!claim || !claim->block)
		return err_set(e, EINVAL, "volumeDevices: volume \"%s\" is not a claim with volumeMode Block", name);
	m->kind = BULKHEAD__AGENT__MOUNT__KIND__BLOCK;
	m->source = (char *)claim->serial;
	m->destination = (char *)jpath_str(device, "devicePath", "");
	m->read_only = claim->read_only;
	return m->sub_path ? 0 : err_sys(e, ENOMEM, "mounts");
}

int pod_mounts(struct pod *p, const json_t *spec, Bulkhead__Agent__CreateContainer *out, struct err *e)
{
	const json_t *list = json_object_get(spec, "volumeMounts"), *devices = json_object_get(spec, "volumeDevices");
	size_t i;
	json_t *vm;
	out->mounts = calloc(json_array_size(list) + json_array_size(devices) + 1, sizeof(*out->mounts));
	if (!out->mounts)
		return err_sys(e, ENOMEM, "mounts");
	json_array_foreach((json_t *)list, i, vm) {
		const char *name = jpath_str(vm, "name", "");
		const json_t *volume = volume_find(p, name);
		if (!volume)
			return err_set(e, EINVAL, "volume \"%s\" not found", name);
		Bulkhead__Agent__Mount *m = calloc(1, sizeof(*m));
		if (!m)
			return err_sys(e, ENOMEM, "mounts");
		bulkhead__agent__mount__init(m);
		m->sub_path = NULL;
		out->mounts[out->n_mounts++] = m;
		m->source = (char *)name;
		m->destination = (char *)jpath_str(vm, "mountPath", "");
		int rc = sub_path(p, spec, vm, &m->sub_path, e);
		if (!rc)
			rc = mount_source(p, volume, name, m, e);
		if (rc)
			return rc;
		m->read_only |= jpath_bool(vm, "readOnly", false);
		const char *propagation = jpath_str(vm, "mountPropagation", "None");
		bool both = !strcmp(propagation, "Bidirectional");
		if (both && !jpath_bool(spec, "securityContext.privileged", false))
			return err_set(e, EINVAL, "Bidirectional mount propagation is available only to privileged containers");
		m->propagation = both ? "rshared" : !strcmp(propagation, "HostToContainer") ? "rslave" : "";
	}
	json_array_foreach((json_t *)devices, i, vm) {
		int rc = device_mount(p, vm, out, e);
		if (rc)
			return rc;
	}
	return 0;
}

void pod_mounts_free(Bulkhead__Agent__CreateContainer *out)
{
	for (size_t i = 0; i < out->n_mounts; i++) {
		free(out->mounts[i]->sub_path);
		free(out->mounts[i]);
	}
	free(out->mounts);
	out->mounts = NULL;
	out->n_mounts = 0;
}
