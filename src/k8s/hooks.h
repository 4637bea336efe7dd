// SPDX-License-Identifier: Apache-2.0
// Defaults, validation and preparation of the built-in kinds, for the rows in kinds.c; and the parts that several kinds
// share (pod specs and templates).
#ifndef BH_K8S_HOOKS_H
#define BH_K8S_HOOKS_H

#include <jansson.h>
#include <stdbool.h>

struct k8s_errors;
struct k8s_path;

/* ---- shared parts ---- */

void k8s_default_pod_spec(json_t *spec);                     // of pods and of templates
void k8s_default_volume_claim_spec(json_t *spec);
void k8s_validate_pod_spec(const struct k8s_path *path, const json_t *spec, const json_t *meta, struct k8s_errors *e);
/* metadata and spec of a template; selector (matchLabels form) must match its labels. */
void k8s_validate_pod_template(const struct k8s_path *path, const json_t *template_, struct k8s_errors *e);
void k8s_validate_containers(const struct k8s_path *path, const json_t *containers, const json_t *volumes, const char *role,
			     const json_t *other_names, struct k8s_errors *e);
void k8s_validate_volumes(const struct k8s_path *path, const json_t *volumes, struct k8s_errors *e);
void k8s_validate_affinity(const struct k8s_path *path, const json_t *affinity, struct k8s_errors *e);
void k8s_validate_node_selector(const struct k8s_path *path, const json_t *selector, struct k8s_errors *e);
void k8s_validate_tolerations(const struct k8s_path *path, const json_t *tolerations, struct k8s_errors *e);
void k8s_validate_topology_spread(const struct k8s_path *path, const json_t *constraints, struct k8s_errors *e);
void k8s_validate_resources(const struct k8s_path *path, const json_t *resources, struct k8s_errors *e);
void k8s_validate_pod_update(const json_t *pod, const json_t *old, struct k8s_errors *e);
void k8s_validate_volume_claim_spec(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e);
void k8s_validate_field_ref(const struct k8s_path *path, const json_t *ref, const char *const *plain, struct k8s_errors *e);
void k8s_validate_key_items(const struct k8s_path *path, const json_t *items, struct k8s_errors *e);

/* "Guaranteed", "Burstable" or "BestEffort". */
const char *k8s_pod_qos(const json_t *pod);

/* Set a field unless it is there; takes value. */
void k8s_default(json_t *obj, const char *key, json_t *value);

/* ---- rows: core ---- */

void k8s_defaults_pod(json_t *obj);
void k8s_validate_pod(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_create_pod(json_t *obj);
void k8s_defaults_podtemplate(json_t *obj);
void k8s_validate_podtemplate(const json_t *obj, const json_t *old, struct k8s_errors *e);

void k8s_validate_node(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_defaults_namespace(json_t *obj);
void k8s_create_namespace(json_t *obj);
void k8s_update_namespace(json_t *obj, const json_t *old);
void k8s_validate_configmap(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_defaults_secret(json_t *obj);
void k8s_validate_secret(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_defaults_service(json_t *obj);
void k8s_validate_service(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_defaults_endpoints(json_t *obj);
void k8s_validate_event(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_lease(const json_t *obj, const json_t *old, struct k8s_errors *e);

/* ---- every kind with a status ---- */

void k8s_drop_status(json_t *obj);

#endif
