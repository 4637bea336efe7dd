// SPDX-License-Identifier: Apache-2.0
// All pods of this host, as the files that begin with pods_ see them.
#ifndef BH_HOSTD_PODS_INTERNAL_H
#define BH_HOSTD_PODS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "vm_numbers.h"

struct cpu_rates;
struct host;
struct pod;
struct k8s_informer;
struct shutdown;

struct pods {
	const struct host *host;
	pthread_mutex_t lock;
	struct pod *head;
	struct k8s_informer *informer;
	struct vm_numbers numbers;
	struct shutdown *shutdown;   // pods_shutdown.c; NULL: the host stays
	struct cpu_rates *rates;  // of pods_stats.c; NULL: no memory for them
	bool synced;              // the API's list has been seen once
};

#endif
