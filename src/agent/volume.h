// SPDX-License-Identifier: Apache-2.0
// Volumes of the pod: where each lies in the guest, and how it is made when first used.
#ifndef BH_AGENT_VOLUME_H
#define BH_AGENT_VOLUME_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "control.h"

control_fn volume_write;           // WriteVolume
control_fn volume_attach_disk;     // AttachDisk

struct volume_place {
	char path[PATH_MAX];       // folder or file in the guest; BLOCK: the device
	bool block;
	unsigned major, minor;     // of a BLOCK
};

/* Make the volume of m ready. fs_group: 0: none. 0 or -errno. */
int volume_prepare(struct agent *a, const Bulkhead__Agent__Mount *m, uint32_t fs_group, struct volume_place *out,
		   struct err *e);

/* Mount the disk with this serial number, once for all, at RUN/disk/SERIAL; its path goes to out. */
int volume_mount_disk(struct agent *a, const char *serial, const char *type, bool read_only, char out[PATH_MAX],
		      struct err *e);

/* A name usable as one path component: 1-253 of [A-Za-z0-9._-], not "." or "..". */
bool volume_name_ok(const char *name);

/* Called for each volume that has a size of its own; dir: its folder. */
void volume_each(struct agent *a, void (*fn)(void *user, const char *name, const char *dir), void *user);

#endif
