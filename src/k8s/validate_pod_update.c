// SPDX-License-Identifier: Apache-2.0
// What of a pod may change once it exists: images, activeDeadlineSeconds (downwards), more tolerations, scheduling gates
// removed. Everything else is put back as it was in a copy; if that copy still differs, the change is refused.
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "validate.h"

static const char updatable[] = "pod updates may not change fields other than `spec.containers[*].image`,"
	"`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

static void check_images(const struct k8s_path *path, const json_t *containers, struct k8s_errors *e)
{
	size_t i;
	json_t *c;
	json_array_foreach(containers, i, c) {
		const char *image = jpath_str(c, "image", "");
		size_t n = strlen(image);
		const struct k8s_path *at = PATH(PATH_AT(path, i), "image");
		if (n == 0)
			k8s_required(e, at, NULL);
		else if (strchr(" \t\r\n", image[0]) || strchr(" \t\r\n", image[n - 1]))
			k8s_invalid_str(e, at, image, "must not have leading or trailing whitespace");
	}
}

static void check_deadline(const json_t *now, const json_t *before, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH(PATH_ROOT("spec"), "activeDeadlineSeconds");
	json_int_t seconds = json_integer_value(now);
	if (now && (seconds < 1 || seconds > 2147483647ll))
		k8s_invalid(e, path, now, "must be between 1 and 2147483647, inclusive");
	else if (now && before && seconds > json_integer_value(before))
		k8s_invalid(e, path, now, "must be less than or equal to previous value");
	else if (!now && before)
		k8s_invalid(e, path, before, "must not update from a positive integer to nil value");
}

static bool same_toleration(const json_t *a, const json_t *b)
{
	static const char *const keys[] = {"key", "operator", "value", "effect"};
	for (int i = 0; i < 4; i++)
		if (strcmp(jpath_str(a, keys[i], ""), jpath_str(b, keys[i], "")))
			return false;
	return true;
}

static void check_tolerations(const json_t *now, const json_t *before, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH(PATH_ROOT("spec"), "tolerations");
	size_t i, j;
	json_t *old, *t;
	json_array_foreach(before, i, old) {
		bool kept = false;
		json_array_foreach(now, j, t)
			kept |= same_toleration(old, t);
		if (!kept) {
			k8s_forbidden(e, path, "existing toleration can not be modified except its tolerationSeconds");
			return;
		}
	}
	k8s_validate_tolerations(path, now, e);
}

static void restore_images(json_t *spec, const json_t *old_spec, const char *list)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(spec, list), i, c) {
		json_t *image = json_object_get(json_array_get(json_object_get(old_spec, list), i), "image");
		if (image)
			json_object_set(c, "image", image);
	}
}

static void restore(json_t *spec, const json_t *old_spec, const char *key)
{
	json_t *v = json_object_get(old_spec, key);
	if (v)
		json_object_set(spec, key, v);
	else
		json_object_del(spec, key);
}

/* Names of the fields of spec that differ. */
static void put_changed(struct buf *b, const json_t *now, const json_t *before)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)now, key, v)
		if (!json_object_get(before, key) || !json_equal(v, json_object_get(before, key)))
			buf_printf(b, "%sspec.%s", b->len ? ", " : "", key);
	json_object_foreach((json_t *)before, key, v)
		if (!json_object_get(now, key))
			buf_printf(b, "%sspec.%s", b->len ? ", " : "", key);
}

void k8s_validate_pod_update(const json_t *pod, const json_t *old, struct k8s_errors *e)
{
	static const char *const lists[] = {"containers", "initContainers"};
	static const char *const free_fields[] = {"activeDeadlineSeconds", "tolerations", "schedulingGates"};
	const json_t *spec = json_object_get(pod, "spec"), *old_spec = json_object_get(old, "spec");
	const struct k8s_path *path = PATH_ROOT("spec");
	for (int l = 0; l < 2; l++) {
		if (json_array_size(json_object_get(spec, lists[l])) != json_array_size(json_object_get(old_spec, lists[l]))) {
			k8s_forbidden(e, PATH(path, lists[l]), "pod updates may not add or remove containers");
			return;
		}
		check_images(PATH(path, lists[l]), json_object_get(spec, lists[l]), e);
	}
	check_deadline(json_object_get(spec, "activeDeadlineSeconds"), json_object_get(old_spec, "activeDeadlineSeconds"), e);
	check_tolerations(json_object_get(spec, "tolerations"), json_object_get(old_spec, "tolerations"), e);
	if (json_array_size(json_object_get(spec, "schedulingGates")) > json_array_size(json_object_get(old_spec, "schedulingGates")))
		k8s_forbidden(e, PATH(path, "schedulingGates"), "only deletion is allowed, but found new scheduling gate");
	own_json json_t *copy = json_deep_copy(spec);
	for (int l = 0; l < 2; l++)
		restore_images(copy, old_spec, lists[l]);
	for (int f = 0; f < 3; f++)
		restore(copy, old_spec, free_fields[f]);
	if (jpath_int(old_spec, "terminationGracePeriodSeconds", 30) < 0 && jpath_int(spec, "terminationGracePeriodSeconds", 30) == 1)
		restore(copy, old_spec, "terminationGracePeriodSeconds");
	if (copy && json_equal(copy, old_spec))
		return;
	own_buf struct buf changed = BUF_INIT;
	put_changed(&changed, copy, old_spec);
	k8s_forbidden(e, path, "%s\n  changed: %s", updatable, changed.data ? changed.data : "");
}
