// SPDX-License-Identifier: Apache-2.0
// Unacknowledged output; see logring.h. A queue of records: held numbers are always first..last without gaps.
#include "logring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct node {
	struct node *next;
	struct logrecord record;
	uint8_t data[];
};

struct logring {
	size_t max_bytes, bytes;
	uint64_t last;
	struct node *head, *tail;
	struct node *cursor;       // where the last logring_after found its record: readers go forward one by one
};

static size_t cost(const struct node *n) { return sizeof(*n) + n->record.len; }

struct logring *logring_new(size_t max_bytes)
{
	struct logring *r = calloc(1, sizeof(*r));
	if (r)
		r->max_bytes = max_bytes;
	return r;
}

static void drop_head(struct logring *r)
{
	struct node *n = r->head;
	if (r->cursor == n)
		r->cursor = NULL;
	r->head = n->next;
	if (!r->head)
		r->tail = NULL;
	r->bytes -= cost(n);
	free(n);
}

void logring_free(struct logring *r)
{
	if (!r)
		return;
	while (r->head)
		drop_head(r);
	free(r);
}

static int add(struct logring *r, uint32_t channel, uint64_t real_ns, const void *data, size_t len, bool end)
{
	struct node *n = malloc(sizeof(*n) + len);
	if (!n)
		return -ENOMEM;
	if (len)
		memcpy(n->data, data, len);
	n->next = NULL;
	n->record = (struct logrecord){.seq = ++r->last, .real_ns = real_ns, .channel = channel, .end = end, .len = len,
				       .data = n->data};
	if (r->tail)
		r->tail->next = n;
	else
		r->head = n;
	r->tail = n;
	r->bytes += cost(n);
	return 0;
}

int logring_append(struct logring *r, uint32_t channel, uint64_t real_ns, const void *data, size_t len)
{
	return add(r, channel, real_ns, data, len, false);
}

int logring_end(struct logring *r, uint64_t real_ns) { return add(r, 0, real_ns, NULL, 0, true); }

bool logring_full(const struct logring *r) { return r->bytes >= r->max_bytes; }

bool logring_after(const struct logring *r, uint64_t seq, struct logrecord *out)
{
	struct node *n = r->cursor && r->cursor->record.seq <= seq ? r->cursor : r->head;
	while (n && n->record.seq <= seq)
		n = n->next;
	if (!n)
		return false;
	((struct logring *)r)->cursor = n;
	*out = n->record;
	return true;
}

void logring_ack(struct logring *r, uint64_t seq)
{
	while (r->head && r->head->record.seq <= seq && seq <= r->last)
		drop_head(r);
}

uint64_t logring_last(const struct logring *r) { return r->last; }
