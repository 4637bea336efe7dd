// SPDX-License-Identifier: Apache-2.0
#include "server/sched_choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/sched_together.h"

struct reasons { char *text; int count; };

static int reason_cmp(const void *a, const void *b)
{
	return strcmp(((const struct reasons *)a)->text, ((const struct reasons *)b)->text);
}

/* Count each line of why in list (room for room entries). */
static void count_reasons(struct reasons *list, int *n, int room, char *why)
{
	char *save = NULL;

	for (char *line = strtok_r(why, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int i = 0;
		while (i < *n && strcmp(list[i].text, line))
			i++;
		if (i == *n && *n < room && (list[i].text = strdup(line))) {
			list[i].count = 0;
			(*n)++;
		}
		if (i < *n)
			list[i].count++;
	}
}

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
static void put_summary(struct buf *out, struct reasons *list, int n, int nodes)
{
	if (!nodes) {
		buf_puts(out, "no nodes available to schedule pods");
		return;
	}
	for (int i = 0; i < n; i++) {   // sorted as text, with the count in front
		char *text = NULL;
		if (asprintf(&text, "%d %s", list[i].count, list[i].text) >= 0) {
			free(list[i].text);
			list[i].text = text;
		}
	}
	qsort(list, n, sizeof *list, reason_cmp);
	buf_printf(out, "0/%d nodes are available:", nodes);
	for (int i = 0; i < n; i++)
		buf_printf(out, "%s %s", i ? "," : "", list[i].text);
	buf_puts(out, ".");
}

struct sched_node *sched_choose(struct server *srv, const struct sched_cache *cache, const json_t *pod, const struct sched_need *need,
				const struct sched_volumes *volumes, struct buf *summary)
{
	struct reasons reasons[32];
	struct sched_together *together;
	struct sched_node *n, *best = NULL;
	double best_score = -1;
	int count = 0, nodes = 0;
	size_t pos = 0;

	if (sched_together_new(cache, pod, &together)) {
		buf_puts(summary, "out of memory");
		return NULL;
	}
	while ((n = map_next(&cache->nodes, &pos, NULL))) {
		char why[SCHED_WHY_MAX];
		double score;
		if (!n->known)
			continue;
		nodes++;
		const char *misfit = sched_fits(pod, need, n, why) && sched_together_fits(together, n, why) ?
				     sched_volumes_misfit(srv, volumes, n) : why;
		if (misfit) {
			if (misfit != why)
				snprintf(why, sizeof why, "%s", misfit);
			count_reasons(reasons, &count, 32, why);
			continue;
		}
		score = sched_score(pod, need, n) + sched_together_score(together, n);
		if (score > best_score) {
			best = n;
			best_score = score;
		}
	}
	sched_together_free(together);
	if (!best)
		put_summary(summary, reasons, count, nodes);
	for (int i = 0; i < count; i++)
		free(reasons[i].text);
	return best;
}
