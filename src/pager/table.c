// SPDX-License-Identifier: Apache-2.0
// Memory of leaf tables. A table of its own huge page is what a guest of 1 GiB and more gets; those of smaller guests, 4 KiB for each
// 4 MiB, lie side by side in huge pages, one size in each: walks of a thousand small guests need few TLB entries, and no two
// tables begin at the same bits of a 2 MiB page. What an ended guest leaves is the next one's, as zeros, as long as another guest's table
// lies in the same huge page; with the last one it goes back to the host. A table of its own goes back with its guest, and is emptied when
// nothing of its 2 GiB is mapped any more. Parts of a table stay: a huge page broken up for 4 KiB would cost every walk through it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pager_internal.h"

#define CHUNK ((size_t)2 << 20)
#define SHARED_MAX (CHUNK / 2)

_Static_assert(ENTRY(PAGER_NONE, 0) == 0, "an emptied table has nothing mapped");

struct free_table { struct free_table *next; };
struct chunk {
	struct chunk *next;
	unsigned char *memory;
	struct free_table *free;
	uint32_t used;
};

struct tables {
	pthread_mutex_t lock;
	uint64_t bytes;                                     // in chunks, and tables with their own
	struct chunk *chunk[SHARED_MAX / PAGER_PAGE + 1];   // by size of their tables in pages
};

static size_t whole_pages(size_t size) { return (size + PAGER_PAGE - 1) / PAGER_PAGE * PAGER_PAGE; }

int tables_new(struct tables **out, struct err *e)
{
	struct tables *t = pager_alloc(sizeof(*t));
	if (!t)
		return err_set(e, ENOMEM, "no memory for page tables");
	pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return 0;
}

/* No guest is left, and so no chunk. */
void tables_free(struct tables *t)
{
	if (t)
		pthread_mutex_destroy(&t->lock);
	free(t);
}

uint64_t tables_bytes(struct tables *t)
{
	pthread_mutex_lock(&t->lock);
	uint64_t bytes = t->bytes;
	pthread_mutex_unlock(&t->lock);
	return bytes;
}

/* Cut another huge page into tables of one size. Lock held. */
static struct chunk *grow(struct tables *t, size_t size)
{
	struct chunk *c = pager_alloc(sizeof(*c));
	unsigned char *memory = c ? pager_reserve(CHUNK, true) : NULL;
	if (!memory) {
		free(c);
		return NULL;
	}
	*c = (struct chunk){ .next = t->chunk[size / PAGER_PAGE], .memory = memory };
	t->chunk[size / PAGER_PAGE] = c;
	t->bytes += CHUNK;
	for (size_t n = CHUNK / size; n-- > 0;) {
		struct free_table *f = (void *)(memory + n * size);
		f->next = c->free;
		c->free = f;
	}
	return c;
}

static void *shared_new(struct tables *t, size_t size)
{
	struct chunk *c = t->chunk[size / PAGER_PAGE];
	while (c && !c->free)
		c = c->next;
	if (!c && !(c = grow(t, size)))
		return NULL;
	struct free_table *f = c->free;
	c->free = f->next;
	c->used++;
	f->next = NULL;
	return f;
}

static void shared_free(struct tables *t, void *table, size_t size)
{
	struct chunk **at = &t->chunk[size / PAGER_PAGE];
	while ((*at)->memory != (unsigned char *)((uintptr_t)table & ~(CHUNK - 1)))
		at = &(*at)->next;
	struct chunk *c = *at;
	if (--c->used) {
		struct free_table *f = memset(table, 0, size);
		f->next = c->free;
		c->free = f;
		return;
	}
	*at = c->next;
	t->bytes -= CHUNK;
	pager_release(c->memory, CHUNK);
	free(c);
}

void *table_new(struct tables *t, size_t size)
{
	size = whole_pages(size);
	void *own = size > SHARED_MAX ? pager_reserve(size, true) : NULL;
	pthread_mutex_lock(&t->lock);
	if (own)
		t->bytes += size;
	void *table = size > SHARED_MAX ? own : shared_new(t, size);
	pthread_mutex_unlock(&t->lock);
	return table;
}

void table_free(struct tables *t, void *table, size_t size)
{
	if (!table)
		return;
	size = whole_pages(size);
	pthread_mutex_lock(&t->lock);
	if (size > SHARED_MAX) {
		t->bytes -= size;
		pager_release(table, size);
	} else {
		shared_free(t, table, size);
	}
	pthread_mutex_unlock(&t->lock);
}

void table_empty(void *table, size_t size)
{
	size = whole_pages(size);
	if (size > SHARED_MAX)
		madvise(table, size, MADV_DONTNEED);   // failed: it stays as it is, which is as right
}
