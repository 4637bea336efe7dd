// SPDX-License-Identifier: Apache-2.0
#include "metrics_view.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/own.h"
#include "metrics.h"

#define REGIONS_MAX 16384

struct mapped {
	struct metrics_source source;
	struct prda_reader *reader;
	bool seen;
};

struct metrics_view {
	char *dir;
	struct mapped *region;
	size_t n, cap, refused;
	char refusal[ERR_TEXT_MAX];
};

struct metrics_view *metrics_view_new(const char *dir)
{
	struct metrics_view *v = calloc(1, sizeof(*v));
	if (v && !(v->dir = strdup(dir))) {
		free(v);
		return NULL;
	}
	return v;
}

void metrics_view_free(struct metrics_view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++)
		prda_reader_close(v->region[i].reader);
	free(v->region);
	free(v->dir);
	free(v);
}

/* Is the link older than what it leads to? Then that is of another process, which has the number now. */
static bool outlived(const struct prda_reader *r, const struct stat *link)
{
	struct prda_reader_info info;
	prda_reader_info(r, &info);
	uint64_t made = (uint64_t)link->st_mtim.tv_sec * NS_PER_S + (uint64_t)link->st_mtim.tv_nsec;
	return info.start_ns > made + NS_PER_S;
}

/* Returns 0 and *r; -ESRCH: the link's process is gone; another -errno. A process may have replaced what its descriptor
 * leads to by anything; only what cannot be cut short is mapped. */
static int region_open(int dir, const char *file, struct prda_reader **r, struct err *e)
{
	struct stat st;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
		return err_set(e, EINVAL, "%s is not a link to a region", file);
	own_fd int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return -ESRCH;
	if (fd < 0)
		return err_sys(e, errno, "%s", file);
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -ESRCH;
	int rc = prda_reader_open_fd(fd, r, e);
	if (rc < 0)
		return err_wrap(e, "%s", file);
	if (prda_reader_alive(*r) && !outlived(*r, &st))
		return 0;
	prda_reader_close(take(*r));
	return -ESRCH;
}

static struct mapped *region_find(struct metrics_view *v, const struct metrics_source *s)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->region[i].source.pid == s->pid && !strcmp(v->region[i].source.program, s->program)
				&& !strcmp(v->region[i].source.vm, s->vm))
			return &v->region[i];
	return NULL;
}

static int region_add(struct metrics_view *v, const struct metrics_source *s, struct prda_reader *r)
{
	if (v->n == v->cap) {
		size_t cap = v->cap ? 2 * v->cap : 16;
		struct mapped *region = v->n < REGIONS_MAX ? realloc(v->region, cap * sizeof(*region)) : NULL;
		if (!region)
			return -ENOMEM;
		v->region = region;
		v->cap = cap;
	}
	v->region[v->n++] = (struct mapped){ .source = *s, .reader = r, .seen = true };
	return 0;
}

static int look_at(struct metrics_view *v, int dir, const char *file, const struct metrics_source *s, struct err *e)
{
	struct mapped *known = region_find(v, s);
	struct prda_reader *r = NULL;
	struct err why = ERR_INIT;
	int rc = 0;
	if (known && prda_reader_alive(known->reader)) {
		known->seen = true;
		return 0;
	}
	rc = known ? -ESRCH : region_open(dir, file, &r, &why);
	if (rc == -ESRCH) {
		unlinkat(dir, file, 0);
		return 0;
	}
	if (rc < 0) {
		v->refused++;
		memcpy(v->refusal, why.text, sizeof(v->refusal));
		return 0;
	}
	rc = region_add(v, s, r);
	if (rc < 0) {
		prda_reader_close(r);
		return err_set(e, -rc, "no memory for the %zu regions in %s", v->n, v->dir);
	}
	return 0;
}

static void drop_unseen(struct metrics_view *v)
{
	size_t kept = 0;
	for (size_t i = 0; i < v->n; i++) {
		if (v->region[i].seen)
			v->region[kept++] = v->region[i];
		else
			prda_reader_close(v->region[i].reader);
	}
	v->n = kept;
}

int metrics_view_refresh(struct metrics_view *v, struct err *e)
{
	own_dir DIR *d = opendir(v->dir);
	if (!d)
		return err_sys(e, errno, "open %s", v->dir);
	for (size_t i = 0; i < v->n; i++)
		v->region[i].seen = false;
	v->refused = 0;
	v->refusal[0] = '\0';
	struct dirent *entry;
	int rc = 0;
	while (rc == 0 && (entry = readdir(d))) {
		struct metrics_source s;
		if (metrics_source_read(entry->d_name, &s))
			rc = look_at(v, dirfd(d), entry->d_name, &s, e);
	}
	if (rc == 0)
		drop_unseen(v);
	return rc;
}

size_t metrics_view_regions(const struct metrics_view *v) { return v->n; }
size_t metrics_view_refused(const struct metrics_view *v) { return v->refused; }
const char *metrics_view_refusal(const struct metrics_view *v) { return v->refusal; }

void metrics_view_read(const struct metrics_view *v, metrics_read_fn *fn, void *user)
{
	for (size_t i = 0; i < v->n; i++) {
		struct prda_variable m;
		for (uint32_t cursor = 0; prda_reader_next(v->region[i].reader, &cursor, &m);) {
			size_t size = m.kind == PRDA_HISTOGRAM ? sizeof(struct metrics_histogram_) : sizeof(uint64_t);
			if (m.kind != PRDA_PLAIN && m.size >= size && metrics_name_good(m.name) && metrics_labels_good(m.labels))
				fn(user, &v->region[i].source, v->region[i].reader, &m);
		}
	}
}

void metrics_forget(const char *dir, uint32_t pid, const char *vm)
{
	own_dir DIR *d = opendir(dir);
	struct dirent *entry;
	while (d && (entry = readdir(d))) {
		struct metrics_source s;
		if (metrics_source_read(entry->d_name, &s) && (s.pid == pid || (vm && !strcmp(s.vm, vm))))
			unlinkat(dirfd(d), entry->d_name, 0);
	}
}
