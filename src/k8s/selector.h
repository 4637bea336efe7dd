// SPDX-License-Identifier: Apache-2.0
// Label and field selectors.
#ifndef BH_K8S_SELECTOR_H
#define BH_K8S_SELECTOR_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct k8s_selector;

/* "a=b,c!=d,e in (x,y),f notin (z),g,!h" -> 0, or -EINVAL with upstream's sentence. "" or NULL matches everything. */
int k8s_label_selector_parse(const char *text, struct k8s_selector **s, struct err *e);
/* A metav1.LabelSelector object {matchLabels, matchExpressions}; NULL matches nothing, {} everything. */
int k8s_label_selector_from_json(const json_t *selector, struct k8s_selector **s, struct err *e);
/* "metadata.name=x,spec.nodeName!=y" on any string field of the object ("" for an absent field). */
int k8s_field_selector_parse(const char *text, struct k8s_selector **s, struct err *e);

bool k8s_label_selector_match(const struct k8s_selector *s, const json_t *labels);   // labels: object or NULL
bool k8s_field_selector_match(const struct k8s_selector *s, const json_t *obj);
/* The same of an object's JSON text, of which only those fields are parsed. */
bool k8s_field_selector_match_text(const struct k8s_selector *s, const char *text, size_t len);
/* If the field selector pins this field to one value ("spec.nodeName" = ...), that value (borrowed), else NULL. */
const char *k8s_field_selector_value(const struct k8s_selector *s, const char *field);
/* The fields it names, for checks of what a kind supports (k8s_kind.field_labels). */
size_t k8s_field_selector_count(const struct k8s_selector *s);
const char *k8s_field_selector_field(const struct k8s_selector *s, size_t i);   // NULL past the end
/* A text that is the same for selectors that say the same in the same order, and for no others. NULL is fine. 0 or -ENOMEM. */
int k8s_selector_print(const struct k8s_selector *s, struct buf *b);
void k8s_selector_free(struct k8s_selector *s);

#endif
