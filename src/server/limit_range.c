// SPDX-License-Identifier: Apache-2.0
#include "server/limit_range.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "server/quota_usage.h"
#include "server/registry.h"
#include "server/status.h"

/* --- defaults --- */

static void fill(json_t *container, const char *what, const json_t *defaults)
{
	json_t *resources = json_object_get(container, "resources"), *list, *v;
	const char *name;

	if (!json_object_size(defaults))
		return;
	if (!resources && !json_object_set_new(container, "resources", json_object()))
		resources = json_object_get(container, "resources");
	list = json_object_get(resources, what);
	if (!list && !json_object_set_new(resources, what, json_object()))
		list = json_object_get(resources, what);
	json_object_foreach((json_t *)defaults, name, v)
		if (!json_object_get(list, name))
			json_object_set(list, name, v);
}

/* A limit without a request is the request, unless the range has a default for that. */
static void set_defaults(json_t *pod, const json_t *item)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };
	json_t *c;
	size_t i;

	for (int l = 0; l < 2; l++)
		json_array_foreach(jpath_get(pod, lists[l]), i, c) {
			fill(c, "limits", json_object_get(item, "default"));
			fill(c, "requests", json_object_get(item, "defaultRequest"));
		}
}

/* --- bounds --- */

static void complain(struct buf *out, int *count, const char *text)
{
	if ((*count)++)
		buf_puts(out, ", ");
	buf_puts(out, text);
}

/* request, limit: thousandths, or -1 for not stated. */
static void check(const char *type, const char *name, long long request, long long limit, const json_t *item, struct buf *out, int *count)
{
	const json_t *min = json_object_get(json_object_get(item, "min"), name), *max = json_object_get(json_object_get(item, "max"), name);
	const json_t *ratio = json_object_get(json_object_get(item, "maxLimitRequestRatio"), name);
	own_json json_t *asked = quota_text(name, request), *most = quota_text(name, limit);
	own_buf struct buf text = BUF_INIT;

	if (min && request < 0)
		buf_printf(&text, "minimum %s usage per %s is %s.  No request is specified", name, type, json_string_value(min));
	else if (min && request < k8s_quantity_milli(min, 0))
		buf_printf(&text, "minimum %s usage per %s is %s, but request is %s", name, type, json_string_value(min), json_string_value(asked));
	if (text.len)
		complain(out, count, text.data);
	buf_consume(&text, text.len);
	if (max && limit < 0 && strcmp(type, "PersistentVolumeClaim"))
		buf_printf(&text, "maximum %s usage per %s is %s.  No limit is specified", name, type, json_string_value(max));
	else if (max && limit > k8s_quantity_milli(max, 0))
		buf_printf(&text, "maximum %s usage per %s is %s, but limit is %s", name, type, json_string_value(max), json_string_value(most));
	else if (max && limit < 0 && request > k8s_quantity_milli(max, 0))
		buf_printf(&text, "maximum %s usage per %s is %s, but request is %s", name, type, json_string_value(max), json_string_value(asked));
	if (text.len)
		complain(out, count, text.data);
	buf_consume(&text, text.len);
	if (ratio && (request <= 0 || limit < 0))
		buf_printf(&text, "%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, type,
			   json_string_value(ratio));
	else if (ratio && (double)limit / request > k8s_quantity_milli(ratio, 0) / 1000.0)
		buf_printf(&text, "%s max limit to request ratio per %s is %s, but provided ratio is %f", name, type, json_string_value(ratio),
			   (double)limit / request);
	if (text.len)
		complain(out, count, text.data);
}

static long long stated(const json_t *amounts, const char *name)
{
	const json_t *v = json_object_get(amounts, name);

	return v ? k8s_quantity_milli(v, 0) : -1;
}

static void check_all(const char *type, const json_t *requests, const json_t *limits, bool sums, const json_t *item, struct buf *out,
		      int *count)
{
	static const char *const bounds[] = { "min", "max", "maxLimitRequestRatio" };
	own_json json_t *names = json_object();
	const char *name;
	json_t *v;

	for (int b = 0; b < 3; b++)
		json_object_foreach(json_object_get(item, bounds[b]), name, v)
			json_object_set_new(names, name, json_true());
	json_object_foreach(names, name, v) {
		const json_t *request = json_object_get(requests, name), *limit = json_object_get(limits, name);
		check(type, name, !sums ? stated(requests, name) : request ? json_integer_value(request) : -1,
		      !sums ? stated(limits, name) : limit ? json_integer_value(limit) : -1, item, out, count);
	}
}

static void check_pod(const json_t *pod, const json_t *item, struct buf *out, int *count)
{
	static const char *const lists[] = { "spec.initContainers", "spec.containers" };
	const char *type = jpath_str(item, "type", "");
	own_json json_t *requests = NULL, *limits = NULL;
	json_t *c;
	size_t i;

	if (!strcmp(type, "Container"))
		for (int l = 0; l < 2; l++)
			json_array_foreach(jpath_get(pod, lists[l]), i, c)
				check_all(type, jpath_get(c, "resources.requests"), jpath_get(c, "resources.limits"), false, item, out, count);
	if (strcmp(type, "Pod"))
		return;
	requests = quota_pod_amounts(pod, "requests");
	limits = quota_pod_amounts(pod, "limits");
	check_all(type, requests, limits, true, item, out, count);
}

static void apply(const struct k8s_kind *k, json_t *obj, const json_t *range, struct buf *out, int *count)
{
	bool pod = !strcmp(k->plural, "pods");
	json_t *item;
	size_t i;

	json_array_foreach(jpath_get(range, "spec.limits"), i, item) {
		const char *type = jpath_str(item, "type", "");
		if (pod && !strcmp(type, "Container"))
			set_defaults(obj, item);
		if (pod)
			check_pod(obj, item, out, count);
		else if (!strcmp(type, "PersistentVolumeClaim"))
			check_all(type, jpath_get(obj, "spec.resources.requests"), NULL, false, item, out, count);
	}
}

json_t *limit_range_admit(struct server *srv, const struct k8s_kind *k, json_t *obj)
{
	const struct k8s_kind *ranges = k8s_kind_find("", "v1", "limitranges");
	own_buf struct buf out = BUF_INIT, why = BUF_INIT;
	char prefix[REG_KEY_MAX];
	struct store_list l;
	int count = 0, r;

	r = store_list(srv->store, reg_prefix(ranges, jpath_str(obj, "metadata.namespace", ""), prefix), NULL, 0, 0, &l);
	if (r)
		return status_errno(r);
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *range = obj_json(l.objs[i]);
		apply(k, obj, range, &out, &count);
	}
	store_list_fini(&l);
	if (!count)
		return NULL;
	buf_printf(&why, count > 1 ? "[%s]" : "%s", out.data);
	return status_forbidden(k, jpath_str(obj, "metadata.name", ""), why.data ? why.data : "");
}
