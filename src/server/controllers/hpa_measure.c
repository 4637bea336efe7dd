// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/hpa_measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "k8s/hooks.h"
#include "k8s/quantity.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/quota_usage.h"

#define CPU_SETTLE_NS (300 * NS_PER_S)     // a pod so young is judged by its CPU only while it is ready
#define FIRST_READY_NS (30 * NS_PER_S)     // one that was not ready since so soon after its start never was

/* What of a pod is measured. */
struct measure { const char *resource, *container; };   // container "": all of them

/* --- one pod --- */

static uint64_t time_at(const json_t *obj, const char *path)
{
	uint64_t ns = 0;

	clock_parse(jpath_str(obj, path, ""), &ns);
	return ns;
}

/* "14.998s" */
static uint64_t window_ns(const json_t *row)
{
	return (uint64_t)(strtod(jpath_str(row, "window", "0"), NULL) * 1e9);
}

static const json_t *row_of(const struct hpa_view *v, const json_t *pod)
{
	char key[600];

	snprintf(key, sizeof key, "%s/%s", jpath_str(pod, "metadata.namespace", ""), jpath_str(pod, "metadata.name", ""));
	return json_object_get(json_object_get(v->known, "pods"), key);
}

/* Young pods work hard before they serve: their CPU is no sign of load. */
static bool cpu_says_nothing(const struct hpa_view *v, const json_t *pod, const json_t *row)
{
	const json_t *ready = status_condition_find(json_object_get(pod, "status"), "Ready");
	uint64_t start = time_at(pod, "status.startTime"), turned = time_at(ready, "lastTransitionTime");
	bool not_ready = !strcmp(jpath_str(ready, "status", ""), "False");

	if (!ready || !start)
		return true;
	if (start + CPU_SETTLE_NS > v->time)
		return not_ready || time_at(row, "timestamp") < turned + window_ns(row);
	return not_ready && start + FIRST_READY_NS > turned;
}

static int64_t used(const struct measure *m, const json_t *row)
{
	int64_t sum = 0;
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(row, "containers"), i, c)
		if (!*m->container || !strcmp(jpath_str(c, "name", ""), m->container))
			sum += k8s_quantity_milli(json_object_get(json_object_get(c, "usage"), m->resource), 0);
	return sum;
}

static int add_request(const struct measure *m, const json_t *pod, const json_t *container, int64_t *sum, struct err *e)
{
	const char *name = jpath_str(container, "name", "");
	const json_t *request = json_object_get(jpath_get(container, "resources.requests"), m->resource);

	if (*m->container && strcmp(name, m->container))
		return 0;
	if (!request)
		return err_set(e, ENODATA, "missing request for %s in container %s of Pod %s", m->resource, name,
			       jpath_str(pod, "metadata.name", ""));
	*sum += k8s_quantity_milli(request, 0);
	return 0;
}

/* Where any is said of the pod as a whole: that, else what the containers come to. */
static int requested_whole(const struct measure *m, const json_t *pod, int64_t *out, struct err *e)
{
	own_json json_t *sums = quota_pod_amounts(pod, "requests");
	const json_t *request = json_object_get(sums, m->resource);

	if (!request)
		return err_set(e, ENODATA, "missing pod-level request for %s in Pod %s", m->resource, jpath_str(pod, "metadata.name", ""));
	*out = json_integer_value(request);
	return 0;
}

static int requested(const struct measure *m, const json_t *pod, int64_t *out, struct err *e)
{
	int64_t sum = 0;
	json_t *c;
	size_t i;
	int r = 0;

	if (!*m->container && k8s_pod_states_whole(pod, "requests"))
		return requested_whole(m, pod, out, e);
	json_array_foreach(jpath_get(pod, "spec.containers"), i, c)
		if (!r)
			r = add_request(m, pod, c, &sum, e);
	json_array_foreach(jpath_get(pod, "spec.initContainers"), i, c)
		if (!r && !strcmp(jpath_str(c, "restartPolicy", ""), "Always"))
			r = add_request(m, pod, c, &sum, e);
	*out = sum;
	return r;
}

static void look_at(const struct hpa_view *v, const struct measure *m, const json_t *pod, struct hpa_pod *out)
{
	const char *phase = jpath_str(pod, "status.phase", "Pending");
	const json_t *row = row_of(v, pod);

	*out = (struct hpa_pod){ .state = HPA_COUNTED };
	if (meta_is_deleting(pod) || !strcmp(phase, "Failed"))
		out->state = HPA_IGNORED;
	else if (!strcmp(phase, "Pending"))
		out->state = HPA_UNREADY;
	else if (!row)
		out->state = HPA_MISSING;
	else if (!strcmp(m->resource, "cpu") && cpu_says_nothing(v, pod, row))
		out->state = HPA_UNREADY;
	else
		out->value = used(m, row);
}

/* --- all of them --- */

static int judge(const struct hpa_view *v, const struct measure *m, const struct hpa_target *t, struct hpa_pod *pods,
		 struct hpa_result *out, struct err *e)
{
	size_t i, n = json_array_size(v->pods), counted = 0;
	json_t *pod;
	int r;

	if (!json_object_size(json_object_get(v->known, "pods")))
		return err_set(e, ENODATA, "unable to get metrics for resource %s: no metrics returned from resource metrics API", m->resource);
	if (!n)
		return err_set(e, ENODATA, "no pods returned by selector while calculating replica count");
	json_array_foreach((json_t *)v->pods, i, pod) {
		look_at(v, m, pod, &pods[i]);
		counted += pods[i].state == HPA_COUNTED;
		r = t->utilization && pods[i].state != HPA_IGNORED ? requested(m, pod, &pods[i].request, e) : 0;
		if (r)
			return r;
	}
	if (!counted)
		return err_set(e, ENODATA, "did not receive metrics for targeted pods (pods might be unready)");
	if (hpa_plan(t, pods, n, v->now, out))
		return err_set(e, ENODATA, "no metrics returned matched known pods");
	return 0;
}

static json_t *status_of(const char *type, const char *key, const json_t *source, bool utilization, const struct hpa_result *r)
{
	char average[K8S_QUANTITY_TEXT_MAX];
	json_t *current = json_pack("{s:s}", "averageValue", k8s_quantity_text(r->average, 0, average));
	json_t *one = json_pack("{s:s,s:o}", "name", jpath_str(source, "name", ""), "current", current);

	if (utilization)
		json_object_set_new(current, "averageUtilization", json_integer(r->percent));
	if (json_object_get(source, "container"))
		json_object_set(one, "container", json_object_get(source, "container"));
	return json_pack("{s:s,s:o}", "type", type, key, one);
}

static int measure_resource(const struct hpa_view *v, const char *type, const char *key, const json_t *source, struct hpa_measured *out,
			    struct err *e)
{
	const struct measure m = { jpath_str(source, "name", ""), jpath_str(source, "container", "") };
	const json_t *average = jpath_get(source, "target.averageValue"), *percent = jpath_get(source, "target.averageUtilization");
	const struct hpa_target t = { .utilization = !average, .down = v->down, .up = v->up,
				      .value = average ? k8s_quantity_milli(average, 0) : json_integer_value(percent) };
	struct hpa_pod *pods;
	int r;

	if (!average && !percent)
		return err_set(e, EINVAL, "invalid resource metric source: neither an average utilization target nor an average value "
			       "(usage) target was set");
	pods = calloc(json_array_size(v->pods) + 1, sizeof *pods);
	if (!pods)
		return err_set(e, ENOMEM, "out of memory");
	r = judge(v, &m, &t, pods, &out->result, e);
	free(pods);
	if (r)
		return err_wrap(e, "failed to get %s %s", m.resource, t.utilization ? "utilization" : "usage");
	snprintf(out->name, sizeof out->name, "%.253s %sresource%s", m.resource, *m.container ? "container " : "",
		 t.utilization ? " utilization (percentage of request)" : "");
	out->status = status_of(type, key, source, t.utilization, &out->result);
	return out->status ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* Metrics that other programs would have to bring. */
static int no_source(const char *what, const char *api, const json_t *source, struct err *e)
{
	return err_set(e, EOPNOTSUPP, "unable to get %s metric %s: this server has no %s metrics API", what,
		       jpath_str(source, "metric.name", ""), api);
}

int hpa_measure(const struct hpa_view *view, const json_t *metric, struct hpa_measured *out, const char **reason, struct err *e)
{
	static const struct { const char *type, *key, *reason, *what, *api; } types[] = {
		{ "Resource", "resource", "FailedGetResourceMetric", NULL, NULL },
		{ "ContainerResource", "containerResource", "FailedGetContainerResourceMetric", NULL, NULL },
		{ "Pods", "pods", "FailedGetPodsMetric", "pods", "custom" },
		{ "Object", "object", "FailedGetObjectMetric", "object", "custom" },
		{ "External", "external", "FailedGetExternalMetric", "external", "external" },
	};
	const char *type = jpath_str(metric, "type", "");

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(type, types[i].type))
			continue;
		const json_t *source = json_object_get(metric, types[i].key);
		*reason = types[i].reason;
		if (types[i].what)
			return no_source(types[i].what, types[i].api, source, e);
		return measure_resource(view, type, types[i].key, source, out, e);
	}
	*reason = "InvalidMetricSourceType";
	return err_set(e, EINVAL, "unknown metric source type \"%.64s\"", type);
}
