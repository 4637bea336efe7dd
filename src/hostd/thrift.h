// SPDX-License-Identifier: Apache-2.0
// Memory that this process does not need now goes back to the host: a thread and a heap for a hundred pods that do nothing must
// be small.
#ifndef BH_HOSTD_THRIFT_H
#define BH_HOSTD_THRIFT_H

/* The calling thread waits next, for long: what earlier calls have used of its stack. */
void thrift_stack(void);

/* Free memory of the heap, if there is more of it than last time. One thread, now and then. */
void thrift_heap(void);

#endif
