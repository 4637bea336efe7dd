// SPDX-License-Identifier: Apache-2.0
// Faults whose data must be waited for: one queue for each guest, served in turns, and no guest has more than half of
// the workers, so that one whose image is slow does not hold up the others.
#ifndef BH_PAGERD_QUEUE_H
#define BH_PAGERD_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct queue;
struct queue_item { uint64_t event; uint32_t page; };     // guest_event's number

struct queue *queue_new(uint32_t slots, uint32_t most_each);   // NULL: no memory
void queue_free(struct queue *q);
/* Returns false: this slot has too many waiting already, or no memory. */
bool queue_put(struct queue *q, uint32_t slot, struct queue_item item);
/* Waits for an item. Returns its slot, or -1: closed. queue_done when it is finished. */
int queue_get(struct queue *q, struct queue_item *item);
void queue_done(struct queue *q, uint32_t slot);
void queue_close(struct queue *q);

#endif
