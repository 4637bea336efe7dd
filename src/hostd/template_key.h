// SPDX-License-Identifier: Apache-2.0
// What a template is made of, as a digest: kernel, initramfs, vmx, the engine's program, the processor, the size.
#ifndef BH_HOSTD_TEMPLATE_KEY_H
#define BH_HOSTD_TEMPLATE_KEY_H

#include <pthread.h>
#include <sys/stat.h>

#include "base/err.h"
#include "host.h"
#include "template_image.h"

#define KEY_FILES 4

struct template_key {
	pthread_mutex_t lock;
	struct { char path[4096], digest[DIGEST_MAX]; struct stat as; } file[KEY_FILES];   // digests of files as they were
	char cpu[DIGEST_MAX];
};

void template_key_init(struct template_key *k);
/* Digest of all inputs for a size. Files are read again only when they have changed. Any thread. 0 or -errno. */
int template_key(struct template_key *k, const struct host *h, unsigned vcpus, unsigned memory_mib, char digest[DIGEST_MAX], struct err *e);

#endif
