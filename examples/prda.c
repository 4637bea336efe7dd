// SPDX-License-Identifier: Apache-2.0
// Per-processor data areas in one page: threads count requests and take buffers from a per-CPU list, while the main
// thread reads the counters. Build: see src/prda/meson.build, or cc -Iinclude examples/prda.c libprda.a libbase.a.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "bulkhead/prda.h"

PRDA_DEFINE(prda_u64, requests);   // in the process's own region
PRDA_DEFINE(prda_list, free_buffers);

struct buffer { struct prda_node node; char data[4096]; };

static struct buffer *buffer_get(void)
{
	struct buffer *b = (struct buffer *)prda_pop(free_buffers);
	return b ? b : malloc(sizeof(*b));
}

static void buffer_put(struct buffer *b)
{
	prda_push(free_buffers, &b->node);
}

static void *work(void *arg)
{
	for (int i = 0; i < 1000000; i++) {
		struct buffer *b = buffer_get();
		if (!b)
			break;
		b->data[i % sizeof(b->data)] = 1;
		buffer_put(b);
		prda_add(requests, 1);
	}
	return arg;
}

int main(void)
{
	pthread_t t[4];
	struct prda_stats s;
	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, work, NULL))
			return 1;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	struct prda_region *r = prda_process_region();
	prda_for_each_slot(slot, r)
		printf("slot %u: %llu requests\n", slot, (unsigned long long)prda_read(requests, slot));
	prda_region_stats(r, &s);
	printf("all: %llu requests; %llu operations were interrupted and started again\n",
		(unsigned long long)prda_sum(requests), (unsigned long long)s.restarts);
	prda_for_each_slot(slot, r) {   // nobody works any more
		for (struct prda_node *n = prda_at(free_buffers, slot)->head, *next; n; n = next) {
			next = n->next;
			free(n);
		}
	}
	return prda_sum(requests) == 4000000 ? 0 : 1;
}
