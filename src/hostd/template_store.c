// SPDX-License-Identifier: Apache-2.0
// Templates on disk: reading what is stored, and making what is not; see template_internal.h.
#include "template_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "pods.h"
#include "template_build.h"
#include "template_link.h"

// ---- reading; t is busy, the lock is not held

/* name: the key, or its first TEMPLATE_NAME_LEN characters. */
int templates_describe(const struct templates *ts, const char *name, json_t **out, struct err *e)
{
	own_free char *dir = templates_folder(ts, name), *path = NULL;
	own_buf struct buf text = BUF_INIT;
	if (!dir || asprintf(&path, "%s/template.json", dir) < 0)
		return err_sys(e, ENOMEM, "read a template");
	int rc = file_read(path, 65536, &text, e);
	if (rc)
		return rc;
	own_json json_t *o = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
	if (jpath_int(o, "version", 0) != 1 || strlen(jpath_str(o, "key", "")) != DIGEST_MAX - 1 ||
	    strncmp(jpath_str(o, "key", ""), name, strlen(name)))
		return err_set(e, EBADMSG, "%s does not describe this template", path);
	*out = json_incref(o);
	return 0;
}

static int read_files(const struct templates *ts, const struct template *t, int *state, int *memory, char digest[DIGEST_MAX],
		      struct template_set *set, struct err *e)
{
	own_free char *dir = templates_folder(ts, t->key), *state_path = NULL, *memory_path = NULL, *set_path = NULL;
	uint64_t bytes = (uint64_t)t->memory_mib << 20;
	own_json json_t *o = NULL;
	int rc = templates_describe(ts, t->key, &o, e);
	if (rc)
		return rc;
	if (!dir || asprintf(&state_path, "%s/state", dir) < 0 || asprintf(&memory_path, "%s/memory", dir) < 0 ||
	    asprintf(&set_path, "%s/" TEMPLATE_SET_FILE, dir) < 0)
		return err_sys(e, ENOMEM, "read a template");
	own_fd int s = template_file_read(state_path, jpath_str(o, "stateSHA256", ""), e);
	if (s < 0)
		return s;
	snprintf(digest, DIGEST_MAX, "%s", jpath_str(o, "memorySHA256", ""));
	int m = template_memory(memory_path, digest, bytes, e);
	if (m < 0)
		return m;
	template_set_read(set, set_path, bytes / 4096, m);
	*state = take_fd(s);
	*memory = m;
	return 0;
}

/* The lock is held before and after. True: its memory is there. */
bool template_load(struct template *t)
{
	struct templates *ts = t->all;
	struct err e = ERR_INIT;
	int state = -1, memory = -1;
	char digest[DIGEST_MAX] = "";
	struct template_set set = TEMPLATE_SET_INIT;
	uint64_t began = clock_mono_ns();
	t->busy = true;
	pthread_mutex_unlock(&ts->lock);
	int rc = read_files(ts, t, &state, &memory, digest, &set, &e);
	pthread_mutex_lock(&ts->lock);
	t->busy = false;
	t->state = state;
	t->memory = memory;
	t->set = set;
	memcpy(t->digest, digest, sizeof(digest));
	if (rc) {
		log_warn("template", "refused and removed name=%s: %s", template_name(t), e.text);
		template_remove_folder(ts, t);
		t->wanted = true;
	} else {
		log_info("template", "read name=%s ms=%llu", template_name(t), (unsigned long long)((clock_mono_ns() - began) / NS_PER_MS));
	}
	templates_say(ts);
	return !rc;
}

// ---- building

static void no_progress(void *user, const char *stage) { (void)user, (void)stage; }

void template_describe(struct template *t, const json_t *o)
{
	snprintf(t->made, sizeof(t->made), "%s", jpath_str(o, "made", ""));
	t->used_bytes = (uint64_t)jpath_int(o, "usedBytes", 0);
	t->distinct_bytes = (uint64_t)jpath_int(o, "distinctBytes", 0);
	t->file_bytes = (uint64_t)jpath_int(o, "fileBytes", 0);
}

static int make(struct templates *ts, const struct template *t, template_progress_fn *progress, void *user, json_t **description,
		struct err *e)
{
	own_free char *dir = templates_folder(ts, t->key), *work = NULL;
	struct template_wish w = {.vcpus = t->vcpus, .memory_mib = t->memory_mib, .key = t->key, .inputs = t->key};
	unsigned number = pods_number_take(ts->host->pods);
	if (!number)
		return err_set(e, ENOSPC, "no VM number left on this host");
	w.number = number;
	int rc = dir && asprintf(&work, "%s/.new-%.*s", ts->dir, TEMPLATE_NAME_LEN, t->key) >= 0 ? dir_remove(work, e) : err_sys(e, ENOMEM, "make a template");
	if (!rc)
		rc = template_build(ts->host, &w, work, &ts->quit, progress, user, e);
	if (!rc)
		rc = dir_remove(dir, e);
	if (!rc && rename(work, dir))
		rc = err_sys(e, errno, "name the template's folder");
	if (rc && work)
		dir_remove(work, NULL);
	pods_number_drop(ts->host->pods, number);
	return rc ? rc : templates_describe(ts, t->key, description, e);
}

/* The lock is held before and after. */
int template_make(struct template *t, template_progress_fn *progress, void *user, struct err *e)
{
	struct templates *ts = t->all;
	own_json json_t *description = NULL;
	uint64_t began = clock_mono_ns();
	t->busy = true;
	t->wanted = false;
	pthread_mutex_unlock(&ts->lock);
	int rc = make(ts, t, progress ? progress : no_progress, user, &description, e);
	pthread_mutex_lock(&ts->lock);
	t->busy = false;
	t->stored = !rc;
	t->failures = 0;
	t->why[0] = '\0';
	if (rc) {
		snprintf(t->why, sizeof(t->why), "%s", e->text);
		t->retry_ns = clock_mono_ns() + TEMPLATE_RETRY_NS;
		log_warn("template", "not made vcpus=%u memory_mib=%u: %s", t->vcpus, t->memory_mib, e->text);
	} else {
		template_describe(t, description);
		templates_retire_others(ts, t);
		log_info("template", "made name=%s vcpus=%u memory_mib=%u ms=%llu", template_name(t), t->vcpus, t->memory_mib,
			 (unsigned long long)((clock_mono_ns() - began) / NS_PER_MS));
	}
	templates_say(ts);
	return rc;
}
