// SPDX-License-Identifier: Apache-2.0
// FUSE requests of a hostile guest, one after another, against a read-only folder.
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "share/fuse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int folder(void)
{
	static char dir[] = "/tmp/bh-share-fuzz-XXXXXX";
	static int made;
	if (!made && mkdtemp(dir)) {
		made = 1;
		int fd = open(dir, O_PATH | O_DIRECTORY);
		mkdirat(fd, "a", 0755);
		close(openat(fd, "b", O_WRONLY | O_CREAT, 0644));
		close(fd);
	}
	return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t in[FUSE_REQUEST_MAX], out[FUSE_REQUEST_MAX + 64];
	struct fuse *f = fuse_new(folder(), true);
	struct fuse_in_header h;
	while (f && size >= 2) {
		size_t len = (size_t)(data[0] | data[1] << 8);
		data += 2, size -= 2;
		len = len < size ? len : size;
		memcpy(in, data, len);
		if (len >= sizeof(h)) {   // most inputs should get past the length
			memcpy(&h, in, sizeof(h));
			h.len = (uint32_t)len;
			h.opcode %= 64;
			memcpy(in, &h, sizeof(h));
		}
		fuse_answer(f, in, len, out);
		data += len, size -= len;
	}
	fuse_free(f);
	return 0;
}
