// SPDX-License-Identifier: Apache-2.0
// All memory that the pager takes.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pager_internal.h"

#ifdef PAGER_TEST_HOOKS
_Atomic long pager_fail_at;
void (*pager_point)(int where);

bool pager_fails(void)
{
	return atomic_load(&pager_fail_at) > 0 && atomic_fetch_sub(&pager_fail_at, 1) == 1;
}
#endif

void *pager_alloc(size_t size)
{
	size = (size + 63) / 64 * 64;
	void *p = pager_fails() ? NULL : aligned_alloc(64, size);
	return p ? memset(p, 0, size) : NULL;
}

void *pager_reserve(size_t size, bool huge)
{
	if (pager_fails())
		return NULL;
	/* Aligned to 2 MiB, so that huge pages can be used from the first byte on. */
	size_t align = 2u << 20, more = size + align;
	unsigned char *p = mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	size_t page = PAGER_PAGE, head = (align - (uintptr_t)p % align) % align, end = head + (size + page - 1) / page * page;
	if (head)
		munmap(p, head);
	if (more > end)
		munmap(p + end, more - end);
	if (huge)
		madvise(p + head, size, MADV_HUGEPAGE);
	return p + head;
}

void pager_release(void *p, size_t size)
{
	if (p)
		munmap(p, (size + PAGER_PAGE - 1) / PAGER_PAGE * PAGER_PAGE);
}
