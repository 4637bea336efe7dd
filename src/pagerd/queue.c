// SPDX-License-Identifier: Apache-2.0
#include "queue.h"

#include <pthread.h>
#include <stdlib.h>

enum { WAITING_MAX = 4096 };

struct node { struct queue_item item; struct node *next; };
struct line { struct node *head, *tail; uint32_t waiting, busy; bool in_ring; };

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool closed;
	uint32_t slots, most_each, first, count;
	uint32_t *ring;              // slots that a worker may serve, each at most once
	struct line line[];
};

struct queue *queue_new(uint32_t slots, uint32_t most_each)
{
	struct queue *q = calloc(1, sizeof(*q) + slots * sizeof(q->line[0]));
	uint32_t *ring = calloc(slots, sizeof(*ring));
	if (!q || !ring) {
		free(q);
		free(ring);
		return NULL;
	}
	q->ring = ring;
	q->slots = slots;
	q->most_each = most_each ? most_each : 1;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->cond, NULL);
	return q;
}

void queue_free(struct queue *q)
{
	for (uint32_t i = 0; i < q->slots; i++)
		for (struct node *n = q->line[i].head, *next; n; n = next) {
			next = n->next;
			free(n);
		}
	pthread_mutex_destroy(&q->lock);
	pthread_cond_destroy(&q->cond);
	free(q->ring);
	free(q);
}

static void ring_add(struct queue *q, uint32_t slot)
{
	struct line *l = &q->line[slot];
	if (l->in_ring || !l->head || l->busy >= q->most_each)
		return;
	q->ring[(q->first + q->count++) % q->slots] = slot;
	l->in_ring = true;
	pthread_cond_signal(&q->cond);
}

bool queue_put(struct queue *q, uint32_t slot, struct queue_item item)
{
	struct node *n = malloc(sizeof(*n));
	if (!n)
		return false;
	*n = (struct node){ .item = item };
	pthread_mutex_lock(&q->lock);
	struct line *l = &q->line[slot];
	bool room = l->waiting < WAITING_MAX;
	if (room) {
		if (l->head)
			l->tail->next = n;
		else
			l->head = n;
		l->tail = n;
		l->waiting++;
		ring_add(q, slot);
	}
	pthread_mutex_unlock(&q->lock);
	if (!room)
		free(n);
	return room;
}

int queue_get(struct queue *q, struct queue_item *item)
{
	int slot = -1;
	pthread_mutex_lock(&q->lock);
	while (!q->closed && !q->count)
		pthread_cond_wait(&q->cond, &q->lock);
	if (!q->closed) {
		slot = (int)q->ring[q->first];
		q->first = (q->first + 1) % q->slots;
		q->count--;
		struct line *l = &q->line[slot];
		struct node *n = l->head;
		l->in_ring = false;
		l->head = n->next;
		l->waiting--;
		l->busy++;
		*item = n->item;
		free(n);
		ring_add(q, (uint32_t)slot);
	}
	pthread_mutex_unlock(&q->lock);
	return slot;
}

void queue_done(struct queue *q, uint32_t slot)
{
	pthread_mutex_lock(&q->lock);
	q->line[slot].busy--;
	ring_add(q, slot);
	pthread_mutex_unlock(&q->lock);
}

void queue_close(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	pthread_cond_broadcast(&q->cond);
	pthread_mutex_unlock(&q->lock);
}
