// SPDX-License-Identifier: Apache-2.0
// The table of subcommands and the reading of their options.
#include "disk/cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "disk/cmd_internal.h"
#include "disk/descriptor.h"

static const struct cmd *const commands[] = {
	&cmd_create, &cmd_import, &cmd_export, &cmd_clone, &cmd_remove, &cmd_info, &cmd_map, &cmd_diff, &cmd_check, &cmd_resize, &cmd_flatten,
	&cmd_commit, &cmd_rebase, &cmd_filter, &cmd_stats, &cmd_serve, NULL,
};

const char *cmd_opt(const struct cmd_args *a, const char *name)
{
	for (int i = a->nopts; i-- > 0;)
		if (!strcmp(a->opt[i].o->name, name)) return a->opt[i].value;
	return NULL;
}

bool cmd_flag(const struct cmd_args *a, const char *name)
{
	for (int i = 0; i < a->nopts; i++)
		if (!strcmp(a->opt[i].o->name, name)) return true;
	return false;
}

int cmd_size(const struct cmd_args *a, const char *name, uint64_t fallback, uint64_t *v, struct err *e)
{
	const char *t = cmd_opt(a, name);

	*v = fallback;
	return t && size_parse(t, v) < 0 ? err_set(e, EINVAL, "%s: '%s' is not a size such as 512M, 10G or 1T", name, t) : 0;
}

json_t *cmd_filter_parse(const char *text, struct err *e)
{
	own_free char *copy = strdup(text);
	char *settings = copy ? strchr(copy, ':') : NULL, *save = NULL;
	json_t *set = json_object(), *out = json_object();

	if (!copy || !set || !out) goto bad;
	if (settings) *settings++ = 0;
	for (char *kv = settings ? strtok_r(settings, ",", &save) : NULL; kv; kv = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(kv, '=');

		if (!eq || eq == kv) {
			err_set(e, EINVAL, "'%s': a filter is given as TYPE or TYPE:KEY=VALUE,KEY=VALUE", text);
			goto bad;
		}
		*eq = 0;
		json_object_set_new(!strcmp(kv, "name") ? out : set, kv, json_string(eq + 1));
	}
	json_object_set_new(out, "type", json_string(copy));
	json_object_set_new(out, "settings", set);
	return out;
bad:
	if (e && !e->code) err_set(e, ENOMEM, "no memory for a filter");
	json_decref(set);
	json_decref(out);
	return NULL;
}

json_t *cmd_filters(const struct cmd_args *a, struct err *e)
{
	json_t *list = json_array();

	for (int i = 0; list && i < a->nopts; i++) {
		json_t *f;

		if (strcmp(a->opt[i].o->name, "--filter")) continue;
		f = cmd_filter_parse(a->opt[i].value, e);
		if (!f) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, f);
	}
	return list;
}

void cmd_print_json(json_t *j)
{
	if (j) json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
}

/* ---- progress: one line that is rewritten on a terminal, else a line every few seconds; on stderr ---- */

void cmd_progress_start(struct cmd_progress *p, const struct cmd_args *a, const char *what, uint64_t total)
{
	*p = (struct cmd_progress){ .what = what, .total = total ? total : 1, .shown_ns = clock_mono_ns(), .tty = isatty(2), .json = a->json };
}

void cmd_progress_at(void *user, uint64_t done)
{
	struct cmd_progress *p = user;
	uint64_t now = clock_mono_ns();

	if (now - p->shown_ns < (p->tty ? 100 * NS_PER_MS : 5 * NS_PER_S)) return;
	p->shown_ns = now;
	fprintf(stderr, p->tty ? "\r%s: %3d %%" : "%s: %d %%\n", p->what, (int)(done * 100 / p->total));
}

void cmd_progress_end(struct cmd_progress *p)
{
	if (p->tty) fprintf(stderr, "\r%s: done \n", p->what);
}

/* ---- */

static void help_all(const char *prog, FILE *f)
{
	fprintf(f, "usage: %s COMMAND [OPTIONS] ARGUMENTS\n\n", prog);
	for (const struct cmd *const *c = commands; *c; c++) fprintf(f, "  %-12s %s\n", (*c)->name, (*c)->summary);
	fprintf(f, "\n'%s COMMAND --help' tells more.\n", prog);
}

static void help_one(const char *prog, const struct cmd *c, FILE *f)
{
	fprintf(f, "usage: %s %s [OPTIONS] %s\n%s\n\n", prog, c->name, c->args, c->summary);
	for (const struct cmd_option *o = c->options; o && o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
		fprintf(f, "  %-34s %s\n", left, o->help);
	}
	fprintf(f, "  %-34s %s\n", "-o json", "JSON output");
}

static int usage(const char *prog, const struct cmd *c, const char *what, const char *which)
{
	fprintf(stderr, "%s %s: %s%s%s\n", prog, c->name, what, which ? " " : "", which ? which : "");
	help_one(prog, c, stderr);
	return 2;
}

static const struct cmd_option *find_option(const struct cmd *c, const char *name, size_t len)
{
	for (const struct cmd_option *o = c->options; o && o->name; o++)
		if (strlen(o->name) == len && !strncmp(o->name, name, len)) return o;
	return NULL;
}

/* Returns -1 to go on, or the exit code. */
static int parse(const char *prog, const struct cmd *c, int argc, char **argv, struct cmd_args *a)
{
	bool only_args = false;

	for (int i = 0; i < argc; i++) {
		const char *s = argv[i], *eq;
		const struct cmd_option *o;

		if (only_args || s[0] != '-' || !s[1]) {
			if (a->n == c->max_args) return usage(prog, c, "too many arguments:", s);
			a->arg[a->n++] = s;
			continue;
		}
		if (!strcmp(s, "--")) {
			only_args = true;
			continue;
		}
		if (!strcmp(s, "--help") || !strcmp(s, "-h")) {
			help_one(prog, c, stdout);
			return 0;
		}
		if (!strcmp(s, "-o") && i + 1 < argc && !strcmp(argv[i + 1], "json")) {
			a->json = true;
			i++;
			continue;
		}
		if (!strcmp(s, "-ojson")) {
			a->json = true;
			continue;
		}
		eq = strchr(s, '=');
		o = find_option(c, s, eq ? (size_t)(eq - s) : strlen(s));
		if (!o) return usage(prog, c, "unknown option", s);
		if (!o->value && eq) return usage(prog, c, "takes no value:", o->name);
		if (o->value && !eq && i + 1 == argc) return usage(prog, c, "needs a value:", o->name);
		if (a->nopts == CMD_OPTIONS_MAX) return usage(prog, c, "too many options", NULL);
		a->opt[a->nopts].o = o;
		a->opt[a->nopts++].value = !o->value ? "" : eq ? eq + 1 : argv[++i];
	}
	return a->n < c->min_args ? usage(prog, c, "arguments are missing", NULL) : -1;
}

int disk_command(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct cmd_args a = { .n = 0 };
	int rc;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help_all(argv[0], argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	for (const struct cmd *const *c = commands; *c; c++) {
		if (strcmp((*c)->name, argv[1])) continue;
		rc = parse(argv[0], *c, argc - 2, argv + 2, &a);
		if (rc >= 0) return rc;
		rc = (*c)->run(&a, &e);
		if (rc < 0) {
			fprintf(stderr, "%s %s: %s\n", argv[0], argv[1], e.text);
			return 1;
		}
		return a.exit_code;
	}
	fprintf(stderr, "%s: there is no command '%s'\n", argv[0], argv[1]);
	help_all(argv[0], stderr);
	return 2;
}
