// SPDX-License-Identifier: Apache-2.0
// What all parts of hostd share: where things are, and the services that live as long as the process. Filled by main.c
// before any thread starts; read-only afterwards.
#ifndef BH_HOSTD_HOST_H
#define BH_HOSTD_HOST_H

#include <stdint.h>

struct image_store;
struct netw;
struct k8s_client;
struct events;
struct log_collector;
struct pager_client;
struct pods;
struct services;
struct templates;
struct volume_store;
struct waiting;
struct claims;
struct node;
struct shutdown_plan;

struct host {
	const char *root;          // the cluster's folder
	const char *kubeconfig;    // of the node
	const char *node_name;
	const char *node_addr;     // InternalIP
	uint16_t kubelet_port;
	const char *pod_cidr;      // of this host; NULL: what the API says
	const char *vmx_path;      // bulkhead-vmx
	const char *share_path;    // bulkhead-share
	const char *guest_dir;     // vmlinux, initramfs.cpio
	const char *metrics_dir;   // counters of all programs of the cluster (prda/metrics.h)
	const char *engine;        // "qemu" or "kvm": what new VMs use
	const char *cluster_dns;   // nameserver for dnsPolicy ClusterFirst, or NULL
	const char *cluster_domain;
	unsigned vm_uid_base;      // VM number n runs as uid vm_uid_base + n
	unsigned max_pods;
	unsigned waiting_count;    // clones that wait for a pod, of each template

	struct k8s_client *api;
	struct image_store *images;
	struct netw *net;
	struct events *events;
	struct log_collector *logs;
	struct pager_client *pager;   // NULL: memory is not paged
	struct pods *pods;
	struct services *services;
	struct templates *templates;   // NULL: every VM is booted
	struct waiting *waiting;       // NULL: no clone waits for a pod
	struct volume_store *volumes;
	struct claims *claims;
	struct node *node;
	const struct shutdown_plan *plan;   // of a host that goes down
};

#endif
