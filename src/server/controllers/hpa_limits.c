// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/hpa_limits.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"

#define DOWN_WINDOW_S 300        // without a word of the user's
#define UP_FACTOR 2              // the plain rule: at most twice as many,
#define UP_LEAST 4               // or this many
#define KEEP_NS (3600 * NS_PER_S)

/* --- notes --- */

int hpa_note(struct hpa_notes *n, uint64_t at, long long value)
{
	if (n->count == n->room) {
		size_t room = n->room ? 2 * n->room : 16;
		struct hpa_note *all = realloc(n->all, room * sizeof *all);
		if (!all)
			return -ENOMEM;
		n->all = all;
		n->room = room;
	}
	n->all[n->count++] = (struct hpa_note){ at, value };
	return 0;
}

void hpa_forget(struct hpa_notes *n, uint64_t before)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->count; i++)
		if (n->all[i].at > before)
			n->all[kept++] = n->all[i];
	n->count = kept;
}

void hpa_history_fini(struct hpa_history *h)
{
	free(h->wanted.all);
	free(h->ups.all);
	free(h->downs.all);
	*h = (struct hpa_history){ 0 };
}

/* --- steadiness: neither up nor down beyond what was wanted all through a window --- */

static uint64_t since(const struct hpa_bounds *b, long long seconds)
{
	uint64_t span = (uint64_t)seconds * NS_PER_S;

	return b->time > span ? b->time - span : 0;
}

static long long steady(const struct hpa_bounds *b, const struct hpa_history *h, long long want)
{
	uint64_t down_from = since(b, jpath_int(b->behavior, "scaleDown.stabilizationWindowSeconds", DOWN_WINDOW_S));
	uint64_t up_from = since(b, jpath_int(b->behavior, "scaleUp.stabilizationWindowSeconds", 0));
	long long up = want, down = want, out;

	for (size_t i = 0; i < h->wanted.count; i++) {
		const struct hpa_note *n = &h->wanted.all[i];
		if (n->at > up_from && n->n < up)
			up = n->n;
		if (n->at > down_from && n->n > down)
			down = n->n;
	}
	if (!b->behavior)
		return down;
	out = b->now < up ? up : b->now;
	return out > down ? down : out;
}

static void note_wanted(const struct hpa_bounds *b, struct hpa_history *h, long long want)
{
	hpa_forget(&h->wanted, b->time > KEEP_NS ? b->time - KEEP_NS : 0);
	// Looks within a second of each other are one.
	if (h->wanted.count && b->time - h->wanted.all[h->wanted.count - 1].at < NS_PER_S)
		h->wanted.all[h->wanted.count - 1].n = want;
	else
		hpa_note(&h->wanted, b->time, want);
}

/* --- pace: how far policies let it go --- */

static long long changed_since(const struct hpa_notes *notes, uint64_t from)
{
	long long sum = 0;

	for (size_t i = 0; i < notes->count; i++)
		if (notes->all[i].at > from)
			sum += notes->all[i].n;
	return sum;
}

static long long allowed_by(const struct hpa_bounds *b, const struct hpa_history *h, const json_t *policy, bool up)
{
	uint64_t from = since(b, jpath_int(policy, "periodSeconds", 15));
	long long value = jpath_int(policy, "value", 0);
	long long start = b->now - changed_since(&h->ups, from) + changed_since(&h->downs, from);

	if (!strcmp(jpath_str(policy, "type", ""), "Pods"))
		return up ? start + value : start - value;
	if (up)
		return (start * (100 + value) + 99) / 100;
	return value >= 100 ? 0 : start * (100 - value) / 100;
}

static long long pace(const struct hpa_bounds *b, const struct hpa_history *h, bool up)
{
	const json_t *rules = json_object_get(b->behavior, up ? "scaleUp" : "scaleDown");
	const char *select = jpath_str(rules, "selectPolicy", "Max");
	bool furthest = strcmp(select, "Min") != 0, highest = up == furthest;
	long long out = highest ? LLONG_MIN : LLONG_MAX;
	json_t *policy;
	size_t i;

	if (!strcmp(select, "Disabled"))
		return b->now;
	json_array_foreach(json_object_get(rules, "policies"), i, policy) {
		long long n = allowed_by(b, h, policy, up);
		if (highest ? n > out : n < out)
			out = n;
	}
	return up ? (out < b->now ? b->now : out) : (out > b->now ? b->now : out);
}

/* --- the verdict --- */

static void limit(struct hpa_verdict *v, long long to, const char *reason, const char *message)
{
	v->replicas = to;
	v->limited = true;
	v->limit_reason = reason;
	v->limit_message = message;
}

static void limit_high(struct hpa_verdict *v, long long max, long long fast)
{
	if (max > fast && v->replicas > fast)
		limit(v, fast, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
	else if (v->replicas > max)
		limit(v, max, "TooManyReplicas", "the desired replica count is more than the maximum replica count");
}

static void limit_low(struct hpa_verdict *v, long long min, long long fast)
{
	if (min < fast && v->replicas < fast)
		limit(v, fast, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
	else if (v->replicas < min)
		limit(v, min, "TooFewReplicas", "the desired replica count is less than the minimum replica count");
}

void hpa_limit(const struct hpa_bounds *b, struct hpa_history *h, long long want, struct hpa_verdict *v)
{
	long long calm = steady(b, h, want), twice = UP_FACTOR * b->now > UP_LEAST ? UP_FACTOR * b->now : UP_LEAST;

	note_wanted(b, h, want);
	*v = (struct hpa_verdict){
		.replicas = calm, .able_reason = "ReadyForNewScale", .able_message = "recommended size matches current size",
		.limit_reason = "DesiredWithinRange", .limit_message = "the desired count is within the acceptable range",
	};
	if (calm != want && b->behavior && want >= b->now) {
		v->able_reason = "ScaleUpStabilized";
		v->able_message = "recent recommendations were lower than current one, applying the lowest recent recommendation";
	} else if (calm != want) {
		v->able_reason = "ScaleDownStabilized";
		v->able_message = "recent recommendations were higher than current one, applying the highest recent recommendation";
	}
	if (!b->behavior) {
		limit_low(v, b->min, LLONG_MIN);
		limit_high(v, b->max, twice);
	} else if (calm > b->now) {
		limit_high(v, b->max, pace(b, h, true));
	} else if (calm < b->now) {
		limit_low(v, b->min, pace(b, h, false));
	}
}

static uint64_t longest_period(const json_t *behavior, const char *way)
{
	long long longest = 0;
	json_t *policy;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(behavior, way), "policies"), i, policy)
		if (jpath_int(policy, "periodSeconds", 0) > longest)
			longest = jpath_int(policy, "periodSeconds", 0);
	return (uint64_t)longest * NS_PER_S;
}

void hpa_changed(const struct hpa_bounds *b, struct hpa_history *h, long long to)
{
	uint64_t up = longest_period(b->behavior, "scaleUp"), down = longest_period(b->behavior, "scaleDown");
	uint64_t span = up > down ? up : down;

	if (!b->behavior)
		return;
	hpa_forget(&h->ups, b->time > span ? b->time - span : 0);
	hpa_forget(&h->downs, b->time > span ? b->time - span : 0);
	if (to > b->now)
		hpa_note(&h->ups, b->time, to - b->now);
	else
		hpa_note(&h->downs, b->time, b->now - to);
}
