// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/replicas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "server/controllers/pod_info.h"

void replicas_choose(const struct pod_info **pods, size_t n)
{
	qsort(pods, n, sizeof *pods, pod_compare_missed);
}

long long replicas_resolve(const json_t *v, long long total, bool round_up, long long fallback)
{
	const char *text = json_string_value(v);
	long long percent;
	char *end;

	if (json_is_integer(v))
		return json_integer_value(v);
	if (!text)
		return fallback;
	percent = strtoll(text, &end, 10);
	if (strcmp(end, "%") || percent < 0 || percent > 1000000)
		return fallback;
	return (percent * total + (round_up ? 99 : 0)) / 100;
}

struct rolling replicas_rolling(const json_t *strategy, long long replicas)
{
	const json_t *r = json_object_get(strategy, "rollingUpdate");
	struct rolling out = { replicas_resolve(json_object_get(r, "maxSurge"), replicas, true, 0),
			       replicas_resolve(json_object_get(r, "maxUnavailable"), replicas, false, 0) };

	if (!out.surge && !out.unavailable)
		out.unavailable = 1;    // percentages that round to nothing: something has to move
	if (out.unavailable > replicas)
		out.unavailable = replicas;
	return out;
}

static long long lesser(long long a, long long b)
{
	return a < b ? a : b;
}

static long long greater(long long a, long long b)
{
	return a > b ? a : b;
}

/* Room for more of the new set; true if it changes. */
static bool grow_fresh(long long replicas, struct rolling r, struct replica_set *fresh, long long total)
{
	if (fresh->spec == replicas)
		return false;
	if (fresh->spec > replicas)
		fresh->want = replicas;
	else
		fresh->want = lesser(replicas, fresh->spec + greater(0, replicas + r.surge - total));
	return fresh->want != fresh->spec;
}

/* Those of the old sets that are not available help nobody. Returns how many went. */
static long long drop_unhealthy(struct replica_set *old, size_t n, long long most)
{
	long long dropped = 0;

	for (size_t i = 0; i < n && dropped < most; i++) {
		long long down = lesser(most - dropped, greater(0, old[i].spec - old[i].available));
		old[i].want = old[i].spec - down;
		dropped += down;
	}
	return dropped;
}

static void shrink_old(struct replica_set *old, size_t n, long long most)
{
	for (size_t i = 0; i < n && most > 0; i++) {
		long long down = lesser(most, old[i].want);
		old[i].want -= down;
		most -= down;
	}
}

void replicas_roll(long long replicas, struct rolling r, struct replica_set *fresh, struct replica_set *old, size_t n)
{
	long long total = fresh->spec, available = fresh->available, min_available = replicas - r.unavailable, most;

	fresh->want = fresh->spec;
	for (size_t i = 0; i < n; i++) {
		old[i].want = old[i].spec;
		total += old[i].spec;
		available += old[i].available;
	}
	if (grow_fresh(replicas, r, fresh, total))
		return;                 // the old ones in the next step
	// What may go without falling below min_available, the new ones that are not available counted as missing.
	most = total - min_available - (fresh->spec - fresh->available);
	if (most <= 0)
		return;
	drop_unhealthy(old, n, most);
	// `available` counts all that serve now; dropping unhealthy ones does not change it.
	shrink_old(old, n, available - min_available);
}

/* --- proportional scaling --- */

static long long share(const struct replica_set *s, long long replicas, long long surge, long long total)
{
	long long before = s->max_before ? s->max_before : total;
	double want;

	if (!replicas || !before)
		return -s->spec;
	want = (double)s->spec * (double)(replicas + surge) / (double)before;
	return llround(want) - s->spec;
}

void replicas_spread(long long replicas, long long surge, struct replica_set *sets, size_t n)
{
	long long total = 0, allowed = replicas > 0 ? replicas + surge : 0, left, added = 0;

	for (size_t i = 0; i < n; i++)
		total += sets[i].spec;
	left = allowed - total;
	for (size_t i = 0; i < n; i++) {
		long long d = share(&sets[i], replicas, surge, total);
		d = left > 0 ? lesser(greater(d, 0), left - added) : greater(lesser(d, 0), left - added);
		if (!sets[i].spec || !left)
			d = 0;
		sets[i].want = sets[i].spec + d;
		added += d;
	}
	// What rounding left over goes to the first, the largest.
	if (n)
		sets[0].want = greater(0, sets[0].want + left - added);
}
