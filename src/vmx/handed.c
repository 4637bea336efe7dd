// SPDX-License-Identifier: Apache-2.0
#include "handed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int handed_open(void *user, const char *path, bool writable)
{
	struct handed *h = user;
	int rc = -ENOENT;
	for (unsigned i = 0; i < h->count; i++) {
		struct vmx_file *f = &h->file[i];
		if (strcmp(f->path, path))
			continue;
		if (((fcntl(f->fd, F_GETFL) & O_ACCMODE) == O_RDWR) != writable || f->given) {
			rc = -EBUSY;
			continue;
		}
		int fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
		f->given = writable && fd >= 0;
		return fd < 0 ? -errno : fd;
	}
	return rc;
}

void handed_fini(struct handed *h)
{
	for (unsigned i = 0; i < h->count; i++)
		free(h->file[i].path);
}
