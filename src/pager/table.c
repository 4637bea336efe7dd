// SPDX-License-Identifier: Apache-2.0
// Memory of leaf tables. A table of its own huge page is what a guest of 1 GiB and more gets; those of smaller guests, 4 KiB for each
// 4 MiB, lie side by side in huge pages, one size in each: walks of a thousand small guests need few TLB entries, and no two
// tables begin at the same bits of a 2 MiB page. What ended guests leave is kept for the next ones, as zeros.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pager_internal.h"

#define CHUNK ((size_t)2 << 20)
#define SHARED_MAX (CHUNK / 2)

struct free_table { struct free_table *next; };
struct chunk { struct chunk *next; unsigned char *memory; };

struct tables {
	pthread_mutex_t lock;
	struct chunk *chunk;
	struct free_table *free[SHARED_MAX / PAGER_PAGE + 1];   // by size in pages
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

void tables_free(struct tables *t)
{
	for (struct chunk *c = t ? t->chunk : NULL, *next; c; c = next) {
		next = c->next;
		pager_release(c->memory, CHUNK);
		free(c);
	}
	if (t)
		pthread_mutex_destroy(&t->lock);
	free(t);
}

/* Cut another huge page into tables of one size. Lock held. */
static bool grow(struct tables *t, size_t size)
{
	struct chunk *c = pager_alloc(sizeof(*c));
	unsigned char *memory = c ? pager_reserve(CHUNK, true) : NULL;
	if (!memory) {
		free(c);
		return false;
	}
	*c = (struct chunk){ .next = t->chunk, .memory = memory };
	t->chunk = c;
	struct free_table **list = &t->free[size / PAGER_PAGE];
	for (size_t n = CHUNK / size; n-- > 0;) {
		struct free_table *f = (void *)(memory + n * size);
		f->next = *list;
		*list = f;
	}
	return true;
}

void *table_new(struct tables *t, size_t size)
{
	size = whole_pages(size);
	if (size > SHARED_MAX)
		return pager_reserve(size, true);
	struct free_table **list = &t->free[size / PAGER_PAGE], *f = NULL;
	pthread_mutex_lock(&t->lock);
	if (*list || grow(t, size)) {
		f = *list;
		*list = f->next;
		f->next = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	return f;
}

void table_free(struct tables *t, void *table, size_t size)
{
	if (!table)
		return;
	size = whole_pages(size);
	if (size > SHARED_MAX) {
		pager_release(table, size);
		return;
	}
	struct free_table *f = memset(table, 0, size);
	pthread_mutex_lock(&t->lock);
	f->next = t->free[size / PAGER_PAGE];
	t->free[size / PAGER_PAGE] = f;
	pthread_mutex_unlock(&t->lock);
}
