// SPDX-License-Identifier: Apache-2.0
// Pods of Jobs that are no more: nobody will count them, so the finalizer that waits for that goes.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/owner.h"
#include "server/controllers/propagation.h"
#include "server/map.h"
#include "server/registry.h"

#define FINALIZER "batch.kubernetes.io/job-tracking"
#define RETRY_NS NS_PER_S

struct strays {
	struct server *srv;
	struct map look;             // store keys of pods
};

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct strays *s = unit;

	if (type == EVENT_DELETED)
		map_remove(&s->look, obj_key(o));
	else if (strstr(obj_text(o), FINALIZER) && (type == EVENT_ADDED || strstr(obj_text(o), "\"deletionTimestamp\"") ||
						    !strstr(obj_text(o), "\"ownerReferences\"")))
		map_put(&s->look, obj_key(o), s);
}

static bool has_job(struct strays *s, const json_t *pod)
{
	const json_t *ref = owner_controller(pod);
	char key[REG_KEY_MAX];
	own_obj struct obj *o = NULL;
	own_json json_t *job = NULL;

	if (strcmp(jpath_str(ref, "kind", ""), "Job"))
		return false;
	o = store_get(s->srv->store, reg_key(k8s_kind_find("batch", "v1", "jobs"), jpath_str(pod, "metadata.namespace", ""),
					     jpath_str(ref, "name", ""), key));
	job = o ? obj_json(o) : NULL;
	return !strcmp(jpath_str(job, "metadata.uid", ""), jpath_str(ref, "uid", "-"));
}

static bool drop_finalizer(json_t *pod, void *user)
{
	(void)user;
	return finalizer_remove(pod, FINALIZER);
}

static uint64_t work(void *unit, uint64_t now)
{
	struct strays *s = unit;
	struct map todo = s->look;
	const char *key;
	size_t pos = 0;

	s->look = (struct map)MAP_INIT;
	while (map_next(&todo, &pos, &key)) {
		own_obj struct obj *o = store_get(s->srv->store, key);
		own_json json_t *pod = o ? obj_json(o) : NULL;
		int r = !pod || has_job(s, pod) ? 0 :
			change_object(s->srv, k8s_kind_find("", "v1", "pods"), jpath_str(pod, "metadata.namespace", ""),
				      jpath_str(pod, "metadata.name", ""), "", drop_finalizer, NULL, NULL);
		if (r && r != -ENOENT)
			map_put(&s->look, key, s);
	}
	map_fini(&todo, NULL);
	return s->look.count ? now + RETRY_NS : LOOP_NEVER;
}

static int strays_open(struct server *srv, void **unit, struct err *e)
{
	struct strays *s = calloc(1, sizeof *s);

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->srv = srv;
	*unit = s;
	return 0;
}

static void strays_close(void *unit)
{
	struct strays *s = unit;

	map_fini(&s->look, NULL);
	free(s);
}

static const struct unit_source sources[] = {
	{ "", "v1", "pods", pod_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops job_strays_unit = {
	.name = "pods of gone jobs", .sources = sources, .open = strays_open, .work = work, .close = strays_close,
};
