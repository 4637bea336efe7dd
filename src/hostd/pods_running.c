// SPDX-License-Identifier: Apache-2.0
// The pods whose VMs run, copied, so that they can be asked without any lock.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "k8s/quantity.h"
#include "pod.h"
#include "pods.h"
#include "pods_internal.h"
#include "pods_stats.h"

static json_t *container_about(const struct pod *p, const struct container *c)
{
	const json_t *resources = json_object_get(container_spec(p, c), "resources");
	char name[96], id[24];
	snprintf(name, sizeof(name), "%s-%s", p->uid, container_id(c, id));
	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "id", name, "image", c->image_ref ? c->image_ref : "", "memoryLimit",
			 (json_int_t)k8s_quantity_value(jpath_get(resources, "limits.memory"), 0), "cpuLimitMilli",
			 (json_int_t)k8s_quantity_milli(jpath_get(resources, "limits.cpu"), 0), "cpuRequestMilli",
			 (json_int_t)k8s_quantity_milli(jpath_get(resources, "requests.cpu"), 0));
}

/* What the agent calls a volume -> how the pod calls it, and the claim. */
static json_t *volumes_about(const struct pod *p)
{
	json_t *out = json_object(), *v;
	size_t i;
	json_array_foreach(jpath_get(p->obj, "spec.volumes"), i, v) {
		const char *name = jpath_str(v, "name", "");
		const struct pod_claim *c = pod_claim_find(p, name);
		json_object_set_new(out, c ? c->serial : name, json_pack("{s:s, s:s*}", "name", name, "claim",
			jpath_str(v, "persistentVolumeClaim.claimName", NULL)));
	}
	return out;
}

static json_t *about(const struct pod *p)
{
	json_t *containers = json_object();
	for (size_t i = 0; i < p->containers_count; i++)
		json_object_set_new(containers, p->containers[i].name, container_about(p, &p->containers[i]));
	return json_pack("{s:o, s:o}", "containers", containers, "volumes", volumes_about(p));
}

struct pods_running *pods_running(struct pods *ps, size_t *count)
{
	size_t n = 0, room = 1;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p; p = p->next)
		room++;
	struct pods_running *all = calloc(room, sizeof(*all));
	for (struct pod *p = ps->head; p && all; p = p->next) {
		char started[CLOCK_TEXT_MAX];
		pthread_mutex_lock(&p->lock);
		if (p->vm && p->agent && vm_alive(p->vm))
			all[n++] = (struct pods_running){strdup(p->ns), strdup(p->name), strdup(p->uid), strdup(vm_vsock_path(p->vm)),
							 strdup(clock_text(p->start_ns, 0, started)), about(p), vm_get(p->vm)};
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	*count = n;
	return all;
}

void pods_running_free(struct pods_running *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		vm_put(all[i].vm);
		json_decref(all[i].about);
		free(all[i].ns), free(all[i].name), free(all[i].uid), free(all[i].vsock_path), free(all[i].started);
	}
	free(all);
}
