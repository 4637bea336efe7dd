// SPDX-License-Identifier: Apache-2.0
// Backings that need nothing to wait for: zeros, and templates (a memory image mapped here and shared by its clones).
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing.h"
#include "base/own.h"

struct backing *backing_get(struct backing *b)
{
	atomic_fetch_add_explicit(&b->users, 1, memory_order_relaxed);
	return b;
}

void backing_put(struct backing *b)
{
	if (b && atomic_fetch_sub_explicit(&b->users, 1, memory_order_acq_rel) == 1 && b->ops->free)
		b->ops->free(b);
}

static const unsigned char zeros[PAGER_PAGE] __attribute__((aligned(4096)));

static int zero_load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	(void)b, (void)page, (void)n, (void)buf;
	*data = NULL;
	return 0;
}

static bool zero_same(struct backing *b, uint64_t page, const void *data)
{
	(void)b, (void)page;
	return !memcmp(data, zeros, PAGER_PAGE);
}

struct backing *backing_zero(void)
{
	static const struct vad_ops ops = { .name = "zero", .cluster = PAGER_CLUSTER_MAX, .load = zero_load,
		.same = zero_same };
	static struct backing zero = { .ops = &ops, .users = 1 };
	return &zero;
}

int backing_image(int fd, int *own, uint64_t *pages, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_sys(e, errno, "memory image");
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size % PAGER_PAGE)
		return err_set(e, EINVAL, "a memory image is a file of whole pages of 4096 bytes, and not empty");
	int mine = pager_fails() ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (mine < 0)
		return err_sys(e, EMFILE, "memory image");
	*own = mine;
	*pages = (uint64_t)st.st_size / PAGER_PAGE;
	return 0;
}

bool backing_file_same(int fd, uint64_t page, const void *data)
{
	unsigned char was[PAGER_PAGE];
	return pread(fd, was, sizeof(was), (off_t)(page * PAGER_PAGE)) == PAGER_PAGE && !memcmp(was, data, PAGER_PAGE);
}

struct template {
	struct backing backing;
	unsigned char *map;
	uint64_t pages;
	int fd;
	unsigned char hole[];   // a bit for each page that the file does not hold
};

static bool all_holes(const struct template *t, uint64_t page, uint32_t n)
{
	for (uint64_t i = page; i < page + n; i++)
		if (!(t->hole[i / 8] & 1u << i % 8))
			return false;
	return true;
}

/* What a sparse file does not hold is zeros, and reading it would make pages of them. */
static void find_holes(struct template *t)
{
	off_t end = (off_t)(t->pages * PAGER_PAGE), at = lseek(t->fd, 0, SEEK_HOLE);
	while (at >= 0 && at < end) {
		off_t data = lseek(t->fd, at, SEEK_DATA);
		uint64_t to = data < 0 ? t->pages : (uint64_t)data / PAGER_PAGE;
		for (uint64_t i = ((uint64_t)at + PAGER_PAGE - 1) / PAGER_PAGE; i < to; i++)
			t->hole[i / 8] |= (unsigned char)(1u << i % 8);
		at = data < 0 ? end : lseek(t->fd, data, SEEK_HOLE);
	}
}

static int template_load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	const struct template *t = (struct template *)b;
	(void)buf;
	if (page >= t->pages || n > t->pages - page)
		return -EIO;
	*data = all_holes(t, page, n) ? NULL : t->map + page * PAGER_PAGE;
	return 0;
}

static bool template_same(struct backing *b, uint64_t page, const void *data)
{
	const struct template *t = (struct template *)b;
	return page < t->pages && backing_file_same(t->fd, page, data);
}

static void template_free(struct backing *b)
{
	struct template *t = (struct template *)b;
	munmap(t->map, t->pages * PAGER_PAGE);
	close(t->fd);
	free(t);
}

int backing_template_new(int fd, bool single, struct backing **out, struct err *e)
{
	static const struct vad_ops ops[2] = {
		{ .name = "template", .cluster = 16, .load = template_load, .same = template_same, .free = template_free },
		{ .name = "template, page by page", .cluster = 1, .load = template_load, .same = template_same, .free = template_free },
	};
	own_fd int mine = -1;
	uint64_t pages;
	int rc = backing_image(fd, &mine, &pages, e);
	if (rc)
		return rc;
	own_free struct template *t = pager_alloc(sizeof(*t) + (pages + 7) / 8);
	if (!t)
		return err_set(e, ENOMEM, "no memory for a template");
	t->map = mmap(NULL, pages * PAGER_PAGE, PROT_READ, MAP_SHARED, mine, 0);
	if (t->map == MAP_FAILED)
		return err_sys(e, errno, "map template");
	t->backing = (struct backing){ .ops = &ops[single], .users = 1 };
	t->pages = pages;
	t->fd = take_fd(mine);
	find_holes(t);
	*out = &take(t)->backing;
	return 0;
}

uint64_t backing_template_pages(const struct backing *b)
{
	return ((const struct template *)b)->pages;
}
