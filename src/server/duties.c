// SPDX-License-Identifier: Apache-2.0
#include "server/duties.h"

#include <stdlib.h>

#include "server/controllers/controllers.h"
#include "server/loop.h"
#include "server/scheduler.h"

static const struct unit_ops *const scheduling[] = { &scheduler_unit, NULL };
static const struct unit_ops *const controllers[] = {
	&node_health_unit, &taint_eviction_unit, &pod_gc_unit, &namespace_unit, &service_account_unit, &event_ttl_unit,
	&node_range_unit, &kubernetes_service_unit, &csr_unit, &cluster_info_unit, NULL,
};
static const struct unit_ops *const workloads[] = {
	&replicaset_unit, &replication_controller_unit, &deployment_unit, &job_unit, &job_strays_unit, &cronjob_unit, &statefulset_unit,
	&daemonset_unit, NULL,
};
static const struct unit_ops *const network[] = { &endpoints_unit, NULL };
static const struct unit_ops *const policy[] = {
	&hpa_unit, &disruption_unit, &quota_unit, &custom_definitions_unit, &volume_binder_unit, &volume_protect_unit, NULL,
};
static const struct unit_ops *const garbage[] = { &garbage_unit, NULL };

static const struct { const char *name; const struct unit_ops *const *units; } groups[] = {
	{ "scheduler", scheduling }, { "controllers", controllers }, { "workloads", workloads }, { "endpoints", network },
	{ "policy", policy }, { "garbage", garbage },
};
#define GROUPS (sizeof groups / sizeof *groups)

struct duties {
	struct server *srv;
	struct loop *loops[GROUPS];
};

static int start(void *user, struct err *e)
{
	struct duties *d = user;
	int r = 0;

	for (size_t i = 0; i < GROUPS && !r; i++)
		r = loop_start(d->srv, groups[i].name, groups[i].units, &d->loops[i], e);
	return r;
}

static void stop(void *user)
{
	struct duties *d = user;

	for (size_t i = 0; i < GROUPS; i++) {
		loop_stop(d->loops[i]);
		d->loops[i] = NULL;
	}
}

struct duties *duties_new(struct server *srv)
{
	struct duties *d = calloc(1, sizeof *d);

	if (d)
		d->srv = srv;
	return d;
}

void duties_free(struct duties *d)
{
	free(d);
}

const struct leader_ops duties_ops = { .start = start, .stop = stop };
