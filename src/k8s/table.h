// SPDX-License-Identifier: Apache-2.0
// What the printers (table_*.c) share.
#ifndef BH_K8S_TABLE_H
#define BH_K8S_TABLE_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

#define K8S_AGE_MAX 32

/* "5s", "2m3s", "4h5m", "3d", "2y": as kubectl shows durations. */
char *k8s_duration_text(int64_t seconds, char out[K8S_AGE_MAX]);
/* How long ago an RFC 3339 time was; "<unknown>" for none, "<invalid>" for nonsense. */
char *k8s_age_text(const char *time, char out[K8S_AGE_MAX]);

/* Append one cell. All return 0 or -1. */
int k8s_cell(json_t *cells, const char *text);                        // NULL: ""
int k8s_cell_or(json_t *cells, const char *text, const char *none);   // none when text is NULL or ""
int k8s_cell_int(json_t *cells, long long value);
int k8s_cell_age(json_t *cells, const char *time);
int k8s_cell_buf(json_t *cells, struct buf *b, const char *none);     // takes what is in b

/* "a=b,c=d" in order of the keys; "<none>" when empty. */
void k8s_put_labels(struct buf *b, const json_t *labels);
/* A metav1.LabelSelector as kubectl writes it: "a=b,c in (d,e),!f". */
void k8s_put_selector(struct buf *b, const json_t *selector);

#endif
