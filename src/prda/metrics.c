// SPDX-License-Identifier: Apache-2.0
// Making metrics; metrics_text.c reads them.
#include "metrics.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "metrics_name.h"

struct metrics {
	struct prda_region *region;
	metrics_histogram spare;   // counts for metrics that could not be made; has no name
	bool warned;
};

static bool program_good(const char *program)
{
	size_t n = strspn(program, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
	return n > 0 && n < 32 && program[n] == '\0';
}

/* Takes over region. */
static int metrics_make(struct prda_region *region, struct metrics **out, struct err *e)
{
	struct metrics *m = calloc(1, sizeof(*m));
	int rc = m ? prda_alloc(region, &m->spare, NULL, e) : err_set(e, ENOMEM, "no memory for metrics");
	if (rc < 0) {
		free(m);
		prda_region_close(region);
		return rc;
	}
	m->region = region;
	*out = m;
	return 0;
}

int metrics_open(const char *dir, const char *program, struct metrics **out, struct err *e)
{
	if (!program_good(program))
		return err_set(e, EINVAL, "metrics program '%s': 1 to 31 letters, digits and '-'", program);
	own_free char *path = NULL;
	if (dir) {
		int rc = dir_make(dir, 0755, e);
		if (rc < 0)
			return rc;
		if (asprintf(&path, "%s/%s.%d.prda", dir, program, (int)getpid()) < 0) {
			path = NULL;
			return err_set(e, ENOMEM, "no memory for a path");
		}
		unlink(path);   // of a process that had this number before
	}
	struct prda_region *r;
	int rc = prda_region_new(&(struct prda_options){ .name = program, .path = path }, &r, e);
	return rc < 0 ? rc : metrics_make(r, out, e);
}

int metrics_attach(int fd, struct metrics **out, struct err *e)
{
	struct prda_region *r;
	int rc = prda_region_attach(fd, &r, e);
	return rc < 0 ? rc : metrics_make(r, out, e);
}

int metrics_make_fd(const char *program, struct err *e)
{
	if (!program_good(program))
		return err_set(e, EINVAL, "metrics program '%s': 1 to 31 letters, digits and '-'", program);
	struct prda_region *r;
	int rc = prda_region_new(&(struct prda_options){ .name = program, .shared = true }, &r, e);
	if (rc < 0)
		return rc;
	/* Opened anew: a duplicate would hold this process's seat, and the region would look alive for ever. */
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", prda_region_fd(r));
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fd = err_sys(e, errno, "open the metrics region of %s", program);
	prda_region_close(r);
	return fd;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	prda_free(m->spare);
	prda_region_close(m->region);
	free(m);
}

struct prda_region *metrics_region(struct metrics *m)
{
	return m->region;
}

static void warn(struct metrics *m, const char *name, const char *why)
{
	if (!m->warned)
		log_warn("metrics", "metric '%s' is not counted: %s", name, why);
	m->warned = true;
}

static bool good(struct metrics *m, const char *name, const char *labels)
{
	if (metrics_name_good(name) && metrics_labels_good(labels ? labels : ""))
		return true;
	warn(m, name, "name or labels are not as they should be");
	return false;
}

static prda_u64 number(struct metrics *m, const struct prda_about *about)
{
	struct err e = ERR_INIT;
	prda_u64 a;
	if (!good(m, about->name, about->labels))
		return prda_member(prda_u64, m->spare, sum);
	if (prda_alloc_about(m->region, &a, about, &e) < 0) {
		warn(m, about->name, e.text);
		return prda_member(prda_u64, m->spare, sum);
	}
	return a;
}

prda_u64 metrics_counter(struct metrics *m, const char *name, const char *labels, const char *help)
{
	return number(m, &(struct prda_about){ .name = name, .labels = labels, .help = help, .kind = PRDA_COUNTER });
}

prda_u64 metrics_gauge(struct metrics *m, const char *name, const char *labels, const char *help)
{
	return number(m, &(struct prda_about){ .name = name, .labels = labels, .help = help, .kind = PRDA_GAUGE });
}

metrics_histogram metrics_histogram_new(struct metrics *m, const char *name, const char *labels, const char *help)
{
	const struct prda_about about = { .name = name, .labels = labels, .help = help, .kind = PRDA_HISTOGRAM };
	struct err e = ERR_INIT;
	metrics_histogram h;
	if (!good(m, name, labels))
		return m->spare;
	if (prda_alloc_about(m->region, &h, &about, &e) < 0) {
		warn(m, name, e.text);
		return m->spare;
	}
	return h;
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
