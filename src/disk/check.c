// SPDX-License-Identifier: Apache-2.0
// disk check: map, data file, and what each filter knows to check.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "disk/copy.h"
#include "disk/disk.h"
#include "disk/map.h"
#include "disk/sidefile.h"

struct check {
	void (*fault)(void *user, const char *text);
	void *user;
	int faults;
	struct owner *own;   // of map sectors that are sound
};

static void found(struct check *c, const char *text)
{
	c->faults++;
	c->fault(c->user, text);
}

static void bad_sector(void *user, uint64_t index)
{
	char text[128];

	snprintf(text, sizeof(text), "map: sector %llu is damaged", (unsigned long long)index);
	found(user, text);
}

static int good_sector(void *user, uint64_t index, const uint8_t *bits)
{
	struct check *c = user;

	if (owner_reserve(c->own, index * OWNER_CHUNK, 1) < 0) return -ENOMEM;
	for (unsigned i = 0; i < OWNER_CHUNK && index * OWNER_CHUNK + i < c->own->blocks; i++)
		if (bits[i / 8] & (1u << i % 8)) owner_set(c->own, index * OWNER_CHUNK + i, 1, OWNER_SELF);
	return 0;
}

/* Space of the data file that no block of the clone uses: left by a crash, harmless. */
static int leaks(struct check *c, const struct bh_disk *d, bool repair, uint64_t *bytes)
{
	off_t at = 0, end;

	*bytes = 0;
	while ((at = lseek(d->data_fd, at, SEEK_DATA)) >= 0 && (uint64_t)at < d->size) {
		end = lseek(d->data_fd, at, SEEK_HOLE);
		for (uint64_t b = (uint64_t)at / d->block; b < (uint64_t)end / d->block && b < c->own->blocks; b++) {
			if (owner_get(c->own, b) == OWNER_SELF) continue;
			*bytes += d->block;
			if (repair && fallocate(d->data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(b * d->block), d->block) < 0) return -errno;
		}
		at = end;
	}
	return 0;
}

static int check_map(struct check *c, struct bh_disk *d, bool repair, struct err *e)
{
	struct iof_file *f;
	char text[160];
	uint64_t leaked = 0;
	int rc = side_open(d, "map", &f, e);

	if (rc < 0) return rc;
	c->own = owner_new((d->size + d->block - 1) / d->block);
	if (!c->own) rc = err_set(e, ENOMEM, "no memory");
	if (rc == 0 && map_check(f, d->desc->id, d->desc->block, e) < 0) {
		found(c, e->text);
		e->code = 0;
	} else if (rc == 0) {
		rc = map_load(f, d->desc->id, c->own->chunks, good_sector, bad_sector, c, e);
		if (rc == 0 && !chain_puts_elsewhere(d->desc)) rc = leaks(c, d, repair, &leaked);
	}
	if (leaked && !repair) {
		snprintf(text, sizeof(text), "data: %llu bytes belong to no block (left by a crash; --repair gives them back)", (unsigned long long)leaked);
		c->fault(c->user, text);   // not a fault of the data
	}
	side_close(f);
	owner_free(c->own);
	return rc;
}

static int check_layers(struct check *c, struct bh_disk *d, struct err *e)
{
	for (struct iof_layer *l = d->top; l != &d->data; l = l->next) {
		int n = l->filter->check ? l->filter->check(l, c->fault, c->user, e) : 0;

		if (n < 0) return n;
		c->faults += n;
	}
	return 0;
}

static int check_data(struct check *c, const struct bh_disk *d, bool repair, struct err *e)
{
	struct stat st;

	if (fstat(d->data_fd, &st) < 0) return err_sys(e, errno, "cannot look at the data file");
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size >= d->size || chain_puts_elsewhere(d->desc)) return 0;
	if (!repair)
		found(c, "data: the file is shorter than the disk (--repair fills it with zeroes)");
	else if (ftruncate(d->data_fd, (off_t)((d->size + d->block - 1) / d->block * d->block)) < 0 || fsync(d->data_fd) < 0)
		return err_sys(e, errno, "cannot make the data file longer");
	else
		found(c, d->desc->has_children ? "data: the file was shorter than the disk; what was missing is zeroes now; its clones need 'disk rebase --accept'" :
			 "data: the file was shorter than the disk; what was missing is zeroes now");
	return 0;
}

int disk_check(const char *path, bool repair, void (*fault)(void *, const char *), void *user, struct err *e)
{
	struct disk_open o = { .read_only = !repair, .short_data = true, .at = repair ? NULL : "data" };
	struct disk_open whole = { .read_only = !repair, .short_data = true };
	struct check c = { .fault = fault, .user = user };
	struct bh_disk *d;
	int rc = disk_open(path, repair ? &whole : &o, &d, e);

	if (rc < 0) return rc;
	if (d->desc && d->desc->has_parent) rc = check_map(&c, d, repair, e);
	if (rc == 0 && !repair) {   // the layers only make sense if the map does
		disk_close(d, NULL);
		d = NULL;
		if (c.faults == 0) rc = disk_open(path, &whole, &d, e);
	}
	if (rc == 0 && d) rc = check_data(&c, d, repair, e);
	if (rc == 0 && d) rc = check_layers(&c, d, e);
	if (d) disk_close(d, NULL);
	return rc < 0 ? rc : c.faults;
}
