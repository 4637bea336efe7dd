// SPDX-License-Identifier: Apache-2.0
// Runs of scattered bytes; see iovspan.h.
#include "iovspan.h"

#include <string.h>

static size_t copy(const struct iovec *iov, int n, size_t off, void *flat, size_t len, int to_iov)
{
	size_t done = 0;
	for (int i = 0; i < n && done < len; i++) {
		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		size_t part = iov[i].iov_len - off;
		if (part > len - done)
			part = len - done;
		char *scattered = (char *)iov[i].iov_base + off;
		if (to_iov)
			memcpy(scattered, (char *)flat + done, part);
		else
			memcpy((char *)flat + done, scattered, part);
		done += part;
		off = 0;
	}
	return done;
}

size_t iovspan_read(const struct iovec *iov, int n, size_t off, void *to, size_t len)
{
	return copy(iov, n, off, to, len, 0);
}

size_t iovspan_write(const struct iovec *iov, int n, size_t off, const void *from, size_t len)
{
	return copy(iov, n, off, (void *)from, len, 1);
}

int iovspan_cut(struct iovec *iov, int n, size_t off, size_t len, struct iovec **first)
{
	int i = 0;
	while (i < n && off >= iov[i].iov_len)
		off -= iov[i++].iov_len;
	*first = &iov[i];
	if (i == n || !len)
		return 0;
	iov[i].iov_base = (char *)iov[i].iov_base + off;
	iov[i].iov_len -= off;
	int count = 0;
	for (; i < n && len; i++, count++) {
		if (iov[i].iov_len > len)
			iov[i].iov_len = len;
		len -= iov[i].iov_len;
	}
	return count;
}
