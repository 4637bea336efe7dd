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
void k8s_validate_resources(const struct k8s_path *path, const json_t *resources, struct k8s_errors *e);         // of a container
void k8s_validate_whole_resources(const struct k8s_path *path, const json_t *resources, struct k8s_errors *e);   // of a pod, as such
/* pod_resources.c: spec.resources beside the containers' own. */
void k8s_default_pod_resources(json_t *spec);
bool k8s_pod_states_whole(const json_t *pod, const char *what);   // "requests" or "limits" of the pod as such, any
void k8s_validate_pod_resources(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e);
void k8s_validate_pod_update(const json_t *pod, const json_t *old, struct k8s_errors *e);
void k8s_validate_volume_claim_spec(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e);
void k8s_validate_field_ref(const struct k8s_path *path, const json_t *ref, const char *const *plain, struct k8s_errors *e);
void k8s_validate_key_items(const struct k8s_path *path, const json_t *items, struct k8s_errors *e);

/* A count or "25%". */
void k8s_check_count_or_percent(const struct k8s_path *path, const json_t *v, bool max_100, struct k8s_errors *e);
/* spec.selector and spec.template of a workload. */
void k8s_check_selector_and_template(const struct k8s_path *path, const json_t *spec, const char *kind, struct k8s_errors *e);

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

/* ---- rows: workloads ---- */

void k8s_defaults_deployment(json_t *obj);
void k8s_defaults_replicaset(json_t *obj);
void k8s_defaults_replicationcontroller(json_t *obj);
void k8s_defaults_statefulset(json_t *obj);
void k8s_defaults_daemonset(json_t *obj);
void k8s_defaults_job(json_t *obj);
void k8s_defaults_cronjob(json_t *obj);
void k8s_defaults_hpa(json_t *obj);
void k8s_create_job(json_t *obj);
void k8s_validate_deployment(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_replicaset(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_replicationcontroller(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_statefulset(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_daemonset(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_job(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_cronjob(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_hpa(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_controllerrevision(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_pdb(const json_t *obj, const json_t *old, struct k8s_errors *e);

/* ---- rows: the other groups ---- */

void k8s_defaults_persistentvolumeclaim(json_t *obj);
void k8s_defaults_persistentvolume(json_t *obj);
void k8s_defaults_storageclass(json_t *obj);
void k8s_defaults_csidriver(json_t *obj);
void k8s_defaults_networkpolicy(json_t *obj);
void k8s_defaults_ingressclass(json_t *obj);
void k8s_defaults_endpointslice(json_t *obj);
void k8s_defaults_rolebinding(json_t *obj);
void k8s_defaults_priorityclass(json_t *obj);
void k8s_defaults_limitrange(json_t *obj);
void k8s_defaults_crd(json_t *obj);
void k8s_create_persistentvolumeclaim(json_t *obj);
void k8s_create_crd(json_t *obj);
void k8s_warn_crd(const json_t *obj, json_t *texts);
void k8s_validate_crd(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_persistentvolumeclaim(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_persistentvolume(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_storageclass(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_volumesnapshot(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_volumesnapshotclass(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_volumesnapshotcontent(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_volumeattachment(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_role(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_clusterrole(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_rolebinding(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_clusterrolebinding(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_csr(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_ingress(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_ingressclass(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_warn_networkpolicy(const json_t *obj, json_t *texts);
void k8s_validate_networkpolicy(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_endpoints(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_endpointslice(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_priorityclass(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_runtimeclass(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_resourcequota(const json_t *obj, const json_t *old, struct k8s_errors *e);
void k8s_validate_limitrange(const json_t *obj, const json_t *old, struct k8s_errors *e);

/* ---- rows: conversions (convert.c) ---- */

void k8s_event_to_stored(json_t *event);
void k8s_event_from_stored(json_t *event);
void k8s_hpa_to_stored(json_t *hpa);
void k8s_hpa_from_stored(json_t *hpa);

/* ---- every kind with a status ---- */

void k8s_drop_status(json_t *obj);

#endif
