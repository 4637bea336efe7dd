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
};

static int template_load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	const struct template *t = (struct template *)b;
	(void)buf;
	if (page >= t->pages || n > t->pages - page)
		return -EIO;
	*data = t->map + page * PAGER_PAGE;
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

int backing_template_new(int fd, struct backing **out, struct err *e)
{
	static const struct vad_ops ops = { .name = "template", .cluster = 16, .load = template_load, .same = template_same,
		.free = template_free };
	own_fd int mine = -1;
	uint64_t pages;
	int rc = backing_image(fd, &mine, &pages, e);
	if (rc)
		return rc;
	own_free struct template *t = pager_alloc(sizeof(*t));
	if (!t)
		return err_set(e, ENOMEM, "no memory for a template");
	t->map = mmap(NULL, pages * PAGER_PAGE, PROT_READ, MAP_SHARED, mine, 0);
	if (t->map == MAP_FAILED)
		return err_sys(e, errno, "map template");
	t->backing = (struct backing){ .ops = &ops, .users = 1 };
	t->pages = pages;
	t->fd = take_fd(mine);
	*out = &take(t)->backing;
	return 0;
}

uint64_t backing_template_pages(const struct backing *b)
{
	return ((const struct template *)b)->pages;
}
