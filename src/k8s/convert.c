// SPDX-License-Identifier: Apache-2.0
// Conversions between versions that differ in more than their name: Events of both groups, autoscaling/v1 and v2.
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"
#include "schema.h"
#include "schema_types.h"

static void rename_key(json_t *obj, const char *from, const char *to)
{
	json_t *v = json_object_get(obj, from);
	if (!v)
		return;
	json_object_set(obj, to, v);
	json_object_del(obj, from);
}

/* ---- Event: {core name, events.k8s.io name} ---- */

static const char *const event_names[][2] = {{"involvedObject", "regarding"}, {"message", "note"}, {"reportingComponent", "reportingController"},
	{"source", "deprecatedSource"}, {"firstTimestamp", "deprecatedFirstTimestamp"}, {"lastTimestamp", "deprecatedLastTimestamp"},
	{"count", "deprecatedCount"}};

void k8s_event_to_stored(json_t *event)
{
	for (size_t i = 0; i < sizeof(event_names) / sizeof(*event_names); i++)
		rename_key(event, event_names[i][1], event_names[i][0]);
}

void k8s_event_from_stored(json_t *event)
{
	for (size_t i = 0; i < sizeof(event_names) / sizeof(*event_names); i++)
		rename_key(event, event_names[i][0], event_names[i][1]);
}

/* ---- HorizontalPodAutoscaler: v1 knows one metric, the CPU's utilization; annotations carry what it has no fields for ---- */

static const struct { const char *part, *field, *annotation; } hpa_carried[] = {
	{"spec", "metrics", "autoscaling.alpha.kubernetes.io/metrics"}, {"spec", "behavior", "autoscaling.alpha.kubernetes.io/behavior"},
	{"status", "currentMetrics", "autoscaling.alpha.kubernetes.io/current-metrics"},
	{"status", "conditions", "autoscaling.alpha.kubernetes.io/conditions"}};
#define HPA_CARRIED (sizeof(hpa_carried) / sizeof(*hpa_carried))

static bool is_cpu_utilization(const json_t *metric)
{
	return !strcmp(jpath_str(metric, "type", ""), "Resource") && !strcmp(jpath_str(metric, "resource.name", ""), "cpu") &&
	       (jpath_get(metric, "resource.target.averageUtilization") || jpath_get(metric, "resource.current.averageUtilization"));
}

/* Metrics of a list that v1 has a field for stay out of the annotation. */
static json_t *without_cpu(const json_t *list)
{
	json_t *out = json_array(), *m;
	size_t i;
	bool seen = false;
	json_array_foreach((json_t *)list, i, m) {
		if (!seen && is_cpu_utilization(m))
			seen = true;
		else
			json_array_append(out, m);
	}
	return out;
}

static void carry(json_t *hpa, const char *annotation, const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	json_t *all = jpath_get(hpa, "metadata.annotations");
	if (!json_is_object(all)) {
		jpath_set(hpa, "metadata.annotations", json_object());
		all = jpath_get(hpa, "metadata.annotations");
	}
	if (text)
		json_object_set_new(all, annotation, json_string(text));
	free(text);
}

/* What an annotation of ours carries, NULL when nothing usable; the annotation goes. */
static json_t *unload(json_t *hpa, const char *annotation)
{
	json_t *all = jpath_get(hpa, "metadata.annotations");
	const char *text = json_string_value(json_object_get(all, annotation));
	json_t *value = text ? json_loads(text, 0, NULL) : NULL;
	json_object_del(all, annotation);
	if (all && !json_object_size(all))
		json_object_del(json_object_get(hpa, "metadata"), "annotations");
	return value;
}

/* What is carried comes from a client: what v2 itself would not take as the field is dropped. */
static void take_in(json_t *hpa, size_t i)
{
	json_t *given = unload(hpa, hpa_carried[i].annotation), *part = json_object_get(hpa, hpa_carried[i].part);
	json_t *probe = json_pack("{s:{s:o*}}", hpa_carried[i].part, hpa_carried[i].field, given);
	json_t *value = NULL;
	if (!k8s_decode_schema(&k8s_autoscaling2_HorizontalPodAutoscaler, "autoscaling/v2", "HorizontalPodAutoscaler", probe, NULL, NULL))
		value = json_object_get(json_object_get(probe, hpa_carried[i].part), hpa_carried[i].field);
	if (value && json_is_object(part)) {
		json_t *there = json_object_get(part, hpa_carried[i].field);
		if (json_is_array(there))
			json_array_extend(there, value);
		else
			json_object_set(part, hpa_carried[i].field, value);
	}
	json_decref(probe);
}

void k8s_hpa_to_stored(json_t *hpa)
{
	json_t *spec = json_object_get(hpa, "spec"), *status = json_object_get(hpa, "status");
	json_t *target = json_object_get(spec, "targetCPUUtilizationPercentage");
	json_t *current = json_object_get(status, "currentCPUUtilizationPercentage");
	if (target) {
		json_object_set_new(spec, "metrics", json_pack("[{s:s,s:{s:s,s:{s:s,s:O}}}]", "type", "Resource", "resource", "name", "cpu",
				    "target", "type", "Utilization", "averageUtilization", target));
		json_object_del(spec, "targetCPUUtilizationPercentage");
	}
	if (current) {
		json_object_set_new(status, "currentMetrics", json_pack("[{s:s,s:{s:s,s:{s:O}}}]", "type", "Resource", "resource", "name",
				    "cpu", "current", "averageUtilization", current));
		json_object_del(status, "currentCPUUtilizationPercentage");
	}
	for (size_t i = 0; i < HPA_CARRIED; i++)
		take_in(hpa, i);
}

static void take_out(json_t *hpa, size_t i)
{
	json_t *part = json_object_get(hpa, hpa_carried[i].part), *value = json_object_get(part, hpa_carried[i].field), *rest;
	if (!value)
		return;
	rest = json_is_array(value) && strcmp(hpa_carried[i].field, "conditions") ? without_cpu(value) : json_incref(value);
	if (json_is_object(rest) || json_array_size(rest))
		carry(hpa, hpa_carried[i].annotation, rest);
	json_decref(rest);
	json_object_del(part, hpa_carried[i].field);
}

static void put_percent(json_t *part, const char *list, const char *value, const char *field)
{
	json_t *m;
	size_t i;
	json_array_foreach(json_object_get(part, list), i, m) {
		if (!is_cpu_utilization(m))
			continue;
		json_object_set(part, field, jpath_get(m, value));
		return;
	}
}

void k8s_hpa_from_stored(json_t *hpa)
{
	json_t *spec = json_object_get(hpa, "spec"), *status = json_object_get(hpa, "status");
	put_percent(spec, "metrics", "resource.target.averageUtilization", "targetCPUUtilizationPercentage");
	put_percent(status, "currentMetrics", "resource.current.averageUtilization", "currentCPUUtilizationPercentage");
	for (size_t i = 0; i < HPA_CARRIED; i++)
		take_out(hpa, i);
}
