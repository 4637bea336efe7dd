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

/* Cells that come straight from a field. */
enum k8s_cell_type { CELL_END, CELL_STR, CELL_INT, CELL_AGE, CELL_BOOL, CELL_QUOTED_BOOL };
struct k8s_cell_path {
	enum k8s_cell_type type;
	const char *path;
	const char *none;     // CELL_STR: when absent or empty; NULL: ""
};
int k8s_cells_from(json_t *cells, const json_t *obj, const struct k8s_cell_path *list);   // ended by CELL_END

/* Names and images of a pod template's containers: "a,b". */
int k8s_cell_containers(json_t *cells, const json_t *pod_spec);
int k8s_cell_images(json_t *cells, const json_t *pod_spec);
int k8s_cell_selector(json_t *cells, const json_t *selector);
int k8s_cell_labels(json_t *cells, const json_t *labels);

#define COLUMN_NAME {"Name", "string", "name", "Name of the object, unique among its kind in a namespace.", 0}
#define COLUMN_AGE {"Age", "string", "", "Time since the object was created.", 0}
#define COLUMN_CONTAINERS {"Containers", "string", "", "Names of the containers in the template.", 1}
#define COLUMN_IMAGES {"Images", "string", "", "Images of the containers in the template.", 1}
#define COLUMN_SELECTOR {"Selector", "string", "", "Labels of the pods that belong to the object.", 1}
#define COLUMN(name, text) {name, "string", "", text, 0}
#define COLUMN_WIDE(name, text) {name, "string", "", text, 1}
#define COLUMN_INT(name, text) {name, "integer", "", text, 0}
#define COLUMN_END {NULL, NULL, NULL, NULL, 0}

/* "a=b,c=d" in order of the keys; "<none>" when empty. */
void k8s_put_labels(struct buf *b, const json_t *labels);
/* A metav1.LabelSelector as kubectl writes it: "a=b,c in (d,e),!f". */
void k8s_put_selector(struct buf *b, const json_t *selector);

#endif
