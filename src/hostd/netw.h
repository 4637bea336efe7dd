// SPDX-License-Identifier: Apache-2.0
// Pod networks: one network namespace per pod, filled by CNI plug-ins (bridge, host-local, portmap, loopback), joined
// to a TAP device that becomes the guest's NIC. State under ROOT/net/ (CNI results per pod, host-local leases), so that
// everything can be found and removed after a crash. All calls may block; safe from any thread; setup and teardown can
// be repeated.
#ifndef BH_HOSTD_NETW_H
#define BH_HOSTD_NETW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct netw;

struct netw_config {
	const char *root;        // ROOT
	const char *tag;         // short unique tag of this cluster ([a-z0-9]{1,6}): bridge "bkh-TAG", namespaces "bkh-TAG-..."
	const char *pod_cidr;    // "10.88.0.0/24"
	const char *cluster_cidr;   // of all hosts' pods, which reach each other with their own addresses; NULL: pod_cidr
	const char *cni_bin;     // folder of plug-ins, "/usr/lib/cni"
	const char *cni_conf;    // a CNI configuration list file to use instead of our own, or NULL
};

struct netw_port { uint16_t host_port, container_port; char protocol[5]; char host_ip[46]; };   // "tcp", "udp", "sctp"

struct netw_pod_spec {
	const char *uid, *ns, *name;
	const struct netw_port *ports;
	size_t ports_count;
	uint64_t ingress_bps, egress_bps;   // kubernetes.io/{ingress,egress}-bandwidth, 0: none
	unsigned queues;                    // of the TAP; 0 and 1: one
};

#define NETW_QUEUES_MAX 7    // as many as a VM's card has

struct netw_addr { char address[46]; unsigned prefix_len; char gateway[46]; };

struct netw_pod {
	char mac[18];
	unsigned mtu;
	struct netw_addr addrs[4];
	size_t addrs_count;
	int tap_fd;              // owned by the caller; -1 from netw_lookup
	int queue_fd[NETW_QUEUES_MAX - 1];   // the TAP's further queues, owned likewise
	unsigned queue_fds;
	bool vnet_hdr;
};

int netw_open(const struct netw_config *c, struct netw **n, struct err *e);   // makes folders; checks that plug-ins are there
void netw_close(struct netw *n);

/* Ranges of all hosts' pods, "A/24, B/24": traffic between them keeps its addresses. */
int netw_set_cluster(struct netw *n, const char *ranges, struct err *e);

/* Make (or complete) the pod's network and open its TAP. On error nothing is left behind. */
int netw_setup(struct netw *n, const struct netw_pod_spec *p, struct netw_pod *out, struct err *e);

void netw_close_taps(struct netw_pod *p);    // all of them, if they are there

int netw_lookup(struct netw *n, const char *uid, struct netw_pod *out, struct err *e);   // recorded result; -ENOENT

/* Undo everything of a pod, in any state; absent is fine. The last error is reported, but all steps are tried. */
int netw_teardown(struct netw *n, const char *uid, struct err *e);

/* Tear down every pod of this cluster whose uid is not in keep. Returns how many. */
int netw_sweep(struct netw *n, const char *const *keep, size_t keep_count);

/* Remove bridge, namespaces, rules of this cluster (for `bulkhead down`). */
int netw_purge(struct netw *n, struct err *e);

#endif
