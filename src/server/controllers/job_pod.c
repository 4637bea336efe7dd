// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/job_pod.h"

#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "server/controllers/pod_info.h"
#include "server/controllers/propagation.h"

#define INDEX "batch.kubernetes.io/job-completion-index"
#define INDEX_FAILURES "batch.kubernetes.io/job-index-failure-count"

static void add_index_env(json_t *containers)
{
	json_t *c, *v, *env;
	size_t i, k;

	json_array_foreach(containers, i, c) {
		bool there = false;
		if (!json_is_array(json_object_get(c, "env")))
			json_object_set_new(c, "env", json_array());
		env = json_object_get(c, "env");
		json_array_foreach(env, k, v)
			there |= !strcmp(jpath_str(v, "name", ""), "JOB_COMPLETION_INDEX");
		if (!there)
			json_array_append_new(env, json_pack("{s:s,s:{s:{s:s}}}", "name", "JOB_COMPLETION_INDEX", "valueFrom", "fieldRef",
							     "fieldPath", "metadata.annotations['" INDEX "']"));
	}
}

static void put_meta(json_t *pod, const char *map, const char *key, const char *value)
{
	json_t *meta = json_object_get(pod, "metadata");

	if (!json_is_object(json_object_get(meta, map)))
		json_object_set_new(meta, map, json_object());
	json_object_set_new(json_object_get(meta, map), key, json_string(value));
}

static void put_number(json_t *pod, const char *map, const char *key, long n)
{
	char text[24];

	snprintf(text, sizeof text, "%ld", n);
	put_meta(pod, map, key, text);
}

json_t *job_pod(const json_t *job, long index, long failures)
{
	json_t *pod = pod_from_template(jpath_get(job, "spec.template"), job);
	const char *name = jpath_str(job, "metadata.name", "");
	char base[300];

	finalizer_add(pod, JOB_FINALIZER);
	snprintf(base, sizeof base, "%s-", name);
	if (index >= 0) {
		put_number(pod, "annotations", INDEX, index);
		put_number(pod, "labels", INDEX, index);
		if (failures >= 0)
			put_number(pod, "annotations", INDEX_FAILURES, failures);
		add_index_env(jpath_get(pod, "spec.containers"));
		add_index_env(jpath_get(pod, "spec.initContainers"));
		snprintf(base, sizeof base, "%s-%ld", name, index);
		if (!*jpath_str(pod, "spec.hostname", ""))
			jpath_set(pod, "spec.hostname", json_string(base));
		snprintf(base, sizeof base, "%s-%ld-", name, index);
	}
	jpath_set(pod, "metadata.generateName", json_string(base));
	return pod;
}
