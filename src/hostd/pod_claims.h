// SPDX-License-Identifier: Apache-2.0
// The claims of a pod: which disks of this host they are, and how its containers see them.
#ifndef BH_HOSTD_POD_CLAIMS_H
#define BH_HOSTD_POD_CLAIMS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct pod;

#define POD_CLAIMS_MAX 16

struct pod_claim {
	char volume[64];         // of the pod's spec
	char serial[21];         // of its disk in the VM
	char *id;                // in the volume store; NULL: the disk is a device of the host, at path
	char *path;
	char *pv;                // name of the PersistentVolume
	bool block, read_only;   // read_only: the VM gets it so
};

/* Find out what the pod's claims are bound to, if that is not known yet. -EAGAIN: not all are there, bound and free; what
 * is missing, as a kubelet would say it. Worker. */
int pod_claims_resolve(struct pod *p, struct err *e);
void pod_claims_free(struct pod *p);

const struct pod_claim *pod_claim_find(const struct pod *p, const char *volume);   // NULL: not a claim

json_t *pod_claims_to_json(const struct pod *p);         // for state.json
void pod_claims_from_json(struct pod *p, const json_t *list);

#endif
