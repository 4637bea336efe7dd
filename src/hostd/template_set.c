// SPDX-License-Identifier: Apache-2.0
// Working sets; see template_set.h.
#include "template_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"

#define MAGIC 0x31535750u   // "PWS1"
#define PAGE 4096u

struct head { uint32_t magic, samples; uint64_t pages; };

static bool in_set(const struct template_set *s, uint64_t page) { return s->touched[page] * 2u > s->samples; }

uint64_t template_set_count(const struct template_set *s)
{
	uint64_t n = 0;
	for (uint64_t i = 0; s->touched && i < s->pages; i++)
		n += in_set(s, i);
	return n;
}

void template_set_clear(struct template_set *s)
{
	own_fd int fd = take_fd(s->fd);
	(void)fd;
	free(s->touched);
	*s = (struct template_set)TEMPLATE_SET_INIT;
}

static int copy_pages(const struct template_set *s, int image, int to)
{
	uint8_t *from = mmap(NULL, s->pages * PAGE, PROT_READ, MAP_SHARED, image, 0);
	int rc = from == MAP_FAILED ? -errno : 0;
	for (uint64_t at = 0, end; at < s->pages && !rc; at = end) {
		end = at + 1;
		if (!in_set(s, at))
			continue;
		while (end < s->pages && end - at < 256 && in_set(s, end))
			end++;
		if (pwrite(to, from + at * PAGE, (end - at) * PAGE, (off_t)(at * PAGE)) != (ssize_t)((end - at) * PAGE))
			rc = -EIO;
	}
	if (from != MAP_FAILED)
		munmap(from, s->pages * PAGE);
	return rc;
}

/* Zeros are not in the image, and need not be brought. */
static void leave_out_zeros(struct template_set *s, int image)
{
	uint64_t at = 0;
	for (off_t data, hole; at < s->pages; at = (uint64_t)hole / PAGE) {
		data = lseek(image, (off_t)(at * PAGE), SEEK_DATA);
		uint64_t first = data < 0 ? s->pages : (uint64_t)data / PAGE;
		memset(s->touched + at, 0, first - at);
		hole = data < 0 ? -1 : lseek(image, data, SEEK_HOLE);
		if (hole < 0)
			return;
	}
}

static int make_image(struct template_set *s, int image)
{
	own_fd int fd = memfd_create("template-set", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)(s->pages * PAGE)))
		return -errno;
	int rc = copy_pages(s, image, fd);
	if (!rc && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		rc = -errno;
	if (rc)
		return rc;
	own_fd int old = take_fd(s->fd);
	(void)old;
	s->fd = take_fd(fd);
	return 0;
}

void template_set_read(struct template_set *s, const char *path, uint64_t pages, int image)
{
	own_buf struct buf file = BUF_INIT;
	struct head h;
	if (file_read(path, sizeof(h) + pages, &file, NULL) || file.len != sizeof(h) + pages)
		return;
	memcpy(&h, file.data, sizeof(h));
	if (h.magic != MAGIC || h.pages != pages || !h.samples || h.samples > TEMPLATE_SAMPLES || !(s->touched = malloc(pages)))
		return;
	memcpy(s->touched, file.data + sizeof(h), pages);
	s->pages = pages;
	s->samples = h.samples;
	leave_out_zeros(s, image);
	if (make_image(s, image))
		template_set_clear(s);
}

static int record(const struct template_set *s, const char *path, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	struct head h = {MAGIC, s->samples, s->pages};
	if (buf_append(&b, &h, sizeof(h)) || buf_append(&b, s->touched, s->pages))
		return err_set(e, ENOMEM, "no memory");
	return file_replace(path, b.data, b.len, 0600, e);
}

int template_set_sample(struct template_set *s, const char *path, uint64_t pages, int image, int memory, struct err *e)
{
	if (!s->touched) {
		s->touched = calloc(pages, 1);
		s->pages = pages;
	}
	if (!s->touched || s->pages != pages)
		return err_set(e, ENOMEM, "no memory");
	off_t size = (off_t)(pages * PAGE);
	for (off_t at = 0, end; (at = lseek(memory, at, SEEK_DATA)) >= 0 && at < size; at = end) {
		end = lseek(memory, at, SEEK_HOLE);
		end = end < 0 || end > size ? size : end;
		for (uint64_t page = (uint64_t)at / PAGE; page * PAGE < (uint64_t)end; page++)
			s->touched[page] += s->touched[page] < UINT8_MAX;
	}
	s->samples++;
	leave_out_zeros(s, image);
	int rc = make_image(s, image);
	return rc ? err_sys(e, -rc, "make the working set") : record(s, path, e);
}
