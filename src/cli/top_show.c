// SPDX-License-Identifier: Apache-2.0
#include "top.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VMS_MAX 4096

static int by_name(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	int c = strcmp(x->source.program, y->source.program);
	c = c ? c : strcmp(x->source.vm, y->source.vm);
	c = c ? c : (x->source.pid > y->source.pid) - (x->source.pid < y->source.pid);
	c = c ? c : strcmp(x->v.name, y->v.name);
	return c ? c : strcmp(x->v.labels, y->v.labels);
}

static int by_rate(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	double u = fabs(x->rate), v = fabs(y->rate);
	return u != v ? (u < v) - (u > v) : by_name(a, b);
}

static int by_total(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	return x->value != y->value ? (x->value < y->value) - (x->value > y->value) : by_name(a, b);
}

void top_sort(struct top_table *t, enum top_sort by)
{
	static int (*const order[])(const void *, const void *) = { by_rate, by_name, by_total };
	qsort(t->row, t->n, sizeof(*t->row), order[by]);
}

/* 1234567 as 1.2M, in out. */
static const char *short_number(double v, char out[16])
{
	static const char *const unit[] = { "", "K", "M", "G", "T", "P", "E" };
	size_t u = 0;
	while (fabs(v) >= 9999.5 && u < 6) {
		v /= 1000;
		u++;
	}
	snprintf(out, 16, "%.*f%s", u || v != trunc(v), v, unit[u]);
	return out;
}

static void total(const struct top_row *r, char *out, size_t len)
{
	if (r->v.kind == PRDA_GAUGE)
		snprintf(out, len, "%" PRId64, (int64_t)r->value);
	else
		snprintf(out, len, "%" PRIu64, r->value);
}

void top_print(const struct top_table *t, bool all)
{
	printf("%-9s %-28s %8s %-40s %16s %12s\n", "PROGRAM", "VM", "PID", "COUNTER", "TOTAL", "PER SECOND");
	for (size_t i = 0; i < t->n; i++) {
		const struct top_row *r = &t->row[i];
		char value[24], rate[24] = "-", name[PRDA_NAME_MAX + PRDA_LABELS_MAX + 2];
		if (!all && r->value == 0)
			continue;
		total(r, value, sizeof(value));
		if (r->known && r->v.kind != PRDA_GAUGE)
			snprintf(rate, sizeof(rate), "%.1f", r->rate);
		snprintf(name, sizeof(name), r->v.labels[0] ? "%s{%s}" : "%s%s", r->v.name, r->v.labels);
		printf("%-9s %-28s %8" PRIu32 " %-40s %16s %12s\n", r->source.program, r->source.vm, r->source.pid, name, value, rate);
	}
}

json_t *top_json(const struct top_table *t)
{
	static const char *const kinds[] = { [PRDA_COUNTER] = "counter", [PRDA_GAUGE] = "gauge", [PRDA_HISTOGRAM] = "histogram" };
	json_t *list = json_array();
	for (size_t i = 0; i < t->n; i++) {
		const struct top_row *r = &t->row[i];
		json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s}", "program", r->source.program, "vm", r->source.vm, "pid",
			(json_int_t)r->source.pid, "name", r->v.name, "labels", r->v.labels, "kind", kinds[r->v.kind], "help", r->v.help);
		if (!o)
			continue;
		json_object_set_new(o, "value", json_integer((json_int_t)r->value));
		if (r->v.kind == PRDA_HISTOGRAM)
			json_object_set_new(o, "sum", json_integer((json_int_t)r->sum));
		if (r->known && r->v.kind != PRDA_GAUGE)
			json_object_set_new(o, "perSecond", json_real(r->rate));
		json_array_append_new(list, o);
	}
	json_t *out = json_pack("{s:I, s:I, s:f, s:o}", "processes", (json_int_t)t->regions, "refused", (json_int_t)t->refused, "seconds",
		t->seconds, "counters", list);
	return out ? out : json_null();
}

// ---- The screen ----

/* Columns of the VMs' lines: the sum of the rates of these counters. */
static const struct { const char *title, *name[3]; } columns[] = {
	{ "EXITS", { "bulkhead_vm_exits_port_total", "bulkhead_vm_exits_mmio_total", "bulkhead_vm_exits_other_total" } },
	{ "DISK IO", { "bulkhead_disk_reads_total", "bulkhead_disk_writes_total", NULL } },
	{ "DISK RD", { "bulkhead_disk_read_bytes_total", NULL, NULL } },
	{ "DISK WR", { "bulkhead_disk_written_bytes_total", NULL, NULL } },
	{ "NET IN", { "bulkhead_net_rx_bytes_total", NULL, NULL } },
	{ "NET OUT", { "bulkhead_net_tx_bytes_total", NULL, NULL } },
	{ "VSOCK IN", { "bulkhead_vsock_tx_bytes_total", NULL, NULL } },
	{ "VSOCK OUT", { "bulkhead_vsock_rx_bytes_total", NULL, NULL } },
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

struct vm_line { const struct metrics_source *source; double rate[COLUMNS], all; };

static struct vm_line *line_of(struct vm_line *vm, size_t *n, const struct metrics_source *s)
{
	for (size_t i = 0; i < *n; i++)
		if (vm[i].source->pid == s->pid)
			return &vm[i];
	if (*n == VMS_MAX)
		return NULL;
	vm[*n] = (struct vm_line){ .source = s };
	return &vm[(*n)++];
}

static void vm_count(struct vm_line *line, const struct top_row *r)
{
	for (size_t c = 0; c < COLUMNS; c++)
		for (int k = 0; k < 3 && columns[c].name[k]; k++)
			if (!strcmp(columns[c].name[k], r->v.name)) {
				line->rate[c] += r->rate;
				line->all += fabs(r->rate);
			}
}

static int vm_order(const void *a, const void *b)
{
	const struct vm_line *x = a, *y = b;
	return x->all != y->all ? (x->all < y->all) - (x->all > y->all) : strcmp(x->source->vm, y->source->vm);
}

/* One line of the screen, cut to its width; what is left of the old one is cleared. */
static void put(int width, const char *text)
{
	printf("%.*s\033[K\r\n", width, text);
}

static int draw_vms(const struct top_table *t, int lines, int width)
{
	char text[400], number[16];
	size_t n = 0;
	struct vm_line *vm = calloc(VMS_MAX, sizeof(*vm));
	for (size_t i = 0; vm && i < t->n; i++) {
		struct vm_line *line = t->row[i].source.vm[0] ? line_of(vm, &n, &t->row[i].source) : NULL;
		if (line)
			vm_count(line, &t->row[i]);
	}
	int used = 0;
	if (n)
		qsort(vm, n, sizeof(*vm), vm_order);
	int at = snprintf(text, sizeof(text), "%-32s %8s", "VM", "PID");
	for (size_t c = 0; c < COLUMNS; c++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, " %9s", columns[c].title);
	if (n && used++ < lines)
		put(width, text);
	for (size_t i = 0; i < n && used < lines; i++, used++) {
		at = snprintf(text, sizeof(text), "%-32.32s %8" PRIu32, vm[i].source->vm, vm[i].source->pid);
		for (size_t c = 0; c < COLUMNS; c++)
			at += snprintf(text + at, sizeof(text) - (size_t)at, " %9s", short_number(vm[i].rate[c], number));
		put(width, text);
	}
	free(vm);
	return used;
}

void top_draw(const struct top_table *t, const char *root, int lines, int width)
{
	char text[600], value[24], rate[16], clock[16] = "";
	time_t now = time(NULL);
	struct tm tm;
	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	fputs("\033[H", stdout);
	snprintf(text, sizeof(text), "bulkhead top  %s  %s  %zu processes, %zu counters; per second; q quits%s%s", clock, root,
		t->regions, t->n, t->refused ? "; not readable: " : "", t->refused ? t->refusal : "");
	put(width, text);
	int left = lines - 2;
	left -= draw_vms(t, left / 2, width);
	if (left-- > 1) {
		snprintf(text, sizeof(text), "%-9s %-28s %-44s %12s %10s", "PROGRAM", "VM", "COUNTER", "TOTAL", "PER SECOND");
		put(width, text);
	}
	for (size_t i = 0; i < t->n && left > 0; i++) {
		const struct top_row *r = &t->row[i];
		if (r->value == 0)
			continue;
		total(r, value, sizeof(value));
		snprintf(text, sizeof(text), "%-9s %-28.28s %-44.44s %12s %10s", r->source.program, r->source.vm, r->v.name, value,
			r->known && r->v.kind != PRDA_GAUGE ? short_number(r->rate, rate) : "-");
		put(width, text);
		left--;
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}
