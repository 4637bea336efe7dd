// SPDX-License-Identifier: Apache-2.0
// Shared by the files of the image store (image.c, image_archive.c).
// Lock order: writer, then lock. Neither is held while a flight runs or a program is waited for.
#ifndef BH_HOSTD_IMAGE_INTERNAL_H
#define BH_HOSTD_IMAGE_INTERNAL_H

#include <pthread.h>

#include "image.h"
#include "image_disk.h"
#include "image_flight.h"
#include "image_index.h"

struct image_store {
	char *root, *dir, *tmp;      // ROOT, ROOT/images, ROOT/images/tmp
	pthread_mutex_t writer;      // one change at a time; held through writes to disk
	pthread_mutex_t lock;        // index, holds; held for moments only
	struct image_index *index;
	json_t *holds;               // id -> how many pods use it
	struct flights *flights;
};

bool image_store_has(struct image_store *s, const char *id);

/* Build the disk of b unless it is here already, and put it into the store under ref. Removes nothing of b->work. */
int image_store_make(struct image_store *s, const struct image_build *b, const char *ref, const char *repo_digest,
		     struct err *e);

/* Give an image that is here a name. -ENOENT: it is not here. */
int image_store_name(struct image_store *s, const char *id, const char *ref, const char *repo_digest, struct err *e);

#endif
