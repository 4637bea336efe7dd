// SPDX-License-Identifier: Apache-2.0
// What a new hostd must know of a pod: ROOT/pods/<uid>/pod.json (the object) and state.json (its containers). Written
// before acting, replaced whole; what cannot be read counts as not there.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "pod.h"

static json_t *container_to_json(const struct container *c)
{
	return json_pack("{s:s, s:i, s:i, s:b, s:b, s:s, s:s*, s:s*, s:s, s:I, s:I, s:i, s:i, s:s, s:s*, s:O?, s:I, s:I, s:I, s:O?, s:s*, s:b, s:b, s:b, s:O*, s:s*, s:I, s:I, s:b, s:b}",
			 "name", c->name, "phase", (int)c->phase, "restartCount", (int)c->restart_count, "created", c->created,
			 "used", c->used, "imageSerial", c->image_serial, "imageId", c->image_id, "imageRef", c->image_ref,
			 "waitingReason", c->waiting_reason, "startedNs", (json_int_t)c->started_ns, "finishedNs",
			 (json_int_t)c->finished_ns, "exitCode", c->exit_code, "signal", c->signal, "reason", c->reason,
			 "message", c->message, "lastState", c->last_state, "backoffNs", (json_int_t)c->restart.delay_ns,
			 "backoffSinceNs", (json_int_t)c->restart.since_ns, "waitFromNs", (json_int_t)c->wait_from_ns,
			 "imageConfig", c->image_config, "waitingMessage", c->waiting_message, "ready", c->ready, "started",
			 c->started, "imageLate", c->image_late, "resources", c->resources, "imageAsked", c->image_asked,
			 "endedNs", (json_int_t)c->ended_ns, "endedBeforeNs", (json_int_t)c->ended_before_ns,
			 "again", c->again, "newSize", c->new_size);
}

static int write_json(const struct pod *p, const char *name, const json_t *j, struct err *e)
{
	own_free char *path = NULL, *text = json_dumps(j, JSON_COMPACT);
	if (!text || asprintf(&path, "%s/%s", p->dir, name) < 0)
		return err_sys(e, ENOMEM, "save pod state");
	return file_replace(path, text, strlen(text), 0600, e);
}

/* A new hostd works with it until the API answers: what has changed must not be changed back for so long. */
int pod_object_save(struct pod *p, struct err *e)
{
	json_t *spec = json_object_get(p->seen, "spec");
	bool same = json_equal(spec, p->kept_spec) && !jpath_get(p->seen, "metadata.deletionTimestamp");
	int rc = !p->seen || same ? 0 : write_json(p, "pod.json", p->seen, e);
	if (!rc && spec != p->kept_spec) {   // the newest, so that only one is in memory
		json_decref(p->kept_spec);
		p->kept_spec = json_incref(spec);
	}
	return rc;
}

int pod_state_save(struct pod *p, struct err *e)
{
	int rc = dir_make(p->dir, 0700, e);
	if (rc)
		return rc;
	own_json json_t *list = json_array(), *stages = json_object();
	for (size_t i = 0; i < p->containers_count; i++)
		json_array_append_new(list, container_to_json(&p->containers[i]));
	for (size_t i = 0; i < p->stages_count; i++)
		json_object_set_new(stages, p->stages[i].name, json_integer((json_int_t)p->stages[i].ns));
	own_json json_t *state = json_pack("{s:i, s:s, s:s, s:s*, s:I, s:i, s:i, s:s, s:b, s:o, s:O?, s:O, s:O, s:b}", "version", 1, "phase", p->phase,
					   "reason", p->reason, "message", p->message, "startNs", (json_int_t)p->start_ns,
					   "vmNumber", (int)p->vm_number, "vmGeneration", (int)p->vm_generation, "podIP", p->pod_ip,
					   "volumesWritten", p->volumes_written, "claims", pod_claims_to_json(p),
					   "reported", p->reported, "containers", list, "stages", stages, "static", p->is_static);
	rc = write_json(p, "state.json", state, e);
	return rc ? rc : pod_object_save(p, e);
}

/* A hostd that did not note by its own clock when containers ended: the guest's is the best that is known. */
static void ends_from_json(struct container *c, const json_t *j)
{
	uint64_t before = 0;
	clock_parse(jpath_str(c->last_state, "terminated.finishedAt", ""), &before);
	c->ended_ns = (uint64_t)jpath_int(j, "endedNs", (json_int_t)c->finished_ns);
	c->ended_before_ns = (uint64_t)jpath_int(j, "endedBeforeNs", (json_int_t)before);
}

static void container_from_json(struct container *c, const json_t *j)
{
	snprintf(c->name, sizeof(c->name), "%s", jpath_str(j, "name", ""));
	c->phase = (enum container_phase)jpath_int(j, "phase", 0);
	c->restart_count = (unsigned)jpath_int(j, "restartCount", 0);
	c->created = jpath_bool(j, "created", false);
	c->used = jpath_bool(j, "used", false);
	snprintf(c->image_serial, sizeof(c->image_serial), "%s", jpath_str(j, "imageSerial", ""));
	c->image_id = jpath_str(j, "imageId", NULL) ? strdup(jpath_str(j, "imageId", "")) : NULL;
	c->image_ref = jpath_str(j, "imageRef", NULL) ? strdup(jpath_str(j, "imageRef", "")) : NULL;
	c->image_asked = jpath_str(j, "imageAsked", NULL) ? strdup(jpath_str(j, "imageAsked", "")) : NULL;
	json_t *config = json_object_get(j, "imageConfig"), *last = json_object_get(j, "lastState");
	c->image_config = json_is_object(config) ? json_incref(config) : NULL;
	c->last_state = json_is_object(last) ? json_incref(last) : NULL;
	snprintf(c->waiting_reason, sizeof(c->waiting_reason), "%s", jpath_str(j, "waitingReason", "ContainerCreating"));
	c->waiting_message = jpath_str(j, "waitingMessage", NULL) ? strdup(jpath_str(j, "waitingMessage", "")) : NULL;
	c->started_ns = (uint64_t)jpath_int(j, "startedNs", 0);
	c->finished_ns = (uint64_t)jpath_int(j, "finishedNs", 0);
	ends_from_json(c, j);
	c->exit_code = (int)jpath_int(j, "exitCode", 0);
	c->signal = (int)jpath_int(j, "signal", 0);
	snprintf(c->reason, sizeof(c->reason), "%s", jpath_str(j, "reason", ""));
	c->message = jpath_str(j, "message", NULL) ? strdup(jpath_str(j, "message", "")) : NULL;
	c->resources = json_incref(json_object_get(j, "resources"));
	c->image_late = jpath_bool(j, "imageLate", false);
	c->restart = (struct backoff){(uint64_t)jpath_int(j, "backoffNs", 0), (uint64_t)jpath_int(j, "backoffSinceNs", 0)};
	c->again = jpath_bool(j, "again", false);
	c->new_size = jpath_bool(j, "newSize", false);
	c->wait_from_ns = (uint64_t)jpath_int(j, "waitFromNs", (json_int_t)c->ended_ns);
	c->started = c->probe_started = jpath_bool(j, "started", false);
	c->ready = c->probe_ready = jpath_bool(j, "ready", false);
}

/* A hostd that did not note what its containers' images were asked for by: the object of its time says it. */
static void images_asked(struct pod *p)
{
	own_free char *path = NULL;
	own_json json_t *kept = NULL;
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (!c->image_id || c->image_asked)
			continue;
		if (!path && asprintf(&path, "%s/pod.json", p->dir) < 0) {
			path = NULL;
			return;
		}
		if (!kept)
			kept = json_load_file(path, 0, NULL);
		const char *image = jpath_str(pod_spec_of(kept, c->name), "image", c->image_ref);
		c->image_asked = image ? strdup(image) : NULL;
	}
}

int pod_state_load(struct pod *p)
{
	own_free char *path = NULL;
	own_buf struct buf text = BUF_INIT;
	if (asprintf(&path, "%s/state.json", p->dir) < 0 || file_read(path, 16 << 20, &text, NULL))
		return -ENOENT;
	own_json json_t *j = json_loadb(text.data, text.len, 0, NULL);
	if (jpath_int(j, "version", 0) != 1)
		return -ENOENT;
	json_t *list = json_object_get(j, "containers"), *item;
	size_t i;
	const char *name;
	p->containers = calloc(json_array_size(list) + 1, sizeof(*p->containers));
	if (!p->containers)
		return -ENOMEM;
	json_array_foreach(list, i, item)
		container_from_json(&p->containers[p->containers_count++], item);
	images_asked(p);
	json_object_foreach(json_object_get(j, "stages"), name, item)
		pod_stage_set(p, name, (uint64_t)json_integer_value(item));
	p->is_static |= jpath_bool(j, "static", false);
	const char *phase = jpath_str(j, "phase", "Pending");
	snprintf(p->phase, sizeof(p->phase), "%s", phase);
	snprintf(p->reason, sizeof(p->reason), "%s", jpath_str(j, "reason", ""));
	snprintf(p->pod_ip, sizeof(p->pod_ip), "%s", jpath_str(j, "podIP", ""));
	p->message = jpath_str(j, "message", NULL) ? strdup(jpath_str(j, "message", "")) : NULL;
	p->start_ns = (uint64_t)jpath_int(j, "startNs", (json_int_t)p->start_ns);
	p->vm_number = (unsigned)jpath_int(j, "vmNumber", 0);
	p->volumes_written = jpath_bool(j, "volumesWritten", false);
	p->vm_generation = (unsigned)jpath_int(j, "vmGeneration", 0);
	pod_claims_from_json(p, json_object_get(j, "claims"));
	json_t *reported = json_object_get(j, "reported");
	p->reported = json_is_object(reported) ? json_incref(reported) : NULL;
	return 0;
}
