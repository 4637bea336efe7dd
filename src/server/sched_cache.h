// SPDX-License-Identifier: Apache-2.0
// What the scheduler knows: nodes with what they have and what their pods take, and the pods that have a node. One thread.
#ifndef BH_SERVER_SCHED_CACHE_H
#define BH_SERVER_SCHED_CACHE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/map.h"
#include "server/sched_term.h"

#define SCHED_EXTRA_MAX 8       // resources beside the usual three ("example.com/gpu", hugepages) that one pod may ask for

struct sched_extra { char *name; int64_t amount; };

struct sched_amounts {
	int64_t milli_cpu, memory, ephemeral;
	struct sched_extra extra[SCHED_EXTRA_MAX];
	int extra_count;
};

struct sched_port { char ip[46]; char protocol[8]; int port; };

/* What a pod needs, from its spec. */
struct sched_need {
	struct sched_amounts requests;
	int64_t score_cpu, score_memory;      // requests, with upstream's defaults where none are given
	struct sched_port *ports;             // host ports
	int port_count;
};

struct sched_node {
	char *name;
	json_t *labels, *taints, *images;     // of the node object; NULL: none
	json_t *allocatable;
	bool unschedulable, known;            // known: the Node object exists
	int64_t max_pods;
	struct sched_amounts have, used;      // have.extra is not filled: see allocatable
	int64_t score_cpu, score_memory;      // used, for scores
	int pod_count;
	struct map pods;                      // "ns/name" -> struct sched_pod
};

struct sched_pod {
	struct sched_node *node;
	struct sched_need need;
	struct sched_terms terms;             // about other pods
	json_t *labels;
	char *key, *ns;                       // "ns/name"; its namespace
	char uid[40], owner[40];              // owner: uid of its controller; "": none
	uint64_t asks;                        // the scheduler's: to see whether what it asks for has changed
	long long priority;
	char started[32];                     // status.startTime
	bool deleting;
	bool nominated;                       // not there yet: others were asked to make room for it
	bool hidden;                          // its room is not taken for the moment: what if it were gone?
};

struct sched_cache {
	struct map nodes;                     // name -> struct sched_node
	struct map pods;                      // "ns/name" -> struct sched_pod, all with a node
	struct map namespaces;                // name -> labels (json_t)
	int pods_with_terms;                  // how many have affinity or anti-affinity
};

void sched_cache_fini(struct sched_cache *c);
void sched_cache_node(struct sched_cache *c, const json_t *node);               // added or changed
void sched_cache_node_gone(struct sched_cache *c, const char *name);
void sched_cache_forget_nodes(struct sched_cache *c);                           // none is known until it is seen again
/* Takes room on spec.nodeName. 0, -ENOMEM, or 1: it was there already and takes other room now. Of one that was there without
 * spec.containers: what it asks for is the same. */
int sched_cache_pod(struct sched_cache *c, const char *key, const json_t *pod);
bool sched_cache_pod_gone(struct sched_cache *c, const char *key);              // false: was not there
void sched_cache_forget_pods(struct sched_cache *c);

void sched_cache_hide(struct sched_pod *p, bool hide);

/* labels: NULL: it is gone. */
void sched_cache_namespace(struct sched_cache *c, const char *name, json_t *labels);
void sched_cache_forget_namespaces(struct sched_cache *c);

const char *sched_owner_uid(const json_t *pod);                                 // of its controller; "": none; borrowed
int sched_need_parse(const json_t *pod, struct sched_need *n);                  // 0 or -ENOMEM
void sched_need_fini(struct sched_need *n);

#endif
