// SPDX-License-Identifier: Apache-2.0
// Sets of field paths, as server-side apply keeps them in managedFields. A set is a JSON object in the form of FieldsV1:
// keys "f:<field>", "k:<keys of a list element>", "v:<value of a set>"; a path is a member when its node is empty or
// holds ".".
#ifndef BH_K8S_FIELDSET_H
#define BH_K8S_FIELDSET_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "schema.h"

struct buf;

/* How a value is merged and owned. */
enum k8s_node { NODE_LEAF, NODE_STRUCT, NODE_MAP, NODE_LIST_MAP, NODE_SET, NODE_FREE };
struct k8s_node_type {
	enum k8s_node node;
	const struct k8s_schema *schema;   // NODE_STRUCT
	const struct k8s_field *field;     // NODE_MAP, NODE_LIST_MAP: the field whose elements it holds
};

struct k8s_node_type k8s_node_root(const struct k8s_schema *schema);   // NULL: free form
struct k8s_node_type k8s_node_child(const struct k8s_node_type *t, const char *key);   // of a struct, map or free object
struct k8s_node_type k8s_node_element(const struct k8s_node_type *t);                  // of a list map
/* Free-form values show by their own type what they are. */
struct k8s_node_type k8s_node_resolve(struct k8s_node_type t, const json_t *value);

/* "k:{...}" or "v:..." of a list's element. NULL: an element lacks a key; e says which. malloc. */
char *k8s_element_key(const struct k8s_node_type *list, const json_t *element, struct err *e);
/* Position of the element with this key in a list; size of the list when absent. */
size_t k8s_element_find(const struct k8s_node_type *list, const json_t *values, const char *key);

/* All leaf paths of an object. New reference; NULL: wrong element keys or no memory, e says. */
json_t *k8s_fieldset_of(const struct k8s_node_type *type, const json_t *value, struct err *e);
/* Paths whose values differ between two objects or are only in b (added or changed by b). */
json_t *k8s_fieldset_changed(const struct k8s_node_type *type, const json_t *a, const json_t *b, struct err *e);

bool k8s_fieldset_member(const json_t *node);              // whether the path of this node is in the set
int k8s_fieldset_add(json_t *set, const json_t *other);    // union in place; 0 or -ENOMEM
void k8s_fieldset_remove(json_t *set, const json_t *other);      // difference in place
void k8s_fieldset_keep_existing(const struct k8s_node_type *type, json_t *set, const json_t *value);   // drop paths that value lacks

/* Calls fn for each member path of set, as ".spec.containers[name=\"a\"].image". */
void k8s_fieldset_each(const json_t *set, void (*fn)(void *user, const char *path), void *user);
json_t *k8s_fieldset_intersect(const json_t *a, const json_t *b);   // new reference; NULL: out of memory

#endif
