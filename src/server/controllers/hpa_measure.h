// SPDX-License-Identifier: Apache-2.0
// What the pods of a scaled workload use now, against one metric of an autoscaler.
#ifndef BH_SERVER_CONTROLLERS_HPA_MEASURE_H
#define BH_SERVER_CONTROLLERS_HPA_MEASURE_H

#include <jansson.h>

#include "base/err.h"
#include "server/controllers/hpa_plan.h"

struct k8s_selector;

struct hpa_view {
	const json_t *pods;        // array: those that the target's selector selects
	const json_t *known;       // of metrics_recent, NULL: nothing is known
	long long now;             // replicas asked for
	double down, up;           // tolerances
	uint64_t time;             // real
};

struct hpa_measured {
	struct hpa_result result;
	json_t *status;            // MetricStatus, owned
	char name[400];            // "cpu resource utilization (percentage of request)"
};

/* metric: of spec.metrics. Returns 0, or -errno with *reason (of the condition ScalingActive) and the sentence in e. */
int hpa_measure(const struct hpa_view *view, const json_t *metric, struct hpa_measured *out, const char **reason, struct err *e);

#endif
