// SPDX-License-Identifier: Apache-2.0
// A queue's own requests and buffers: none is allocated while there is one that was used before.
#include <bulkhead/prda.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "disk/queue.h"

#define SLAB_REQS 64

/* Slabs of requests go from queue to queue through a list per processor: a queue that opens where one was closed finds
 * its memory warm and asks nobody. They are never given back to the system. */
struct iof_slab { struct prda_node node; struct iof_slab *next; struct iof_req req[SLAB_REQS]; };

PRDA_DEFINE(prda_list, disk_spare_slabs);

static int slab_add(struct bh_disk_queue *q)
{
	struct iof_slab *s = (struct iof_slab *)prda_pop(disk_spare_slabs);

	if (!s) s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED) return -ENOMEM;
	s->next = q->slabs;
	q->slabs = s;
	for (unsigned i = 0; i < SLAB_REQS; i++) queue_req_put(q, &s->req[i]);
	return 0;
}

int queue_pool_fill(struct bh_disk_queue *q, unsigned requests)
{
	for (unsigned i = 0; i < requests; i += SLAB_REQS)
		if (slab_add(q) < 0) return -ENOMEM;
	return 0;
}

struct iof_req *queue_req_get(struct bh_disk_queue *q)
{
	struct iof_req *r = q->free;

	if (!r) {
		if (slab_add(q) < 0) return NULL;
		r = q->free;
	}
	q->free = r->next;
	return r;
}

void queue_req_put(struct bh_disk_queue *q, struct iof_req *r)
{
	r->next = q->free;
	q->free = r;
}

static int buf_class(size_t len)
{
	int c = 0;

	while (((size_t)4096 << c) < len) c++;
	return c;
}

void *queue_buf_get(struct bh_disk_queue *q, size_t len)
{
	int c = buf_class(len);
	void *b;

	if (c < QUEUE_BUF_CLASSES && (b = q->buf[c])) {
		memcpy(&q->buf[c], b, sizeof(void *));
		q->nbuf[c]--;
		return b;
	}
	return aligned_alloc(4096, (size_t)4096 << c);
}

void queue_buf_put(struct bh_disk_queue *q, void *b, size_t len)
{
	int c = buf_class(len);

	if (c >= QUEUE_BUF_CLASSES || q->nbuf[c] == QUEUE_BUF_KEEP) {
		free(b);
		return;
	}
	memcpy(b, &q->buf[c], sizeof(void *));
	q->buf[c] = b;
	q->nbuf[c]++;
}

void *queue_slot(const struct bh_disk_queue *q, unsigned slot) { return q->slot[slot]; }

void queue_pool_free(struct bh_disk_queue *q)
{
	struct iof_slab *s;

	for (int c = 0; c < QUEUE_BUF_CLASSES; c++)
		while (q->buf[c]) {
			void *b = q->buf[c];

			memcpy(&q->buf[c], b, sizeof(void *));
			free(b);
		}
	while ((s = q->slabs)) {
		q->slabs = s->next;
		prda_push(disk_spare_slabs, &s->node);
	}
}
