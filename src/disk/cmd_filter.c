// SPDX-License-Identifier: Apache-2.0
// filter ls, add, rm, set; stats; resize: changes that also reach a disk in use.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "disk/cmd_internal.h"
#include "disk/control.h"
#include "disk/descriptor.h"
#include "disk/registry.h"

static int request(struct cmd_args *a, const char *path, json_t *q, struct err *e)
{
	own_json json_t *owned = q, *answer = NULL;
	int rc = owned ? control_request(path, owned, &answer, e) : err_set(e, ENOMEM, "no memory");

	if (rc == 0 && a->json) cmd_print_json(answer ? json_incref(answer) : json_object());
	return rc;
}

static int list(struct cmd_args *a, struct err *e)
{
	struct descriptor *d;
	json_t *out = json_array();
	int rc = descriptor_read(a->arg[1], &d, e);

	if (rc < 0) {
		json_decref(out);
		return rc;
	}
	for (unsigned i = 0; i < d->nfilters; i++) {
		const struct descriptor_filter *f = &d->filters[i];
		own_free char *s = json_dumps(f->settings.json, JSON_COMPACT);

		if (!a->json) printf("%-16s %-12s %s\n", f->name, f->type, s ? s : "");
		json_array_append_new(out, json_pack("{s:s,s:s,s:O}", "name", f->name, "type", f->type, "settings", f->settings.json));
	}
	descriptor_free(d);
	if (a->json) cmd_print_json(out);
	else json_decref(out);
	return 0;
}

static int types(struct cmd_args *a)
{
	json_t *out = json_array();

	for (const struct iof_filter *const *f = registry_builtin(); *f; f++) {
		json_t *s = json_object();

		if (!a->json) printf("%s: %s\n", (*f)->name, (*f)->summary);
		for (const struct iof_setting *k = (*f)->settings; k->key; k++) {
			if (!a->json) printf("    %-18s %s\n", k->key, k->help);
			json_object_set_new(s, k->key, json_string(k->help));
		}
		json_array_append_new(out, json_pack("{s:s,s:s,s:o}", "name", (*f)->name, "summary", (*f)->summary, "settings", s));
	}
	if (a->json) cmd_print_json(out);
	else json_decref(out);
	return 0;
}

static int add(struct cmd_args *a, struct err *e)
{
	const char *at = cmd_opt(a, "--position");
	json_t *q = cmd_filter_parse(a->arg[2], e);

	if (!q) return -e->code;
	json_object_set_new(q, "do", json_string("filter-add"));
	json_object_set_new(q, "at", json_integer(at ? atoi(at) : -1));
	json_object_set_new(q, "force", json_boolean(cmd_flag(a, "--force")));
	return request(a, a->arg[1], q, e);
}

/* KEY=VALUE arguments; KEY= takes the setting away. */
static int set(struct cmd_args *a, struct err *e)
{
	json_t *s = json_object();

	for (int i = 3; i < a->n; i++) {
		const char *eq = strchr(a->arg[i], '=');
		own_free char *key = eq ? strndup(a->arg[i], (size_t)(eq - a->arg[i])) : NULL;

		if (!key || !*key) {
			json_decref(s);
			return err_set(e, EINVAL, "'%s' is not KEY=VALUE", a->arg[i]);
		}
		json_object_set_new(s, key, eq[1] ? json_string(eq + 1) : json_null());
	}
	return request(a, a->arg[1], json_pack("{s:s,s:s,s:o}", "do", "filter-set", "name", a->arg[2], "settings", s), e);
}

static int run_filter(struct cmd_args *a, struct err *e)
{
	const char *what = a->arg[0];

	if (!strcmp(what, "types") && a->n == 1) return types(a);
	if (!strcmp(what, "ls") && a->n == 2) return list(a, e);
	if (!strcmp(what, "add") && a->n == 3) return add(a, e);
	if (!strcmp(what, "rm") && a->n == 3) return request(a, a->arg[1], json_pack("{s:s,s:s}", "do", "filter-remove", "name", a->arg[2]), e);
	if (!strcmp(what, "set") && a->n >= 4) return set(a, e);
	return err_set(e, EINVAL, "what to do: types | ls NAME.bhd | add NAME.bhd TYPE[:KEY=VALUE,...] | rm NAME.bhd FILTER | set NAME.bhd FILTER KEY=VALUE...");
}

static int run_stats(struct cmd_args *a, struct err *e)
{
	a->json = true;
	return request(a, a->arg[0], json_pack("{s:s}", "do", "stats"), e);
}

static int run_resize(struct cmd_args *a, struct err *e)
{
	uint64_t size;

	if (size_parse(a->arg[1], &size) < 0) return err_set(e, EINVAL, "'%s' is not a size such as 512M, 10G or 1T", a->arg[1]);
	return request(a, a->arg[0], json_pack("{s:s,s:I}", "do", "resize", "size", (json_int_t)size), e);
}

static const struct cmd_option options[] = {
	{ "--position", "N", "add: place from the top, 0 is the uppermost; otherwise where its class belongs" },
	{ "--force", NULL, "add: even against the order of classes" }, { NULL, NULL, NULL },
};

const struct cmd cmd_filter = { "filter", "types|ls|add|rm|set NAME.bhd ...", "list, attach, detach and change filters, also of a disk in use", 1, CMD_ARGS_MAX, options, run_filter };
const struct cmd cmd_stats = { "stats", "NAME.bhd", "numbers that the filters of a served disk keep", 1, 1, NULL, run_stats };
const struct cmd cmd_resize = { "resize", "NAME.bhd SIZE", "change the size, also of a disk in use", 2, 2, NULL, run_resize };
