// SPDX-License-Identifier: Apache-2.0
// Pods from a folder of this host: a file each, as a kubelet's --pod-manifest-path. A thread follows the folder.
#ifndef BH_HOSTD_STATIC_PODS_H
#define BH_HOSTD_STATIC_PODS_H

#include "base/err.h"
#include "host.h"

struct static_pods;

/* Reads the folder once before it returns: from then on pods.c knows which mirrors in the API have a pod. dir: made if it is
 * not there. */
int static_pods_start(const struct host *h, const char *dir, struct static_pods **s, struct err *e);
void static_pods_stop(struct static_pods *s);   // NULL allowed; the pods go on

#endif
