// SPDX-License-Identifier: Apache-2.0
// Guest-physical memory as a device sees it: a guest address becomes a pointer only through (address, length,
// direction) and a table of regions. The table is filled by a transport and stays as it is while a queue runs.
#ifndef BULKHEAD_GUEST_MEM_H
#define BULKHEAD_GUEST_MEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

typedef uint64_t gpa_t;   // guest-physical address

enum gmem_dir { GMEM_READ, GMEM_WRITE };   // what the device does with it

#define GMEM_REGIONS_MAX 8

struct gmem_region {
	gpa_t gpa;
	uint64_t len;      // bytes; gpa + len does not wrap
	uint8_t *host;     // where it is mapped here
	uint64_t user;     // vhost-user: its address in the front-end's process
	bool read_only;
};

struct guest_mem {
	unsigned n;
	struct gmem_region r[GMEM_REGIONS_MAX];
};

/* Pointer to len bytes at gpa that the device may use in direction dir; NULL unless all of them lie in one region. */
void *gmem_at(const struct guest_mem *m, gpa_t gpa, uint64_t len, enum gmem_dir dir);

/* Guest address of a front-end's user address. Returns 0, or -EFAULT when no region holds it. */
int gmem_from_user(const struct guest_mem *m, uint64_t user, gpa_t *gpa);

/* The memory of one VM, mapped once for all devices: a memfd that cannot shrink or grow, or a private copy of a file. */
struct guest_ram {
	int fd;            // owned; -1: a private copy, or closed
	uint8_t *base;     // size bytes, owned mapping; NULL when closed
	uint64_t size;
	bool paged;        // what is not in the memfd may be with a pager
	int statm_fd;      // owned; of a private copy: tells how much of it is there; -1: none
	dev_t dev;         // identity of fd, to recognise it when a front-end hands it back
	ino_t ino;
};

#define GUEST_RAM_INIT { .fd = -1, .statm_fd = -1 }

/* size: multiple of the page size. Pages are not touched: they appear when the guest uses them. 0 or -errno. */
int guest_ram_open(struct guest_ram *ram, uint64_t size, struct err *e);
/* The same with the bytes of a file, which stays as it is: what the guest writes is its own. The file must not shrink while
 * this is open. file_fd: borrowed. */
int guest_ram_open_copy(struct guest_ram *ram, uint64_t size, int file_fd, struct err *e);
void guest_ram_close(struct guest_ram *ram);

/* The guest does without len bytes at host, whole pages: what it finds there later is anything of its own. Any thread. */
void guest_ram_discard(const struct guest_ram *ram, void *host, size_t len);

/* Bytes of the memory that are really there, of a private copy: its own, not the file's; 0 when unknown. */
uint64_t guest_ram_resident(const struct guest_ram *ram);

#endif
