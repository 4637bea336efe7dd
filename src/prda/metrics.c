// SPDX-License-Identifier: Apache-2.0
// Making metrics; metrics_view.c reads them.
#include "metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/host_pid.h"
#include "base/log.h"
#include "base/own.h"
#include "metrics_name.h"

struct metrics {
	char *link;
};

/* Counts for metrics that could not be made; nobody reads it. */
PRDA_DEFINE(metrics_histogram, spare);

static int link_region(const char *dir, const struct metrics_source *s, char **link, struct err *e)
{
	char file[METRICS_FILE_MAX], target[64];
	own_free char *path = NULL;
	if (metrics_source_write(s, file) < 0)
		return err_set(e, EINVAL, "metrics of program '%s', VM '%s': a program is 1 to 31 letters, digits and '-', a VM "
			"namespace/pod", s->program, s->vm);
	int rc = dir_make(dir, 0755, e);
	if (rc < 0)
		return rc;
	if (asprintf(&path, "%s/%s", dir, file) < 0) {
		path = NULL;
		return err_set(e, ENOMEM, "no memory for a path");
	}
	metrics_forget(dir, s->pid, NULL);   // of processes that had this number before
	rc = prda_region_share(prda_process_region(), s->program, e);
	if (rc < 0)
		return rc;
	snprintf(target, sizeof(target), "/proc/%u/fd/%d", s->pid, prda_region_fd(prda_process_region()));
	if (symlink(target, path) < 0)
		return err_sys(e, errno, "link the metrics as %s", path);
	*link = take(path);
	return 0;
}

int metrics_open(const char *dir, const char *program, const char *vm, struct metrics **out, struct err *e)
{
	struct metrics_source s = { .pid = (uint32_t)host_pid_self() };
	if (strlen(program) >= sizeof(s.program) || (vm && strlen(vm) >= sizeof(s.vm)))
		return err_set(e, EINVAL, "metrics of program '%.40s', VM '%.200s': the name is too long", program, vm ? vm : "");
	strcpy(s.program, program);
	strcpy(s.vm, vm ? vm : "");
	struct metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, ENOMEM, "no memory for metrics");
	int rc = dir ? link_region(dir, &s, &m->link, e) : 0;
	if (rc < 0)
		free(m);
	else
		*out = m;
	return rc;
}

int metrics_assign(const char *dir, const char *program, uint32_t pid, const char *vm)
{
	struct metrics_source s = { .pid = pid };
	char from[METRICS_FILE_MAX], to[METRICS_FILE_MAX];
	own_free char *old = NULL, *new = NULL;
	if (strlen(program) >= sizeof(s.program) || strlen(vm) >= sizeof(s.vm))
		return -EINVAL;
	strcpy(s.program, program);
	int rc = metrics_source_write(&s, from);
	strcpy(s.vm, vm);
	if (rc >= 0)
		rc = metrics_source_write(&s, to);
	if (rc < 0)
		return rc;
	if (asprintf(&old, "%s/%s", dir, from) < 0 || asprintf(&new, "%s/%s", dir, to) < 0)
		return -ENOMEM;
	return rename(old, new) < 0 ? -errno : 0;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	if (m->link)
		unlink(m->link);
	free(m->link);
	free(m);
}

static void warn(const char *name, const char *why)
{
	static atomic_flag warned = ATOMIC_FLAG_INIT;
	if (!atomic_flag_test_and_set(&warned))
		log_warn("metrics", "metric '%s' is not counted: %s", name, why);
}

static bool good(const char *name, const char *labels)
{
	if (metrics_name_good(name) && metrics_labels_good(labels ? labels : ""))
		return true;
	warn(name, "name or labels are not as they should be");
	return false;
}

static prda_u64 number(const struct prda_about *about)
{
	struct err e = ERR_INIT;
	prda_u64 a;
	if (!good(about->name, about->labels))
		return prda_member(prda_u64, spare, sum);
	if (prda_alloc_about(prda_process_region(), &a, about, &e) < 0) {
		warn(about->name, e.text);
		return prda_member(prda_u64, spare, sum);
	}
	return a;
}

prda_u64 metrics_counter(const char *name, const char *labels, const char *help)
{
	return number(&(struct prda_about){ .name = name, .labels = labels, .help = help, .kind = PRDA_COUNTER });
}

prda_u64 metrics_gauge(const char *name, const char *labels, const char *help)
{
	return number(&(struct prda_about){ .name = name, .labels = labels, .help = help, .kind = PRDA_GAUGE });
}

metrics_histogram metrics_histogram_new(const char *name, const char *labels, const char *help)
{
	const struct prda_about about = { .name = name, .labels = labels, .help = help, .kind = PRDA_HISTOGRAM };
	struct err e = ERR_INIT;
	metrics_histogram h;
	if (!good(name, labels))
		return spare;
	if (prda_alloc_about(prda_process_region(), &h, &about, &e) < 0) {
		warn(name, e.text);
		return spare;
	}
	return h;
}

void metrics_remove_(uintptr_t alias)
{
	if (alias != prda_number(spare))   // which is its first member's, too
		prda_free_(alias);
}

void metrics_gauge_set(prda_u64 gauge, int64_t v)
{
	/* All of it in slot 0, which no section touches: nobody adds. */
	__atomic_store_n(prda_at(gauge, 0), (uint64_t)v, __ATOMIC_RELEASE);
}

int metrics_label(struct buf *labels, const char *key, const char *value)
{
	int rc = buf_printf(labels, "%s%s=\"", labels->len ? "," : "", key);
	for (const char *p = value; rc == 0 && *p; p++) {
		if (*p == '\n')
			rc = buf_puts(labels, "\\n");
		else if (*p == '"' || *p == '\\')
			rc = buf_printf(labels, "\\%c", *p);
		else
			rc = buf_append(labels, p, 1);
	}
	return rc ? rc : buf_puts(labels, "\"");
}
