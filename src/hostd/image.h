// SPDX-License-Identifier: Apache-2.0
// The host's images: pulled or loaded once, kept as one read-only EROFS disk per image digest, shared by all pods.
// Layout: ROOT/images/ (index.json, disks/<sha256 hex>.erofs, configs/<hex>.json, tmp/). All calls are safe from any
// thread and may block; two pulls of one reference at once become one. A SIGKILL at any point leaves at most files in
// tmp/, removed by the next image_store_open.
#ifndef BH_HOSTD_IMAGE_H
#define BH_HOSTD_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct image_store;

struct image {
	char *id;            // "sha256:..." of the image configuration (Kubernetes imageID without repository)
	char *ref;           // normalised reference, "docker.io/library/nginx:1.25" or "...@sha256:..."
	char *repo_digest;   // "repository@sha256:..." of the manifest, "" for loaded archives
	char *disk_path;     // EROFS disk, immutable
	json_t *config;      // OCI image configuration (config.Env, Cmd, Entrypoint, User, WorkingDir, ...)
	uint64_t size_bytes; // of the disk
};
void image_free(struct image *img);   // NULL allowed

/* root: the cluster's folder. Registry configuration is read from ROOT/registries.json at each pull (mirrors,
 * "insecure": true for plain HTTP); absent: defaults. */
int image_store_open(const char *root, struct image_store **s, struct err *e);
void image_store_close(struct image_store *s);

/* Local look-up by reference, repository digest or id. 0, or -ENOENT. */
int image_find(struct image_store *s, const char *ref, struct image **out, struct err *e);

struct image_pull_opts {
	const char *auth_json;                                  // docker config.json text ({"auths":...}), or NULL
	void (*progress)(void *user, const char *stage, uint64_t done, uint64_t total);   // "resolve","copy","unpack","disk"; any thread; may be NULL
	void *user;
	const volatile int *cancel;                             // nonzero: give up with -ECANCELED
};

/* Fetch and convert, unless the same digest is already here. e->text is what a kubelet would say, errno values:
 * -EINVAL bad reference, -ENOENT no such image or manifest, -EACCES authentication, -EHOSTUNREACH registry not
 * reachable, -ENOSPC, -EBADMSG digest or content wrong, -ECANCELED, -EIO other. */
int image_pull(struct image_store *s, const char *ref, const struct image_pull_opts *o, struct image **out, struct err *e);

/* Load every image of an OCI layout folder, OCI archive or docker archive (docker save) at path. refs: array of the
 * references loaded, the caller's. name: the reference to give an archive of one image, instead of its own (may be NULL if it has one). */
int image_load(struct image_store *s, const char *path, const char *name, const struct image_pull_opts *o,
	       json_t **refs, struct err *e);

json_t *image_list(struct image_store *s);     // [{id, refs:[], repoDigests:[], sizeBytes, created, pinned}], new reference; NULL: no memory

/* Untag; when the last reference is gone the disk is removed, unless it is in use (-EBUSY). */
int image_remove(struct image_store *s, const char *ref, struct err *e);

/* Marks an image as used by a pod, so that removal and garbage collection keep it. Counted in memory only. */
int image_hold(struct image_store *s, const char *id);
void image_release(struct image_store *s, const char *id);

/* Remove unheld images, least recently used first, until want_bytes are freed. Returns bytes freed. */
uint64_t image_gc(struct image_store *s, uint64_t want_bytes);

#endif
