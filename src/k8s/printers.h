// SPDX-License-Identifier: Apache-2.0
// Printer columns and cells of the built-in kinds (table_*.c), for the rows in kinds.c.
#ifndef BH_K8S_PRINTERS_H
#define BH_K8S_PRINTERS_H

#include "kind.h"

#define PRINTER(name) \
	extern const struct k8s_column k8s_columns_##name[]; \
	int k8s_cells_##name(const json_t *obj, json_t *cells)

PRINTER(pod);
PRINTER(node);
PRINTER(event);
PRINTER(service);
PRINTER(endpoints);
PRINTER(namespace);
PRINTER(configmap);
PRINTER(secret);
PRINTER(serviceaccount);
PRINTER(resourcequota);
PRINTER(created_at);
PRINTER(podtemplate);
PRINTER(deployment);
PRINTER(replicaset);
PRINTER(statefulset);
PRINTER(daemonset);
PRINTER(controllerrevision);
PRINTER(job);
PRINTER(cronjob);
PRINTER(hpa);
PRINTER(pdb);
PRINTER(persistentvolume);
PRINTER(persistentvolumeclaim);
PRINTER(storageclass);
PRINTER(volumeattachment);
PRINTER(csinode);
PRINTER(volumesnapshot);
PRINTER(volumesnapshotclass);
PRINTER(volumesnapshotcontent);
PRINTER(ingress);
PRINTER(ingressclass);
PRINTER(networkpolicy);
PRINTER(endpointslice);
PRINTER(rolebinding);
PRINTER(csr);
PRINTER(lease);
PRINTER(priorityclass);
PRINTER(runtimeclass);
PRINTER(nodemetrics);
PRINTER(podmetrics);
int k8s_cells_replicationcontroller(const json_t *obj, json_t *cells);   // columns: those of replicaset

#undef PRINTER

#endif
