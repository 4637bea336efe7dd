// SPDX-License-Identifier: Apache-2.0
// The ratio of what is used to what is wanted, over the pods with a value; then once more with guesses for those without
// one. A guess may only hold the answer back, never push it further or turn it around.
#include "server/controllers/hpa_plan.h"

#include <errno.h>

struct sums { double value, request; size_t pods; };

static struct sums sum(const struct hpa_pod *pods, size_t n)
{
	struct sums s = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (pods[i].state != HPA_COUNTED)
			continue;
		s.value += (double)pods[i].value;
		s.request += (double)pods[i].request;
		s.pods++;
	}
	return s;
}

/* Used to wanted. */
static double ratio_of(const struct hpa_target *t, struct sums s)
{
	if (t->utilization)
		return (double)(long long)(s.value * 100 / s.request) / (double)t->value;
	return (double)(int64_t)(s.value / (double)s.pods) / (double)t->value;
}

static long long round_up(double x)
{
	long long whole = (long long)x;

	return whole + (x > (double)whole);
}

static bool close_enough(const struct hpa_target *t, double ratio)
{
	return ratio >= 1.0 - t->down && ratio <= 1.0 + t->up;
}

/* Pods without a value: on the way down they use all they should, on the way up nothing. Returns how many were filled in. */
static size_t fill_in(const struct hpa_target *t, struct hpa_pod *pods, size_t n, double ratio)
{
	size_t filled = 0;

	for (size_t i = 0; i < n; i++) {
		if (pods[i].state == HPA_MISSING && ratio < 1.0)
			pods[i].value = t->utilization ? pods[i].request * (t->value > 100 ? t->value : 100) / 100 : t->value;
		else if ((pods[i].state == HPA_MISSING || pods[i].state == HPA_UNREADY) && ratio > 1.0)
			pods[i].value = 0;
		else
			continue;
		pods[i].state = HPA_COUNTED;
		filled++;
	}
	return filled;
}

static long long replicas_for(const struct hpa_target *t, struct hpa_pod *pods, size_t n, double ratio, size_t ready, long long now)
{
	if (!fill_in(t, pods, n, ratio))
		return close_enough(t, ratio) ? now : round_up(ratio * (double)ready);
	struct sums s = sum(pods, n);
	double careful = ratio_of(t, s);
	long long want = round_up(careful * (double)s.pods);
	if (close_enough(t, careful) || (ratio < 1.0 && careful > 1.0) || (ratio > 1.0 && careful < 1.0))
		return now;
	if ((careful < 1.0 && want > now) || (careful > 1.0 && want < now))
		return now;
	return want;
}

int hpa_plan(const struct hpa_target *t, struct hpa_pod *pods, size_t n, long long now, struct hpa_result *out)
{
	struct sums s = sum(pods, n);

	if (!s.pods || t->value <= 0 || (t->utilization && s.request <= 0))
		return -ENODATA;
	*out = (struct hpa_result){
		.percent = t->utilization ? (long long)(s.value * 100 / s.request) : 0,
		.average = (int64_t)(s.value / (double)s.pods),
	};
	out->replicas = replicas_for(t, pods, n, ratio_of(t, s), s.pods, now);
	return 0;
}
