// SPDX-License-Identifier: Apache-2.0
// Claims and volumes as the scheduler, admission and the volume controllers see them. The functions on JSON are pure;
// those that take a server read its store.
#ifndef BH_SERVER_VOLUMES_H
#define BH_SERVER_VOLUMES_H

#include <jansson.h>
#include <stdbool.h>

#include "server/server.h"

#define VOLUME_PROVISIONER "disk.bulkhead.dev"       // our own: hostd of the chosen node makes the disk
#define VOLUME_SELECTED_NODE "volume.kubernetes.io/selected-node"
#define VOLUME_PROVISIONER_KEY "volume.kubernetes.io/storage-provisioner"
#define VOLUME_PROVISIONER_BETA "volume.beta.kubernetes.io/storage-provisioner"
#define VOLUME_NODE_KEY "disk.bulkhead.dev/node"     // annotation of snapshots: where the disk is
#define VOLUME_CLAIM_FINALIZER "kubernetes.io/pvc-protection"
#define VOLUME_FINALIZER "kubernetes.io/pv-protection"

const struct k8s_kind *volume_kind(void);            // persistentvolumes
const struct k8s_kind *volume_claim_kind(void);      // persistentvolumeclaims

/* From the store; new references or NULL. */
json_t *volume_claim_load(struct server *srv, const char *ns, const char *name);
json_t *volume_load(struct server *srv, const char *name);
json_t *volume_class_load(struct server *srv, const char *name);
/* The class marked as the default, the newest if several are; NULL: none. */
json_t *volume_class_default(struct server *srv);

const char *volume_annotation(const json_t *obj, const char *key);   // "" when absent
const char *volume_class_name(const json_t *claim);                  // "" none
bool volume_class_waits(const json_t *class_);                       // WaitForFirstConsumer
bool volume_is_provisioned(const json_t *class_);                    // somebody makes volumes of this class

/* Could this volume be bound to this claim? */
bool volume_satisfies(const json_t *volume, const json_t *claim);
/* Does its claimRef name this very claim? */
bool volume_is_for(const json_t *volume, const json_t *claim);
/* Is it what the claim is bound to, both saying so? */
bool volume_is_bound(const json_t *volume, const json_t *claim);
bool volume_claim_is_bound(const json_t *claim);

/* The node whose disk it is, "" when it says none or several. */
const char *volume_node(const json_t *volume);
/* The node of what the claim shall be a copy of (dataSource); "" when it is a copy of nothing, or that is not known yet. */
void volume_source_node(struct server *srv, const json_t *claim, char node[256]);

/* The claim behind a volume of a pod, or NULL: another kind. buf: for the name of an ephemeral one. */
const char *volume_pod_claim(const json_t *pod, const json_t *pod_volume, char buf[512]);
bool volume_pod_is_over(const json_t *pod);

#endif
