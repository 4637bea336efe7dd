// SPDX-License-Identifier: Apache-2.0
// The chain of layers of one open disk: built from the descriptor bottom to top, rewired when a filter comes or goes.
#include "disk/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "disk/align.h"
#include "disk/disk_internal.h"
#include "disk/registry.h"

static bool handles(const struct iof_layer *l, enum iof_op op)
{
	const struct iof_filter *f = l->filter;

	switch (op) {
	case IOF_READ: return f->read;
	case IOF_WRITE: return f->write;
	case IOF_FLUSH: return f->flush;
	case IOF_DISCARD: return f->discard;
	case IOF_WRITE_ZEROES: return f->write_zeroes;
	default: return f->extents;
	}
}

static struct iof_layer *next_for(struct iof_layer *l, enum iof_op op)
{
	while (!handles(l, op)) l = l->next;   // the data layer handles everything
	return l;
}

void chain_wire(struct bh_disk *d)
{
	for (struct iof_layer *l = d->top; l != &d->data; l = l->next)
		for (enum iof_op op = 0; op < IOF_OPS; op++) {
			struct iof_layer *next = next_for(l->next, op);

			if (l->below[op] != next) l->below[op] = next;   // threads of lower filters are reading theirs already
		}
	for (enum iof_op op = 0; op < IOF_OPS; op++) d->entry[op] = next_for(d->top, op);
}

struct iof_layer *chain_find(struct bh_disk *d, const char *name)
{
	for (struct iof_layer *l = d->top; l != &d->data; l = l->next)
		if (!l->automatic && !strcmp(l->name, name)) return l;
	return NULL;
}

struct iof_layer *chain_link(struct bh_disk *d)
{
	for (struct iof_layer *l = d->top; l && l != &d->data; l = l->next)
		if (l->filter->order == IOF_CLASS_LINK) return l;
	return NULL;
}

bool chain_plain_above_link(const struct bh_disk *d)
{
	struct iof_layer *link = chain_link((struct bh_disk *)d);

	return link && d->entry[IOF_READ] == link && d->entry[IOF_EXTENTS] == link;
}

int chain_settings_known(const struct iof_filter *f, const struct iof_settings *s, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(s->json, key, v) {
		const struct iof_setting *k = f->settings;

		while (k->key && strcmp(k->key, key)) k++;
		if (!k->key) return err_set(e, EINVAL, "it has no setting '%s'", key);
	}
	return 0;
}

static void layer_free(struct iof_layer *l)
{
	free(l->name);
	free(l);
}

int chain_layer_close(struct iof_layer *l, struct err *e)
{
	int rc;

	queue_slots_drop(l->disk->root, l);
	rc = l->filter->close(l, e);
	if (rc < 0 && e && !strstr(e->text, l->name)) err_wrap(e, "disk '%s': filter '%s'", l->disk->path, l->name);
	layer_free(l);
	return rc;
}

static struct iof_layer *layer_new(struct bh_disk *d, const struct iof_filter *f, const char *name, struct iof_layer *next)
{
	struct iof_layer *l = calloc(1, sizeof(*l));

	if (!l) return NULL;
	l->name = strdup(name);
	if (!l->name) {
		free(l);
		return NULL;
	}
	l->filter = f;
	l->disk = d;
	l->next = next;
	l->align = 1;
	for (enum iof_op op = 0; op < IOF_OPS; op++) l->below[op] = next_for(next, op);
	return l;
}

/* Puts the align layer above l, if l wants whole blocks. *top: whichever is the upper one. */
static int align_add(struct iof_layer *l, struct iof_layer **top, struct err *e)
{
	struct iof_layer *a;
	int rc;

	*top = l;
	if (l->align <= 1) return 0;
	if (l->align > DISK_BLOCK_MAX || (l->align & (l->align - 1)))
		return err_set(e, EINVAL, "it asks for blocks of %u bytes", l->align);
	a = layer_new(l->disk, l->filter->flags & IOF_ALIGN_READ ? &align_read_filter : &align_filter, l->name, l);
	if (!a) return err_set(e, ENOMEM, "no memory for a filter");
	a->automatic = true;
	rc = align_open(a, l->align, e);
	if (rc < 0) {
		layer_free(a);
		return rc;
	}
	a->slot = DISK_SLOTS_MAX;
	*top = a;
	return 0;
}

/* Open one filter above next; *top: its uppermost layer. */
int chain_layer_open(struct bh_disk *d, const struct descriptor_filter *df, struct iof_layer *next, struct iof_layer **top, struct err *e)
{
	const struct iof_filter *f;
	struct iof_layer *l;
	int rc = registry_find(df->type, &f, e);

	if (rc == 0) rc = chain_settings_known(f, &df->settings, e);
	if (rc < 0) return rc;
	l = layer_new(d, f, df->name, next);
	if (!l) return err_set(e, ENOMEM, "no memory for a filter");
	rc = f->open(l, &df->settings, &l->state, &l->align, e);
	if (rc < 0) {
		layer_free(l);
		return rc;
	}
	rc = f->reconfigure ? f->reconfigure(l, &df->settings, e) : 0;
	if (rc < 0) {
		l->slot = DISK_SLOTS_MAX;
		chain_layer_close(l, NULL);
		return rc;
	}
	rc = queue_slots_grow(d->root, l, e);
	if (rc == 0) rc = align_add(l, top, e);
	if (rc < 0) {
		l->slot = rc == -E2BIG ? DISK_SLOTS_MAX : l->slot;
		chain_layer_close(l, NULL);
	}
	return rc;
}

int chain_check_order(const struct descriptor *desc, struct err *e)
{
	int last = 0;
	const char *above = NULL;

	for (unsigned i = 0; i < desc->nfilters; i++) {
		const struct iof_filter *f;
		int rc = registry_find(desc->filters[i].type, &f, e);

		if (rc < 0) return rc;
		if (f->order == IOF_CLASS_ANY) continue;
		if (f->order < last)
			return err_set(e, EINVAL, "filter '%s' belongs above '%s' (replication above cache above link above compression above "
				       "encryption); --force attaches it all the same", desc->filters[i].name, above);
		last = f->order;
		above = desc->filters[i].name;
	}
	return 0;
}

bool chain_puts_elsewhere(const struct descriptor *desc)
{
	for (unsigned i = 0; desc && i < desc->nfilters; i++) {
		const struct iof_filter *f;

		if (registry_find(desc->filters[i].type, &f, NULL) < 0) return true;   // not known: be careful
		if (f->flags & IOF_CHANGES_DATA && f->order != IOF_CLASS_LINK && f->order != IOF_CLASS_ENCRYPT) return true;
	}
	return false;
}

int chain_build(struct bh_disk *d, const char *at, struct err *e)
{
	unsigned n = d->desc ? d->desc->nfilters : 0, first = 0;

	d->data = (struct iof_layer){ .filter = &data_filter, .disk = d, .slot = DISK_SLOTS_MAX };
	d->top = &d->data;
	chain_wire(d);
	if (at && !d->read_only) return err_set(e, EINVAL, "a disk can be opened at a filter only read-only");
	if (at && !strcmp(at, "data")) return 0;
	if (at) {
		int i = d->desc ? descriptor_filter_find(d->desc, at) : -1;

		if (i < 0) return err_set(e, ENOENT, "it has no filter '%s'", at);
		first = (unsigned)i;
	}
	for (unsigned i = n; i-- > first;) {
		struct iof_layer *top = NULL;
		int rc = chain_layer_open(d, &d->desc->filters[i], d->top, &top, e);

		if (rc < 0) {
			if (e && strncmp(e->text, "parent", 6)) err_wrap(e, "filter '%s'", d->desc->filters[i].name);
			chain_close(d, NULL);
			return rc;
		}
		d->top = top;
		chain_wire(d);
	}
	return 0;
}

int chain_close(struct bh_disk *d, struct err *e)
{
	int rc = 0;

	while (d->top != &d->data) {
		struct iof_layer *l = d->top;
		int rc2;

		d->top = l->next;
		rc2 = chain_layer_close(l, rc == 0 ? e : NULL);
		if (rc == 0) rc = rc2;
	}
	chain_wire(d);
	return rc;
}
