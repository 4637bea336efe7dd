// SPDX-License-Identifier: Apache-2.0
// Guest-physical memory; see guest_mem.h.
#include "guest_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"

void *gmem_at(const struct guest_mem *m, gpa_t gpa, uint64_t len, enum gmem_dir dir)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct gmem_region *r = &m->r[i];
		if (gpa < r->gpa || gpa - r->gpa > r->len || len > r->len - (gpa - r->gpa))
			continue;
		return dir == GMEM_WRITE && r->read_only ? NULL : r->host + (gpa - r->gpa);
	}
	return NULL;
}

int gmem_from_user(const struct guest_mem *m, uint64_t user, gpa_t *gpa)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct gmem_region *r = &m->r[i];
		if (user < r->user || user - r->user >= r->len)
			continue;
		*gpa = r->gpa + (user - r->user);
		return 0;
	}
	return -EFAULT;
}

int guest_ram_open(struct guest_ram *ram, uint64_t size, struct err *e)
{
	own_fd int fd = memfd_create("bulkhead-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(e, errno, "create guest memory");
	struct stat st;
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ||
	    fstat(fd, &st))
		return err_sys(e, errno, "set guest memory to %llu bytes", (unsigned long long)size);
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED)
		return err_sys(e, errno, "map %llu bytes of guest memory", (unsigned long long)size);
	madvise(base, size, MADV_DONTDUMP);
	*ram = (struct guest_ram){.fd = take_fd(fd), .base = base, .size = size, .dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

int guest_ram_open_copy(struct guest_ram *ram, uint64_t size, int file_fd, struct err *e)
{
	struct stat st;
	if (fstat(file_fd, &st))
		return err_sys(e, errno, "look at the saved memory");
	if ((uint64_t)st.st_size != size)
		return err_set(e, EINVAL, "the saved memory has %llu bytes, and this VM has %llu", (unsigned long long)st.st_size,
			       (unsigned long long)size);
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file_fd, 0);
	if (base == MAP_FAILED)
		return err_sys(e, errno, "map the saved memory");
	madvise(base, size, MADV_DONTDUMP);
	*ram = (struct guest_ram){.fd = -1, .base = base, .size = size};
	return 0;
}

void guest_ram_close(struct guest_ram *ram)
{
	if (!ram->base)
		return;
	munmap(ram->base, ram->size);
	if (ram->fd >= 0)
		close(ram->fd);
	*ram = (struct guest_ram)GUEST_RAM_INIT;
}

// Pages of a private copy that are mapped, the guest's own and the file's.
static uint64_t mapped_bytes(const struct guest_ram *ram)
{
	unsigned char there[4096];
	uint64_t pages = 0, step = sizeof(there) * 4096ull;
	for (uint64_t at = 0; at < ram->size; at += step) {
		uint64_t len = ram->size - at < step ? ram->size - at : step;
		if (mincore(ram->base + at, len, there))
			return 0;
		for (uint64_t i = 0; i < len / 4096; i++)
			pages += there[i] & 1;
	}
	return pages * 4096;
}

uint64_t guest_ram_resident(const struct guest_ram *ram)
{
	struct stat st;
	if (ram->fd < 0)
		return ram->base ? mapped_bytes(ram) : 0;
	return fstat(ram->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}
