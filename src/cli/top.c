// SPDX-License-Identifier: Apache-2.0
// `bulkhead top`: reads what all programs of a cluster count from their memory (prda/metrics.h). A look at the folder of
// links for each table; no system call for a counter, and none of the programs notices.
#include "top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli.h"
#include "prda/metrics.h"

struct top {
	struct metrics_view *view;
	struct top_table now, last;
	uint64_t read_ns;
	bool no_memory;
};

struct options {
	const char *root;
	double interval;
	long count;            // 0: until told to stop
	enum top_sort sort;
	bool live, json, all;
};

/* What another process wrote, for a terminal. */
static void printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static bool same(const struct top_row *a, const struct top_row *b)
{
	return a->source.pid == b->source.pid && !strcmp(a->source.program, b->source.program) && !strcmp(a->v.name, b->v.name)
		&& !strcmp(a->v.labels, b->v.labels);
}

/* Regions and their metrics come in the same order most times: look from where the last one was. */
static const struct top_row *find(const struct top_table *t, size_t near, const struct top_row *r)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct top_row *other = &t->row[(near + i) % t->n];
		if (same(other, r))
			return other;
	}
	return NULL;
}

static void on_metric(void *user, const struct metrics_source *s, const struct prda_reader *r, const struct prda_variable *v)
{
	struct top *top = user;
	struct top_table *t = &top->now;
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 256;
		struct top_row *row = realloc(t->row, cap * sizeof(*row));
		if (!row) {
			top->no_memory = true;
			return;
		}
		t->row = row;
		t->cap = cap;
	}
	struct top_row *row = &t->row[t->n++];
	*row = (struct top_row){ .source = *s, .v = *v };
	printable(row->v.labels);
	printable(row->v.help);
	if (v->kind == PRDA_HISTOGRAM) {
		row->sum = prda_reader_sum(r, v, 0);
		for (uint32_t i = 1; i < sizeof(struct metrics_histogram_) / 8; i++)
			row->value += prda_reader_sum(r, v, i);
	} else {
		row->value = prda_reader_sum(r, v, 0);
	}
}

static void rates(struct top_table *now, const struct top_table *last)
{
	for (size_t i = 0; i < now->n; i++) {
		struct top_row *r = &now->row[i];
		const struct top_row *old = last->n ? find(last, i, r) : NULL;
		r->known = old != NULL && now->seconds > 0;
		if (!r->known)
			continue;
		r->before = old->value;
		r->rate = (double)(int64_t)(r->value - old->value) / now->seconds;
	}
}

/* Read everything, in the order of the regions; rates are to the reading before. */
static int look(struct top *top, struct err *e)
{
	struct top_table spare = top->last;
	top->last = top->now;
	top->now = spare;
	top->now.n = 0;
	int rc = metrics_view_refresh(top->view, e);
	if (rc < 0)
		return rc;
	uint64_t now = clock_mono_ns();
	metrics_view_read(top->view, on_metric, top);
	if (top->no_memory)
		return err_set(e, ENOMEM, "no memory for %zu counters", top->now.n);
	top->now.seconds = top->read_ns ? (double)(now - top->read_ns) / 1e9 : 0;
	top->now.regions = metrics_view_regions(top->view);
	top->now.refused = metrics_view_refused(top->view);
	top->now.refusal = metrics_view_refusal(top->view);
	top->read_ns = now;
	rates(&top->now, &top->last);
	return 0;
}

// ---- Live ----

static volatile sig_atomic_t stop;
static void on_stop(int sig) { stop = sig; }

static struct termios terminal_before;

static void terminal_restore(void)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
}

static void terminal_take(void)
{
	if (tcgetattr(STDIN_FILENO, &terminal_before) == 0) {
		struct termios t = terminal_before;
		t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &t);
	}
	fputs("\033[?1049h\033[?25l", stdout);
}

/* Returns false when the user wants no more. */
static bool pause_for(double seconds, bool keys)
{
	uint64_t end = clock_mono_ns() + (uint64_t)(seconds * 1e9);
	for (uint64_t now; !stop && (now = clock_mono_ns()) < end;) {
		struct pollfd p = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
		char key;
		if (poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) > 0 && (read(STDIN_FILENO, &key, 1) < 1 || key == 'q'))
			return false;
	}
	return !stop;
}

static void draw(const struct top *top, const struct options *o)
{
	struct winsize w;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_row < 4 || w.ws_col < 20)
		w = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	top_draw(&top->now, o->root, w.ws_row, w.ws_col);
}

static void show(struct top *top, const struct options *o)
{
	/* A copy is sorted: the rows themselves stay in the order in which they are found again. */
	struct top_table t = top->now;
	t.row = malloc((t.n + 1) * sizeof(*t.row));
	if (!t.row)
		return;
	memcpy(t.row, top->now.row, t.n * sizeof(*t.row));
	top_sort(&t, o->sort);
	struct top sorted = { .now = t };
	if (o->live)
		draw(&sorted, o);
	else if (o->json)
		cli_print_json(top_json(&t));
	else
		top_print(&t, o->all);
	fflush(stdout);
	free(t.row);
}

static int run(struct top *top, const struct options *o, struct err *e)
{
	int rc = look(top, e);
	if (rc == 0 && o->interval == 0)
		show(top, o);
	for (long i = 0; rc == 0 && o->interval > 0 && (o->count == 0 || i < o->count); i++) {
		if (o->live && i == 0)
			show(top, o);
		if (!pause_for(o->interval, o->live))
			break;
		rc = look(top, e);
		if (rc == 0)
			show(top, o);
	}
	return rc;
}

static int parse(struct cli *c, struct options *o)
{
	const char *n = cli_option(c, "-n"), *i = cli_option(c, "-i"), *s = cli_option(c, "-s");
	static const char *const sorts[] = { [TOP_BY_RATE] = "rate", [TOP_BY_NAME] = "name", [TOP_BY_TOTAL] = "total" };
	char *end;
	*o = (struct options){ .root = c->root, .interval = 1, .json = c->json, .all = cli_flag(c, "--all") };
	o->live = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && !c->json && !n;
	o->count = o->live ? 0 : 1;
	if (n && ((o->count = strtol(n, &end, 10)) < 1 || *end))
		return fprintf(stderr, "bulkhead: -n %s: how many tables is a number from 1 on\n", n), 2;
	if (i && ((o->interval = strtod(i, &end)) < 0 || *end || end == i || !(o->interval <= 86400)))
		return fprintf(stderr, "bulkhead: -i %s: seconds from 0 (totals only) to 86400\n", i), 2;
	if (o->interval == 0)
		o->live = false;
	for (size_t k = 0; s && k < 3; k++)
		if (!strcmp(s, sorts[k])) {
			o->sort = (enum top_sort)k;
			s = NULL;
		}
	if (s)
		return fprintf(stderr, "bulkhead: -s %s: sorted by rate, name or total\n", s), 2;
	return c->argc ? cli_usage("top [-n N] [-i SECONDS] [-s rate|name|total] [--all] [--root DIR] [-o json]") : 0;
}

int cmd_top(struct cli *c)
{
	struct options o;
	struct err e = ERR_INIT;
	char dir[4096];
	int rc = parse(c, &o);
	if (rc)
		return rc;
	snprintf(dir, sizeof(dir), "%s/run/metrics", c->root);
	struct top top = { .view = metrics_view_new(dir) };
	if (!top.view)
		return err_set(&e, ENOMEM, "no memory to look at %s", dir), cli_fail(&e);
	struct sigaction act = { .sa_handler = on_stop };
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	if (o.live)
		terminal_take();
	rc = run(&top, &o, &e);
	if (o.live)
		terminal_restore();
	if (rc == -ENOENT)
		err_set(&e, ENOENT, "no program of a cluster in %s counts: start one with \"bulkhead up\"", c->root);
	if (!o.live && !rc && top.now.refused)
		fprintf(stderr, "bulkhead: %zu of the programs cannot be read: %s\n", top.now.refused, top.now.refusal);
	metrics_view_free(top.view);
	free(top.now.row);
	free(top.last.row);
	return rc ? cli_fail(&e) : 0;
}
