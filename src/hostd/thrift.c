// SPDX-License-Identifier: Apache-2.0
#include "thrift.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAP_STEP (256u << 10)
#define STACK_KEEP 4096            // below this frame: what the waiting itself needs

void thrift_stack(void)
{
	pthread_attr_t attr;
	void *low = NULL;
	size_t size = 0;
	if (pthread_getattr_np(pthread_self(), &attr))
		return;
	pthread_attr_getstack(&attr, &low, &size);
	pthread_attr_destroy(&attr);
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)low, here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t to = (here - STACK_KEEP) & ~(page - 1);
	if (here > from && here < from + size && here - from > STACK_KEEP && to > from)
		madvise(low, to - from, MADV_DONTNEED);
}

void thrift_heap(void)
{
	static size_t left;        // that could not go back last time, or was free since
	size_t now = mallinfo2().fordblks;
	if (now > left + HEAP_STEP) {
		malloc_trim(0);
		now = mallinfo2().fordblks;
		left = now;
	} else if (now < left) {
		left = now;
	}
}
