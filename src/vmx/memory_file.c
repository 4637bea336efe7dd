// SPDX-License-Identifier: Apache-2.0
// The memory of a saved VM; see memory_file.h. It is read through its mapping, so that pages which a pager holds come in, too.
#include "memory_file.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u
#define PIECE (1u << 20)     // bytes of one write

static bool is_zero(const uint8_t *page)
{
	uint64_t first;
	memcpy(&first, page, sizeof(first));
	return !first && !memcmp(page, page + sizeof(first), PAGE - sizeof(first));
}

static int write_at(int fd, const uint8_t *p, uint64_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

// Pages that are no zeros, in runs.
static int write_range(const struct guest_ram *ram, int fd, uint64_t from, uint64_t to)
{
	uint64_t run = from;   // where a run that is not written yet begins
	int rc = 0;
	for (uint64_t at = from; at <= to && !rc; at += PAGE) {
		bool zero = at == to || is_zero(ram->base + at);
		if ((zero || at - run == PIECE) && at > run) {
			rc = write_at(fd, ram->base + run, at - run, run);
			run = at;
		}
		if (zero)
			run = at + PAGE;
	}
	return rc;
}

// The next piece of memory that may hold something: what the memfd has, unless somebody else keeps pages of it.
static bool next_range(const struct guest_ram *ram, uint64_t at, uint64_t *from, uint64_t *to)
{
	off_t data = ram->fd >= 0 && !ram->paged ? lseek(ram->fd, (off_t)at, SEEK_DATA) : (off_t)at;
	if (data < 0 && errno == ENXIO)
		return false;
	*from = data < 0 ? at : (uint64_t)data & ~(uint64_t)(PAGE - 1);
	off_t hole = data >= 0 && ram->fd >= 0 && !ram->paged ? lseek(ram->fd, data, SEEK_HOLE) : -1;
	*to = hole < 0 ? ram->size : ((uint64_t)hole + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	return *from < ram->size;
}

int memory_file_write(const struct guest_ram *ram, int fd, struct err *e)
{
	uint64_t from, to;
	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)ram->size))
		return err_sys(e, errno, "set the length of the memory's file");
	for (uint64_t at = 0; at < ram->size && next_range(ram, at, &from, &to); at = to) {
		int rc = write_range(ram, fd, from, to);
		if (rc)
			return err_sys(e, -rc, "write the memory's file");
	}
	return 0;
}

static int copy_range(const struct guest_ram *ram, int fd, uint64_t from, uint64_t to)
{
	for (uint64_t at = from, n; at < to; at += n) {
		n = to - at < PIECE ? to - at : PIECE;
		void *piece = mmap(NULL, n, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, (off_t)at);
		if (piece == MAP_FAILED)
			return -errno;
		int rc = write_at(ram->fd, piece, n, at);   // if the file shrinks, the kernel finds out, not this thread
		munmap(piece, n);
		if (rc)
			return rc;
	}
	return 0;
}

int memory_file_read(const struct guest_ram *ram, int fd, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_sys(e, errno, "look at the saved memory");
	if ((uint64_t)st.st_size != ram->size)
		return err_set(e, EINVAL, "the saved memory has %llu bytes, and this VM has %llu", (unsigned long long)st.st_size,
			       (unsigned long long)ram->size);
	off_t from, to;
	for (off_t at = 0; (from = lseek(fd, at, SEEK_DATA)) >= 0; at = to) {
		from &= ~(off_t)(PAGE - 1);
		to = lseek(fd, from, SEEK_HOLE);
		to = to < 0 || to > st.st_size ? st.st_size : to;
		int rc = copy_range(ram, fd, (uint64_t)from, (uint64_t)to);
		if (rc)
			return err_sys(e, -rc, "read the saved memory");
		if (to == st.st_size)
			break;
	}
	return 0;
}
