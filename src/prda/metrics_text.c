// SPDX-License-Identifier: Apache-2.0
// Prometheus text of all regions in a folder. Source: the exposition format, version 0.0.4.
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "bulkhead/prda_reader.h"
#include "metrics.h"
#include "metrics_name.h"

/* One variable of one region, copied so that all of a name can be written together. */
struct sample {
	char *name, *labels, *help;
	enum prda_kind kind;
	uint64_t *word;   // 1, or 66 of a histogram
};

struct samples { struct sample *item; size_t n, cap; };

static bool name_start(char c) { return isalpha((unsigned char)c) || c == '_' || c == ':'; }

bool metrics_name_good(const char *name)
{
	if (!name || !name_start(*name))
		return false;
	while (name_start(*name) || isdigit((unsigned char)*name))
		name++;
	return *name == '\0';
}

/* key="value", returns what is behind it, or NULL. */
static const char *label_skip(const char *p)
{
	if (!name_start(*p) || *p == ':')
		return NULL;
	while ((name_start(*p) && *p != ':') || isdigit((unsigned char)*p))
		p++;
	if (p[0] != '=' || p[1] != '"')
		return NULL;
	for (p += 2; *p != '"'; p++) {
		if ((unsigned char)*p < ' ')
			return NULL;
		if (*p == '\\' && !strchr("\\\"n", *++p))
			return NULL;
		if (*p == '\0')
			return NULL;
	}
	return p + 1;
}

bool metrics_labels_good(const char *labels)
{
	const char *p = labels;
	while (*p) {
		p = label_skip(p);
		if (!p)
			return false;
		if (*p == ',' && p[1])
			p++;
		else if (*p)
			return false;
	}
	return true;
}

static void samples_fini(struct samples *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->item[i].name);
		free(s->item[i].labels);
		free(s->item[i].help);
		free(s->item[i].word);
	}
	free(s->item);
}

static int samples_add(struct samples *s, const struct prda_reader *r, const struct prda_reader_info *info,
	const struct prda_variable *v)
{
	size_t words = v->kind == PRDA_HISTOGRAM ? sizeof(struct metrics_histogram_) / 8 : 1;
	if (v->kind == PRDA_PLAIN || v->size < words * 8 || !metrics_name_good(v->name) || !metrics_labels_good(v->labels))
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct sample *item = realloc(s->item, cap * sizeof(*item));
		if (!item)
			return -ENOMEM;
		s->item = item;
		s->cap = cap;
	}
	own_buf struct buf labels = BUF_INIT;
	char pid[12];
	snprintf(pid, sizeof(pid), "%" PRIu32, info->pid);
	if (metrics_label(&labels, "program", info->name) || metrics_label(&labels, "pid", pid)
			|| buf_printf(&labels, "%s%s", v->labels[0] ? "," : "", v->labels))
		return -ENOMEM;
	if (!metrics_labels_good(labels.data))   // info->name is the other's, too
		return 0;
	struct sample *t = &s->item[s->n];
	*t = (struct sample){ .name = strdup(v->name), .labels = buf_take(&labels), .help = strdup(v->help), .kind = v->kind,
		.word = calloc(words, sizeof(*t->word)) };
	s->n++;
	if (!t->name || !t->labels || !t->help || !t->word)
		return -ENOMEM;
	for (size_t i = 0; i < words; i++)
		t->word[i] = prda_reader_sum(r, v, (uint32_t)i);
	return 0;
}

static int samples_read(struct samples *s, const char *path)
{
	struct prda_reader *r;
	if (prda_reader_open(path, &r, NULL) < 0)
		return 0;
	struct prda_reader_info info;
	prda_reader_info(r, &info);
	struct prda_variable v;
	int rc = 0;
	for (uint32_t cursor = 0; rc == 0 && prda_reader_next(r, &cursor, &v);)
		rc = samples_add(s, r, &info, &v);
	prda_reader_close(r);
	return rc;
}

static int compare(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	int c = strcmp(x->name, y->name);
	return c ? c : (int)x->kind - (int)y->kind ? (int)x->kind - (int)y->kind : strcmp(x->labels, y->labels);
}

static int help_text(const char *help, struct buf *out)
{
	int rc = 0;
	for (const char *p = help; rc == 0 && *p; p++)
		rc = *p == '\n' ? buf_puts(out, "\\n") : *p == '\\' ? buf_puts(out, "\\\\") : buf_append(out, p, 1);
	return rc ? rc : buf_puts(out, "\n");
}

static int histogram_text(const struct sample *t, struct buf *out)
{
	uint64_t count = 0;
	int last = 64, rc = 0;
	while (last > 0 && t->word[1 + last] == 0)
		last--;
	for (int i = 0; rc == 0 && i <= last; i++) {
		count += t->word[1 + i];
		uint64_t le = i == 64 ? UINT64_MAX : (1ull << i) - 1;
		rc = buf_printf(out, "%s_bucket{%s,le=\"%" PRIu64 "\"} %" PRIu64 "\n", t->name, t->labels, le, count);
	}
	return rc ? rc : buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n%s_sum{%s} %" PRIu64 "\n%s_count{%s} %" PRIu64 "\n",
		t->name, t->labels, count, t->name, t->labels, t->word[0], t->name, t->labels, count);
}

static int sample_text(const struct sample *t, const struct sample *before, struct buf *out)
{
	static const char *const types[] = { [PRDA_COUNTER] = "counter", [PRDA_GAUGE] = "gauge", [PRDA_HISTOGRAM] = "histogram" };
	if (!before || strcmp(before->name, t->name)) {
		if (t->help[0] && (buf_printf(out, "# HELP %s ", t->name) || help_text(t->help, out)))
			return -ENOMEM;
		if (buf_printf(out, "# TYPE %s %s\n", t->name, types[t->kind]))
			return -ENOMEM;
	} else if (before->kind != t->kind) {
		return 0;   // two programs disagree about what it is: the first one has it
	}
	if (t->kind == PRDA_HISTOGRAM)
		return histogram_text(t, out);
	if (t->kind == PRDA_GAUGE)
		return buf_printf(out, "%s{%s} %" PRId64 "\n", t->name, t->labels, (int64_t)t->word[0]);
	return buf_printf(out, "%s{%s} %" PRIu64 "\n", t->name, t->labels, t->word[0]);
}

/* Call fn for every region file in dir, by path. */
static int for_each_file(const char *dir, int (*fn)(const char *path, void *user), void *user, struct err *e)
{
	own_dir DIR *d = opendir(dir);
	if (!d)
		return err_sys(e, errno, "open %s", dir);
	struct dirent *entry;
	while ((entry = readdir(d))) {
		size_t n = strlen(entry->d_name);
		if (entry->d_name[0] == '.' || n < 6 || strcmp(entry->d_name + n - 5, ".prda"))
			continue;
		own_free char *path = NULL;
		if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0) {
			path = NULL;
			return err_set(e, ENOMEM, "no memory to read %s", dir);
		}
		int rc = fn(path, user);
		if (rc < 0)
			return err_sys(e, -rc, "%s", path);
	}
	return 0;
}

static int read_one(const char *path, void *samples)
{
	return samples_read(samples, path);
}

int metrics_text(const char *dir, struct buf *out, struct err *e)
{
	struct samples s = { 0 };
	int rc = for_each_file(dir, read_one, &s, e);
	if (rc == 0 && s.n)
		qsort(s.item, s.n, sizeof(*s.item), compare);
	const struct sample *before = NULL;
	for (size_t i = 0; rc == 0 && i < s.n; i++) {
		if (sample_text(&s.item[i], before, out))
			rc = err_set(e, ENOMEM, "no memory for the text of %zu metrics", s.n);
		if (!before || strcmp(before->name, s.item[i].name))
			before = &s.item[i];
	}
	samples_fini(&s);
	return rc;
}

static int sweep_one(const char *path, void *count)
{
	struct prda_reader *r;
	int rc = prda_reader_open(path, &r, NULL);
	if (rc < 0) {
		/* A link to a descriptor of a process that is gone, or has something else under that number now. */
		struct stat st;
		if ((rc == -ENOENT || rc == -EINVAL) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && unlink(path) == 0)
			++*(int *)count;
		return 0;
	}
	if (!prda_reader_alive(r) && unlink(path) == 0)
		++*(int *)count;
	prda_reader_close(r);
	return 0;
}

int metrics_sweep(const char *dir, struct err *e)
{
	int count = 0;
	int rc = for_each_file(dir, sweep_one, &count, e);
	return rc < 0 ? rc : count;
}
