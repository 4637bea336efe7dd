// SPDX-License-Identifier: Apache-2.0
// CNI plug-ins, run as their specification says (versions 0.4.0 and 1.0.0): a list of them in order for ADD, in reverse
// for DEL, each given the result so far.
#ifndef BH_HOSTD_NETW_CNI_H
#define BH_HOSTD_NETW_CNI_H

#include <jansson.h>

#include "base/err.h"
#include "netw.h"

struct cni_run {
	const char *bin;            // folder of plug-ins
	const json_t *list;         // configuration list {"cniVersion","name","plugins":[]}
	const json_t *runtime;      // {"portMappings":[...], "bandwidth":{...}}; a plug-in gets what its capabilities name
	const char *container_id;
	const char *netns;          // path
	const char *ifname;
	const char *args;           // CNI_ARGS
};

/* The list that a cluster uses unless its operator gives one. New reference; NULL: no memory. */
json_t *cni_default_list(const char *name, const char *pod_cidr, const char *lease_dir);

int cni_check_list(const json_t *list, struct err *e);                      // a usable list? 0 or -EINVAL
int cni_check_plugins(const json_t *list, const char *bin, struct err *e);  // are the programs there? 0 or -ENOENT
json_t *cni_runtime(const struct netw_pod_spec *p);                         // new reference; NULL: no memory

/* result: of the last plug-in, new reference. -EIO: a plug-in refused, its message in e. Nothing is undone here. */
int cni_add(const struct cni_run *r, json_t **result, struct err *e);

/* Runs all of them; the last error is returned. result: of the ADD, NULL if it never ended. */
int cni_del(const struct cni_run *r, const json_t *result, struct err *e);

/* Addresses of ifname in a result. 0, -EINVAL. */
int cni_addresses(const json_t *result, const char *ifname, struct netw_pod *out, struct err *e);

#endif
