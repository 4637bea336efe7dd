// SPDX-License-Identifier: Apache-2.0
// See cpu_rates.h.
#include "cpu_rates.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define LEAST_NS NS_PER_S
#define MOST_NS (300 * NS_PER_S)
#define BUCKETS 256

struct reading {
	struct reading *next;
	uint64_t at_ns, usage_ns;
	int64_t rate;              // as it was then; -1: none
	char key[];
};

struct cpu_rates {
	pthread_mutex_t lock;
	struct reading *buckets[BUCKETS];
};

struct cpu_rates *cpu_rates_new(void)
{
	struct cpu_rates *r = calloc(1, sizeof(*r));
	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

static struct reading **bucket_of(struct cpu_rates *r, const char *key)
{
	uint32_t h = 2166136261u;
	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 16777619u;
	return &r->buckets[h % BUCKETS];
}

static struct reading *find(struct reading *at, const char *key)
{
	while (at && strcmp(at->key, key))
		at = at->next;
	return at;
}

static int64_t rate_between(uint64_t used_ns, uint64_t took_ns)
{
	double rate = (double)used_ns * 1e9 / (double)took_ns;
	return rate < 9e18 ? (int64_t)rate : INT64_MAX;   // a guest may say anything
}

bool cpu_rates_add(struct cpu_rates *r, const char *key, uint64_t usage_ns, uint64_t now_ns, int64_t *nano_cores)
{
	if (!r)
		return false;
	pthread_mutex_lock(&r->lock);
	struct reading **at = bucket_of(r, key), *old = find(*at, key);
	int64_t rate = -1;
	if (!old) {
		size_t len = strlen(key) + 1;
		old = malloc(sizeof(*old) + len);
		if (old) {
			*old = (struct reading){.next = *at, .at_ns = now_ns, .usage_ns = usage_ns, .rate = -1};
			memcpy(old->key, key, len);
			*at = old;
		}
	} else if (now_ns < old->at_ns + LEAST_NS) {
		rate = old->rate;
	} else {
		if (now_ns - old->at_ns <= MOST_NS && usage_ns >= old->usage_ns)
			rate = rate_between(usage_ns - old->usage_ns, now_ns - old->at_ns);
		old->at_ns = now_ns;
		old->usage_ns = usage_ns;
		old->rate = rate;
	}
	pthread_mutex_unlock(&r->lock);
	if (rate >= 0)
		*nano_cores = rate;
	return rate >= 0;
}

void cpu_rates_forget(struct cpu_rates *r, uint64_t now_ns)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct reading **at = &r->buckets[i]; *at;) {
			struct reading *one = *at;
			if (now_ns <= one->at_ns + MOST_NS) {
				at = &one->next;
				continue;
			}
			*at = one->next;
			free(one);
		}
	pthread_mutex_unlock(&r->lock);
}

void cpu_rates_free(struct cpu_rates *r)
{
	if (!r)
		return;
	cpu_rates_forget(r, UINT64_MAX);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
