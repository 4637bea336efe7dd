// SPDX-License-Identifier: Apache-2.0
// A run of bytes scattered over an iovec array, as a descriptor chain describes it: copy in and out, cut to a part.
#ifndef BULKHEAD_IOVSPAN_H
#define BULKHEAD_IOVSPAN_H

#include <stddef.h>
#include <sys/uio.h>

/* Copy up to len bytes, starting off bytes into the run. Return the number copied (less when the run is shorter). */
size_t iovspan_read(const struct iovec *iov, int n, size_t off, void *to, size_t len);
size_t iovspan_write(const struct iovec *iov, int n, size_t off, const void *from, size_t len);

/* Cut the run to the len bytes that start off bytes into it. iov: changed in place. off + len must not exceed the run.
 * Returns the number of entries; *first is the first of them. */
int iovspan_cut(struct iovec *iov, int n, size_t off, size_t len, struct iovec **first);

#endif
