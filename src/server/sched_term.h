// SPDX-License-Identifier: Apache-2.0
// Terms of a pod about other pods: affinity, anti-affinity and spread, parsed once.
#ifndef BH_SERVER_SCHED_TERM_H
#define BH_SERVER_SCHED_TERM_H

#include <jansson.h>
#include <stdbool.h>

#include "server/map.h"

struct k8s_selector;

enum sched_term_kind {
	TERM_WITH,         // podAffinity, required
	TERM_APART,        // podAntiAffinity, required
	TERM_RATHER_WITH,  // podAffinity, preferred
	TERM_RATHER_APART, // podAntiAffinity, preferred
	TERM_SPREAD,       // topologySpreadConstraints, DoNotSchedule
	TERM_RATHER_SPREAD,// the same, ScheduleAnyway
};

struct sched_term {
	enum sched_term_kind kind;
	char *topology;                 // label of nodes that tells domains
	struct k8s_selector *selector;  // of pods
	json_t *namespaces;             // array of names; NULL: none named
	struct k8s_selector *of_namespaces;   // of namespaces; NULL: none
	char *ns;                       // of the pod that has the term: meant when neither is given
	int weight;                     // 1..100 of preferred terms
	int max_skew, min_domains;      // spread
	bool honors_taints, honors_affinity;
};

struct sched_terms { struct sched_term *list; int count; };

int sched_terms_parse(const json_t *pod, struct sched_terms *t);     // 0 or -ENOMEM; terms that make no sense are left out
void sched_terms_fini(struct sched_terms *t);

/* Is the term about a pod of this namespace with these labels? namespaces: name -> labels (json_t). */
bool sched_term_matches(const struct sched_term *t, const struct map *namespaces, const char *ns, const json_t *labels);

#endif
