// SPDX-License-Identifier: Apache-2.0
// How many replicas a measured value asks for; without side effects.
#ifndef BH_SERVER_CONTROLLERS_HPA_PLAN_H
#define BH_SERVER_CONTROLLERS_HPA_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* IGNORED: on its way out. UNREADY: too young or not ready, its value says nothing. MISSING: it has no value. */
enum hpa_pod_state { HPA_COUNTED, HPA_UNREADY, HPA_MISSING, HPA_IGNORED };

struct hpa_pod {
	enum hpa_pod_state state;
	int64_t value;          // thousandths; of COUNTED, and of what UNREADY pods are taken for
	int64_t request;        // thousandths; what a utilization is a part of
};

struct hpa_target {
	bool utilization;       // percent of the requests; otherwise thousandths for each pod
	int64_t value;
	double down, up;        // tolerances: how far the ratio may be below and above 1 without an answer to it
};

struct hpa_result {
	long long replicas;
	long long percent;      // of utilization, now
	int64_t average;        // thousandths for each pod, now
};

/* now: replicas asked for at present. Returns 0, or -ENODATA: there is nothing to judge by (*out untouched). pods are changed:
 * what is missing or unready is taken for what keeps the answer careful. */
int hpa_plan(const struct hpa_target *t, struct hpa_pod *pods, size_t n, long long now, struct hpa_result *out);

#endif
