// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/pod_info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "server/controllers/owner.h"
#include "server/controllers/propagation.h"
#include "server/meta.h"

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"

static enum pod_phase parse_phase(const char *text)
{
	static const char *const names[] = { "Pending", "Running", "Succeeded", "Failed" };

	for (int i = 0; i < 4; i++)
		if (!strcmp(text, names[i]))
			return (enum pod_phase)i;
	return *text ? POD_UNKNOWN : POD_PENDING;
}

static void read_ready(struct pod_info *p, const json_t *pod)
{
	json_t *c;
	size_t i;

	json_array_foreach(jpath_get(pod, "status.conditions"), i, c) {
		if (strcmp(jpath_str(c, "type", ""), "Ready"))
			continue;
		p->ready = !strcmp(jpath_str(c, "status", ""), "True");
		if (p->ready)
			clock_parse(jpath_str(c, "lastTransitionTime", ""), &p->ready_ns);
	}
}

static void read_containers(struct pod_info *p, const json_t *pod)
{
	uint64_t at;
	json_t *c;
	size_t i;

	json_array_foreach(jpath_get(pod, "status.containerStatuses"), i, c) {
		p->restarts += jpath_int(c, "restartCount", 0);
		if (!clock_parse(jpath_str(c, "state.terminated.finishedAt", ""), &at) && at > p->finished_ns)
			p->finished_ns = at;
	}
}

static const char *text_of(const json_t *map, const char *key)
{
	const char *text = json_string_value(json_object_get(map, key));

	return text ? text : "";
}

/* -1: not a number. */
static long number_of(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text && !*end && n >= 0 ? n : -1;
}

int pod_info_init(struct pod_info *p, const json_t *pod)
{
	const json_t *labels = jpath_get(pod, "metadata.labels"), *annotations = jpath_get(pod, "metadata.annotations");
	const char *revision = text_of(labels, "controller-revision-hash");
	const char *index = text_of(annotations, "batch.kubernetes.io/job-completion-index");
	const char *failures = text_of(annotations, "batch.kubernetes.io/job-index-failure-count");

	*p = (struct pod_info){ .index = -1 };
	p->name = strdup(jpath_str(pod, "metadata.name", ""));
	p->uid = strdup(jpath_str(pod, "metadata.uid", ""));
	p->node = strdup(jpath_str(pod, "spec.nodeName", ""));
	p->revision = strdup(*revision ? revision : text_of(labels, "pod-template-hash"));
	if (!p->name || !p->uid || !p->node || !p->revision) {
		pod_info_fini(p);
		return -ENOMEM;
	}
	p->phase = parse_phase(jpath_str(pod, "status.phase", ""));
	p->deleting = meta_is_deleting(pod);
	p->tracked = finalizer_has(pod, JOB_FINALIZER);
	p->killed = p->deleting && !jpath_int(pod, "metadata.deletionGracePeriodSeconds", 1);
	p->index = number_of(index);
	p->index_failures = number_of(failures) > 0 ? number_of(failures) : 0;
	clock_parse(jpath_str(pod, "metadata.creationTimestamp", ""), &p->created_ns);
	read_ready(p, pod);
	read_containers(p, pod);
	return 0;
}

void pod_info_fini(struct pod_info *p)
{
	free(p->name);
	free(p->uid);
	free(p->node);
	free(p->revision);
	*p = (struct pod_info){ 0 };
}

bool pod_is_available(const struct pod_info *p, long long min_ready_s, uint64_t now, uint64_t *next)
{
	uint64_t at = p->ready_ns + (min_ready_s > 0 ? (uint64_t)min_ready_s * NS_PER_S : 0);

	if (!p->ready)
		return false;
	if (min_ready_s <= 0 || at <= now)
		return true;
	if (next && at < *next)
		*next = at;
	return false;
}

/* Of two moments the later first; 0 (unknown) before all. */
static int later_first(uint64_t a, uint64_t b)
{
	if (a == b)
		return 0;
	if (!a || !b)
		return a ? 1 : -1;
	return a > b ? -1 : 1;
}

static int phase_rank(enum pod_phase phase)
{
	return phase == POD_PENDING ? 0 : phase == POD_UNKNOWN ? 1 : 2;
}

int pod_compare_missed(const void *va, const void *vb)
{
	const struct pod_info *a = *(struct pod_info *const *)va, *b = *(struct pod_info *const *)vb;
	int c;

	if (!*a->node != !*b->node)
		return *a->node ? 1 : -1;
	c = phase_rank(a->phase) - phase_rank(b->phase);
	if (c)
		return c;
	if (a->ready != b->ready)
		return a->ready ? 1 : -1;
	if (a->ready && (c = later_first(a->ready_ns, b->ready_ns)))
		return c;
	if (a->restarts != b->restarts)
		return a->restarts > b->restarts ? -1 : 1;
	c = later_first(a->created_ns, b->created_ns);
	return c ? c : strcmp(a->name, b->name);
}

json_t *pod_from_template(const json_t *template_, const json_t *owner)
{
	json_t *pod = json_pack("{s:s,s:s,s:{}}", "apiVersion", "v1", "kind", "Pod", "metadata");
	static const char *const copied[] = { "labels", "annotations", "finalizers" };
	json_t *meta = json_object_get(pod, "metadata"), *spec = json_object_get(template_, "spec"), *part;

	for (int i = 0; i < 3; i++) {
		part = json_object_get(json_object_get(template_, "metadata"), copied[i]);
		if (part)
			json_object_set_new(meta, copied[i], json_deep_copy(part));
	}
	json_object_set_new(pod, "spec", spec ? json_deep_copy(spec) : json_object());
	owner_add(pod, owner);
	return pod;
}
