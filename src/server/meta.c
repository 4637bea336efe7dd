// SPDX-License-Identifier: Apache-2.0
#include "server/meta.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "server/status.h"

#define GENERATED_SUFFIX 5
#define GENERATED_BASE_MAX 58   // so that base and suffix make a label

char *meta_uid(char out[37])
{
	unsigned char b[16];

	while (getrandom(b, sizeof b, 0) != sizeof b)
		;
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
		 b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return out;
}

char *meta_now(char out[40])
{
	return clock_text(clock_real_ns(), 0, out);
}

bool meta_is_deleting(const json_t *obj)
{
	return jpath_str(obj, "metadata.deletionTimestamp", NULL) != NULL;
}

bool meta_has_finalizers(const json_t *obj)
{
	return json_array_size(jpath_get(obj, "metadata.finalizers")) ||
	       (!strcmp(jpath_str(obj, "kind", ""), "Namespace") && json_array_size(jpath_get(obj, "spec.finalizers")));
}

json_t *meta_check_type(const struct k8s_kind *k, json_t *obj)
{
	const char *version = jpath_str(obj, "apiVersion", NULL), *kind = jpath_str(obj, "kind", NULL);
	char want[256];

	snprintf(want, sizeof want, *k->group ? "%s/%s" : "%s%s", k->group, k->version);
	if (version && strcmp(version, want))
		return status_bad_request("the API version in the data (%s) does not match the expected API version (%s)", version, want);
	if (kind && strcmp(kind, k->kind) && k8s_kind_by_name(want, kind))
		return status_bad_request("%s in version \"%s\" cannot be handled as a %s", kind, want, k->kind);
	if (kind && strcmp(kind, k->kind))
		return status_bad_request("%s in version \"%s\" cannot be handled as a %s: no kind \"%s\" is registered for version \"%s\"", kind,
					  want, k->kind, kind, want);
	json_object_set_new(obj, "apiVersion", json_string(want));
	json_object_set_new(obj, "kind", json_string(k->kind));
	return NULL;
}

json_t *meta_check_namespace(const struct k8s_kind *k, json_t *obj, const char *ns)
{
	json_t *meta = json_object_get(obj, "metadata");
	const char *given = jpath_str(meta, "namespace", "");

	if (!k->namespaced) {
		json_object_del(meta, "namespace");
		return NULL;
	}
	if (*given && strcmp(given, ns))
		return status_bad_request("the namespace of the provided object does not match the namespace sent on the request");
	json_object_set_new(meta, "namespace", json_string(ns));
	return NULL;
}

static void generate_name(json_t *meta, const char *base)
{
	static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
	unsigned char random[GENERATED_SUFFIX];
	char name[GENERATED_BASE_MAX + GENERATED_SUFFIX + 1];
	int n = snprintf(name, GENERATED_BASE_MAX + 1, "%s", base);

	if (n > GENERATED_BASE_MAX)
		n = GENERATED_BASE_MAX;
	while (getrandom(random, sizeof random, 0) != sizeof random)
		;
	for (int i = 0; i < GENERATED_SUFFIX; i++)
		name[n++] = letters[random[i] % (sizeof letters - 1)];
	name[n] = '\0';
	json_object_set_new(meta, "name", json_string(name));
}

json_t *meta_prepare_create(const struct k8s_kind *k, json_t *obj, const char *ns, const char *name)
{
	static const char *const server_sets[] = { "uid", "resourceVersion", "generation", "selfLink", "deletionTimestamp",
						   "deletionGracePeriodSeconds" };
	json_t *meta = json_object_get(obj, "metadata"), *s = meta_check_type(k, obj);
	const char *given, *base;
	char text[40];

	if (s)
		return s;
	if (!meta && !json_object_set_new(obj, "metadata", json_object()))
		meta = json_object_get(obj, "metadata");
	if (!json_is_object(meta))
		return status_bad_request("metadata must be an object");
	s = meta_check_namespace(k, obj, ns);
	if (s)
		return s;
	if (*jpath_str(meta, "resourceVersion", ""))
		return status_bad_request("resourceVersion should not be set on objects to be created");
	given = jpath_str(meta, "name", "");
	base = jpath_str(meta, "generateName", "");
	if (*name && *given && strcmp(name, given))
		return status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", given, name);
	if (*name && !*given)
		json_object_set_new(meta, "name", json_string(name));
	else if (!*given && *base)
		generate_name(meta, base);
	for (size_t i = 0; i < sizeof server_sets / sizeof *server_sets; i++)
		json_object_del(meta, server_sets[i]);
	json_object_set_new(meta, "uid", json_string(meta_uid(text)));
	json_object_set_new(meta, "creationTimestamp", json_string(meta_now(text)));
	if (k->has_generation)
		json_object_set_new(meta, "generation", json_integer(1));
	return NULL;
}

static void keep(json_t *meta, const json_t *old, const char *field)
{
	json_t *value = json_object_get(old, field);

	if (value)
		json_object_set(meta, field, value);
	else
		json_object_del(meta, field);
}

json_t *meta_prepare_update(const struct k8s_kind *k, json_t *obj, const json_t *cur, const char *ns, const char *name)
{
	static const char *const fixed[] = { "uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp",
					     "deletionGracePeriodSeconds", "generateName" };
	json_t *meta = json_object_get(obj, "metadata"), *old = json_object_get(cur, "metadata"), *s = meta_check_type(k, obj);
	const char *given, *uid, *rv;
	char why[256];

	if (s)
		return s;
	if (!meta && !json_object_set_new(obj, "metadata", json_object()))
		meta = json_object_get(obj, "metadata");
	if (!json_is_object(meta))
		return status_bad_request("metadata must be an object");
	s = meta_check_namespace(k, obj, ns);
	if (s)
		return s;
	given = jpath_str(meta, "name", "");
	if (!*given)
		return status_bad_request("name must be provided");
	if (strcmp(given, name))
		return status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", given, name);
	uid = jpath_str(meta, "uid", "");
	if (*uid && strcmp(uid, jpath_str(old, "uid", ""))) {
		snprintf(why, sizeof why, "Precondition failed: UID in precondition: %.64s, UID in object meta: %.64s", uid,
			 jpath_str(old, "uid", ""));
		return status_conflict(k, name, why);
	}
	rv = jpath_str(meta, "resourceVersion", "");
	if (*rv && strcmp(rv, "0") && strcmp(rv, jpath_str(old, "resourceVersion", "")))
		return status_conflict(k, name, STATUS_MODIFIED);
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		keep(meta, old, fixed[i]);
	keep(meta, old, "resourceVersion");
	return NULL;
}

/* Everything but metadata and status. */
static bool spec_equal(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)a, key, value)
		if (strcmp(key, "metadata") && strcmp(key, "status") && strcmp(key, "kind") && strcmp(key, "apiVersion") &&
		    !json_equal(value, json_object_get(b, key)))
			return false;
	json_object_foreach((json_t *)b, key, value)
		if (strcmp(key, "metadata") && strcmp(key, "status") && !json_object_get(a, key))
			return false;
	return true;
}

void meta_touch_generation(const struct k8s_kind *k, json_t *obj, const json_t *cur)
{
	if (k->has_generation && !spec_equal(obj, cur))
		json_object_set_new(json_object_get(obj, "metadata"), "generation",
				    json_integer(jpath_int(cur, "metadata.generation", 0) + 1));
}
