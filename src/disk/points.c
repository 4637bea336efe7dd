// SPDX-License-Identifier: Apache-2.0
#include "disk/points.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/own.h"
#include "disk/disk_internal.h"
#include "disk/filters/cbt/cbt.h"

static struct iof_layer *cbt_of(struct bh_disk *d)
{
	struct iof_layer *l = d->top;

	while (l != &d->data && l->filter != &cbt_filter) l = l->next;
	return l == &d->data ? NULL : l;
}

static void note(void *user, const char *name) { (void)!buf_append(user, name, strlen(name) + 1); }

/* fn may wait for a peer: not while anything is locked. */
void points_each(struct bh_disk *d, void (*fn)(void *user, const char *name), void *user)
{
	own_buf struct buf names = BUF_INIT;
	struct iof_layer *l;

	pthread_rwlock_rdlock(&d->chain_lock);
	l = cbt_of(d);
	if (l) cbt_points(l, note, &names);
	pthread_rwlock_unlock(&d->chain_lock);
	for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1) fn(user, names.data + at);
}

int points_changed(struct bh_disk *d, const char *point, uint64_t off, uint64_t len, uint64_t *run, bool *changed)
{
	struct iof_layer *l;
	int rc;

	pthread_rwlock_rdlock(&d->chain_lock);
	l = cbt_of(d);
	rc = l ? cbt_changed(l, point, off, len, run, changed) : -ENOENT;
	pthread_rwlock_unlock(&d->chain_lock);
	return rc;
}
