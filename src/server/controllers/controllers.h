// SPDX-License-Identifier: Apache-2.0
// The controllers: each a unit of one loop.
#ifndef BH_SERVER_CONTROLLERS_H
#define BH_SERVER_CONTROLLERS_H

#include "server/loop.h"

extern const struct unit_ops node_health_unit;      // leases -> Ready Unknown, taints
extern const struct unit_ops taint_eviction_unit;   // NoExecute taints -> pods deleted
extern const struct unit_ops pod_gc_unit;           // pods of nodes that are no more
extern const struct unit_ops namespace_unit;        // contents of a namespace that is being deleted
extern const struct unit_ops service_account_unit;  // "default" and the CA's certificate in every namespace
extern const struct unit_ops event_ttl_unit;        // events older than an hour

extern const struct unit_ops node_range_unit;       // every node's range of pod addresses
extern const struct unit_ops kubernetes_service_unit;   // Service default/kubernetes and where it leads

extern const struct unit_ops csr_unit;              // certificates: approved, signed, removed
extern const struct unit_ops cluster_info_unit;     // what joining machines read; bootstrap tokens that expire

extern const struct unit_ops garbage_unit;                 // objects whose owners are gone
extern const struct unit_ops replicaset_unit;
extern const struct unit_ops replication_controller_unit;
extern const struct unit_ops deployment_unit;
extern const struct unit_ops job_unit;
extern const struct unit_ops job_strays_unit;              // finalizers of pods whose Job is gone
extern const struct unit_ops cronjob_unit;
extern const struct unit_ops statefulset_unit;
extern const struct unit_ops daemonset_unit;
extern const struct unit_ops hpa_unit;                     // HorizontalPodAutoscalers
extern const struct unit_ops disruption_unit;              // status of PodDisruptionBudgets
extern const struct unit_ops custom_kinds_unit;            // kinds of CustomResourceDefinitions, in every server
extern const struct unit_ops custom_definitions_unit;      // their status and end
int custom_kinds_load(struct server *srv, struct err *e);  // before anything is served: the kinds that are there
extern const struct unit_ops quota_unit;                   // status of ResourceQuotas
extern const struct unit_ops endpoints_unit;               // Endpoints and EndpointSlices of Services

extern const struct unit_ops volume_binder_unit;           // claims and volumes
extern const struct unit_ops volume_protect_unit;          // their finalizers; claims of ephemeral volumes

#endif
