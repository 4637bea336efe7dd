// SPDX-License-Identifier: Apache-2.0
// Templates for the operator: `bulkhead template`; see template.h.
#include "template_internal.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/jpath.h"
#include "base/log.h"
#include "waiting.h"

static json_t *row(const struct template *t)
{
	const char *state = t->stale ? "Stale" : t->busy && t->stored ? "Reading" : t->busy ? "Building" : t->stored ? "Ready" :
			    *t->why ? "Failed" : t->wanted ? "Wanted" : "Absent";
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:I, s:I, s:I, s:i, s:I, s:b, s:i, s:I, s:s}", "name", template_name(t), "key", t->key,
			 "state", state, "engine", t->all->host->engine, "vcpus", (int)t->vcpus, "memoryMiB", (int)t->memory_mib, "made", t->made,
			 "usedBytes", (json_int_t)t->used_bytes, "distinctBytes", (json_int_t)t->distinct_bytes, "fileBytes",
			 (json_int_t)t->file_bytes, "samples", (int)t->set.samples, "workingSetBytes",
			 (json_int_t)template_set_count(&t->set) * 4096, "loaded", t->memory >= 0, "users", (int)t->users, "clones", (json_int_t)t->clones, "error",
			 t->why);
}

json_t *templates_list(struct templates *ts)
{
	json_t *list = json_array(), *item;
	size_t i;
	if (!ts)
		return list;
	pthread_mutex_lock(&ts->lock);
	for (struct template *t = ts->list; t; t = t->next)
		json_array_append_new(list, row(t));
	pthread_mutex_unlock(&ts->lock);
	json_array_foreach(list, i, item)
		json_object_set_new(item, "waiting", json_integer(waiting_count(ts->host->waiting, jpath_str(item, "name", ""))));
	return list;
}

int templates_build(struct templates *ts, unsigned vcpus, unsigned memory_mib, template_progress_fn *progress, void *user, json_t **out,
		    struct err *e)
{
	if (!ts)
		return err_set(e, ENOTSUP, "this host makes no templates: hostd runs with --templates off");
	pthread_mutex_lock(&ts->lock);
	struct template *t = templates_get(ts, vcpus, templates_memory_class(memory_mib, UINT32_MAX), e);
	if (t)
		t->users++;
	while (t && t->busy && !ts->quit)
		pthread_cond_wait(&ts->changed, &ts->lock);
	int rc = !t ? -e->code : t->stored ? 0 : template_make(t, progress, user, e);
	if (!rc && t->memory < 0) {
		t->last_used_ns = clock_mono_ns();
		rc = template_load(t) ? 0 : err_set(e, EBADMSG, "what was stored cannot be read: see hostd's log");
	}
	if (!rc)
		*out = row(t);
	if (t)
		t->users--;
	pthread_cond_broadcast(&ts->changed);
	pthread_mutex_unlock(&ts->lock);
	return rc;
}

int templates_remove(struct templates *ts, const char *name, struct err *e)
{
	bool all = !strcmp(name, "all"), any = all;
	if (!ts)
		return err_set(e, ENOENT, "there is no template '%s'", name);
	pthread_mutex_lock(&ts->lock);
	for (struct template *t = ts->list, *next; t; t = next) {
		next = t->next;
		if (!all && (strlen(name) < 4 || strncmp(t->key, name, strlen(name))))
			continue;
		any = true;
		if (t->busy)
			continue;
		template_remove_folder(ts, t);
		if (!t->users)
			template_unlist(t);
	}
	pthread_mutex_unlock(&ts->lock);
	return any ? 0 : err_set(e, ENOENT, "there is no template '%s'", name);
}
