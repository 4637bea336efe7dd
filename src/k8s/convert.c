// SPDX-License-Identifier: Apache-2.0
// Conversions between versions that differ in more than their name: Events of both groups, autoscaling/v1 and v2.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"

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

/* ---- HorizontalPodAutoscaler: v1 knows one metric, the CPU's utilization ---- */

static bool is_cpu_utilization(const json_t *metric)
{
	return !strcmp(jpath_str(metric, "type", ""), "Resource") && !strcmp(jpath_str(metric, "resource.name", ""), "cpu") &&
	       (jpath_get(metric, "resource.target.averageUtilization") || jpath_get(metric, "resource.current.averageUtilization"));
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
}

void k8s_hpa_from_stored(json_t *hpa)
{
	json_t *spec = json_object_get(hpa, "spec"), *status = json_object_get(hpa, "status"), *m;
	size_t i;
	json_array_foreach(json_object_get(spec, "metrics"), i, m)
		if (is_cpu_utilization(m))
			json_object_set(spec, "targetCPUUtilizationPercentage", jpath_get(m, "resource.target.averageUtilization"));
	json_array_foreach(json_object_get(status, "currentMetrics"), i, m)
		if (is_cpu_utilization(m))
			json_object_set(status, "currentCPUUtilizationPercentage", jpath_get(m, "resource.current.averageUtilization"));
	static const char *const newer[] = {"metrics", "behavior"}, *const newer_status[] = {"currentMetrics", "conditions"};
	for (int n = 0; n < 2; n++) {
		json_object_del(spec, newer[n]);
		json_object_del(status, newer_status[n]);
	}
}
