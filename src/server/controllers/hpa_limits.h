// SPDX-License-Identifier: Apache-2.0
// What holds a wanted number of replicas back: bounds, what was wanted lately, how fast it may change.
#ifndef BH_SERVER_CONTROLLERS_HPA_LIMITS_H
#define BH_SERVER_CONTROLLERS_HPA_LIMITS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happened at a time: a number that was wanted, or one by which the replicas changed. */
struct hpa_note { uint64_t at; long long n; };
struct hpa_notes { struct hpa_note *all; size_t count, room; };

struct hpa_history { struct hpa_notes wanted, ups, downs; };

void hpa_history_fini(struct hpa_history *h);
int hpa_note(struct hpa_notes *n, uint64_t at, long long value);     // 0 or -ENOMEM
void hpa_forget(struct hpa_notes *n, uint64_t before);

struct hpa_bounds {
	long long now, min, max;
	const json_t *behavior;        // spec.behavior with its defaults; NULL: the plain rules
	uint64_t time;                 // real
};

struct hpa_verdict {
	long long replicas;
	const char *able_reason, *able_message;        // of condition AbleToScale
	bool limited;                                  // condition ScalingLimited
	const char *limit_reason, *limit_message;
};

/* want: what the metrics ask for; it is noted in h. */
void hpa_limit(const struct hpa_bounds *b, struct hpa_history *h, long long want, struct hpa_verdict *v);

/* The replicas have been changed. */
void hpa_changed(const struct hpa_bounds *b, struct hpa_history *h, long long to);

#endif
