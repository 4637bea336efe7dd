// SPDX-License-Identifier: Apache-2.0
// Guest-physical memory; see guest_mem.h.
#include "guest_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
	*ram = (struct guest_ram){.fd = take_fd(fd), .base = base, .size = size, .dev = st.st_dev, .ino = st.st_ino, .statm_fd = -1};
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
	*ram = (struct guest_ram){.fd = -1, .base = base, .size = size, .statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)};
	return 0;
}

void guest_ram_close(struct guest_ram *ram)
{
	if (!ram->base)
		return;
	munmap(ram->base, ram->size);
	if (ram->fd >= 0)
		close(ram->fd);
	if (ram->statm_fd >= 0)
		close(ram->statm_fd);
	*ram = (struct guest_ram)GUEST_RAM_INIT;
}

void guest_ram_discard(const struct guest_ram *ram, void *host, size_t len)
{
	madvise(host, len, ram->fd < 0 ? MADV_DONTNEED : MADV_REMOVE);   // what cannot be given back stays
}

// Of this process: anonymous pages, which are those that the guest has written and a little of ours.
static uint64_t own_bytes(int statm_fd)
{
	char text[128];
	unsigned long long size, resident, shared;
	ssize_t n = pread(statm_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu %llu", &size, &resident, &shared) == 3 ? (resident - shared) * 4096 : 0;
}

uint64_t guest_ram_resident(const struct guest_ram *ram)
{
	struct stat st;
	if (ram->fd < 0)
		return own_bytes(ram->statm_fd);
	return fstat(ram->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}
