// SPDX-License-Identifier: Apache-2.0
// The files of one container instance's log; see cri_log_files.h.
#include "cri_log_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"

static char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *format(const char *fmt, ...)
{
	va_list ap;
	char *s;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

char *cri_log_path(const char *dir, unsigned instance) { return format("%s/%u.log", dir, instance); }
char *cri_log_state_path(const char *dir, unsigned instance) { return format("%s/.%u.state", dir, instance); }

char *cri_log_rotated_path(const char *dir, unsigned instance, uint64_t real_ns)
{
	time_t s = (time_t)(real_ns / NS_PER_S);
	struct tm tm;
	char time[32];
	gmtime_r(&s, &tm);
	strftime(time, sizeof(time), "%Y%m%d-%H%M%S", &tm);
	return format("%s/%u.log.%s.%09u", dir, instance, time, (unsigned)(real_ns % NS_PER_S));
}

void cri_log_list_free(char **paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(paths[i]);
	free(paths);
}

/* Older ones by name; the current one ("N.log", a prefix of the others) last. */
static int by_age(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t lx = strlen(x), ly = strlen(y);
	if (lx != ly && !strncmp(x, y, lx < ly ? lx : ly))
		return lx < ly ? 1 : -1;
	return strcmp(x, y);
}

int cri_log_list(const char *dir, unsigned instance, char ***paths, size_t *count)
{
	char name[32];
	int name_len = snprintf(name, sizeof(name), "%u.log", instance);
	own_dir DIR *d = opendir(dir);
	if (!d)
		return -errno;
	char **list = NULL;
	size_t n = 0;
	for (struct dirent *f; (f = readdir(d));) {
		char end = '\0';
		if (!strncmp(f->d_name, name, (size_t)name_len))
			end = f->d_name[name_len];
		else
			continue;
		if (end && end != '.')
			continue;
		char **more = realloc(list, (n + 1) * sizeof(*list));
		if (more)
			list = more;
		if (!more || !(list[n] = format("%s/%s", dir, f->d_name))) {
			cri_log_list_free(list, n);
			return -ENOMEM;
		}
		n++;
	}
	if (!n)
		return -ENOENT;
	qsort(list, n, sizeof(*list), by_age);
	*paths = list;
	*count = n;
	return 0;
}

void cri_log_prune(const char *dir, unsigned instance, unsigned keep)
{
	char **paths;
	size_t count;
	if (cri_log_list(dir, instance, &paths, &count))
		return;
	for (size_t i = 0; i + 1 + keep < count; i++)   // the last one is the current one
		unlink(paths[i]);
	cri_log_list_free(paths, count);
}
