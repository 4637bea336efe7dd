// SPDX-License-Identifier: Apache-2.0
// A file of the manifest folder as a pod of this host: what a kubelet calls a static pod.
#ifndef BH_HOSTD_STATIC_MANIFEST_H
#define BH_HOSTD_STATIC_MANIFEST_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

#define STATIC_HASH_KEY "kubernetes.io/config.hash"
#define STATIC_SOURCE_KEY "kubernetes.io/config.source"
#define STATIC_MIRROR_KEY "kubernetes.io/config.mirror"
#define STATIC_SEEN_KEY "kubernetes.io/config.seen"
#define STATIC_FILE_KEY "bulkhead.io/manifest-file"

/* The text (JSON or YAML, one Pod) of the file of this name: decoded, defaulted, validated, named NAME-NODE, bound to the node.
 * Its uid is a hash of node, file name and content: another content is another pod.
 * 0 and *pod (new reference); -EINVAL with what is wrong. */
int static_manifest_read(const char *text, size_t len, const char *file, const char *node, json_t **pod, struct err *e);

/* The object that shows it in the API. node_uid: of the Node that owns it. New reference; NULL: no memory. */
json_t *static_manifest_mirror(const json_t *pod, const char *node, const char *node_uid);

const char *static_annotation(const json_t *pod, const char *key);   // "" if it has none

#endif
