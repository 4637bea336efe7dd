// SPDX-License-Identifier: Apache-2.0
// One stored object: its key and its JSON text, immutable once committed, shared by reference count between the index,
// the history, answers under way and watches. No parsed tree is kept.
//
// key: "RESOURCE/NAMESPACE/NAME" (RESOURCE: plural, or plural.group; NAMESPACE empty for cluster-wide kinds).
// text: the object as clients see it. metadata.resourceVersion is not known before the commit, so obj_encode leaves a
// gap for it and obj_set_rv fills the gap.
#ifndef BH_SERVER_OBJ_H
#define BH_SERVER_OBJ_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct obj {
	_Atomic unsigned refs;
	uint32_t key_len;
	uint32_t text_len;
	uint32_t rv_off;        // where the digits of resourceVersion start in the text
	uint32_t rv_len;        // digits there now; 0: not committed yet
	uint32_t node_end;      // of a pod bound to a node: bytes from the first of spec.nodeName to the text's end
	uint32_t node_len;      // and how many name it; 0: bound to none
	uint32_t view;          // view.c's
	uint64_t rv;            // resourceVersion
	uint64_t created_rv;    // resourceVersion at creation: the object's number in the store
	char data[];            // key, NUL, text, room for OBJ_RV_DIGITS, NUL
};

#define OBJ_RV_DIGITS 20
#define OBJ_TEXT_MAX ((1536u << 10) - 4096)   // what etcd takes, less its own part; the same with every store
#define OBJ_NODE_MAX 254        // a node's name, with the NUL

static inline const char *obj_key(const struct obj *o) { return o->data; }
static inline const char *obj_text(const struct obj *o) { return o->data + o->key_len + 1; }

/* Make an uncommitted object from a JSON object with kind, apiVersion and metadata. Top-level order becomes kind,
 * apiVersion, metadata, the rest as it is. Returns 0, -EINVAL (no metadata object), -EFBIG (OBJ_TEXT_MAX) or -ENOMEM. */
int obj_encode(const char *key, const json_t *j, struct obj **o);

/* Make a committed object from what the store kept. rv_off: where the digits of rv stand in text; -EINVAL if they do not. */
int obj_restore(const char *key, const char *text, size_t len, uint64_t rv, uint64_t created_rv, uint32_t rv_off,
		struct obj **o);

/* Make a committed object from the text of an uncommitted one (with an empty resourceVersion); -EINVAL if it is none. */
int obj_fill(const char *key, const char *text, size_t len, uint64_t rv, uint64_t created_rv, struct obj **o);

/* Before the object is shared only. */
void obj_set_rv(struct obj *o, uint64_t rv);

/* A copy with another resourceVersion. NULL: no memory. */
struct obj *obj_copy_rv(const struct obj *o, uint64_t rv);

/* The parsed text; new reference. NULL: no memory (text that we stored is always valid). */
json_t *obj_json(const struct obj *o);

static inline struct obj *obj_ref(struct obj *o)
{
	if (o)
		atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
	return o;
}
void obj_unref(struct obj *o);   // NULL is fine

static inline void own_obj_(struct obj **o) { obj_unref(*o); }
#define own_obj __attribute__((cleanup(own_obj_)))

/* The node that a pod is bound to; "" for all else. Returns out. */
const char *obj_node(const struct obj *o, char out[OBJ_NODE_MAX]);
/* Whether it is that one. */
bool obj_is_on(const struct obj *o, const char *node);
/* Whether a text can be a node's name as these functions see it. */
bool obj_node_name(const char *name);

/* What a key says; pointers into key. name_len may be 0 for a prefix. */
struct obj_name {
	const char *ns, *name;
	size_t ns_len, name_len;
};
struct obj_name obj_name(const struct obj *o);

#endif
