// SPDX-License-Identifier: Apache-2.0
// Prometheus text of all regions in a folder. Source: the exposition format, version 0.0.4.
#include "metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "base/utf8.h"
#include "metrics_view.h"

/* One variable of one region, copied so that all of a name can be written together. */
struct sample {
	char *name, *labels, *help;
	enum prda_kind kind;
	uint64_t *word;   // 1, or 66 of a histogram
};

struct samples { struct sample *item; size_t n, cap; int rc; };

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

static int labels_text(const struct metrics_source *source, const struct prda_variable *v, struct buf *out)
{
	char pid[12];
	snprintf(pid, sizeof(pid), "%" PRIu32, source->pid);
	if (metrics_label(out, "program", source->program) || metrics_label(out, "pid", pid)
			|| (source->vm[0] && metrics_label(out, "vm", source->vm)))
		return -ENOMEM;
	return v->labels[0] ? buf_printf(out, ",%s", v->labels) : 0;
}

static int samples_add(struct samples *s, const struct metrics_source *source, const struct prda_reader *r,
	const struct prda_variable *v)
{
	size_t words = v->kind == PRDA_HISTOGRAM ? sizeof(struct metrics_histogram_) / 8 : 1;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct sample *item = realloc(s->item, cap * sizeof(*item));
		if (!item)
			return -ENOMEM;
		s->item = item;
		s->cap = cap;
	}
	own_buf struct buf labels = BUF_INIT;
	if (labels_text(source, v, &labels))
		return -ENOMEM;
	struct sample *t = &s->item[s->n];
	*t = (struct sample){ .name = strdup(v->name), .labels = utf8_clean(buf_take(&labels)),
		.help = utf8_clean(strdup(v->help)), .kind = v->kind, .word = calloc(words, sizeof(*t->word)) };
	s->n++;
	if (!t->name || !t->labels || !t->help || !t->word)
		return -ENOMEM;
	for (size_t i = 0; i < words; i++)
		t->word[i] = prda_reader_sum(r, v, (uint32_t)i);
	return 0;
}

static void on_metric(void *samples, const struct metrics_source *source, const struct prda_reader *r,
	const struct prda_variable *m)
{
	struct samples *s = samples;
	if (s->rc == 0)
		s->rc = samples_add(s, source, r, m);
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

int metrics_text(const char *dir, struct buf *out, struct err *e)
{
	struct samples s = { 0 };
	struct metrics_view *view = metrics_view_new(dir);
	int rc = view ? metrics_view_refresh(view, e) : err_set(e, ENOMEM, "no memory to read %s", dir);
	if (rc == 0)
		metrics_view_read(view, on_metric, &s);
	if (rc == 0 && s.rc)
		rc = err_set(e, ENOMEM, "no memory for %zu metrics", s.n);
	metrics_view_free(view);
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
