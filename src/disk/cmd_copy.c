// SPDX-License-Identifier: Apache-2.0
// flatten, commit, rebase, check, map, diff.
#include <bulkhead/disk.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "disk/cmd_internal.h"
#include "disk/copy.h"
#include "disk/descriptor.h"
#include "disk/disk_internal.h"
#include "disk/filters/cbt/cbt.h"

static uint64_t size_of(const char *path)
{
	struct descriptor *d;
	uint64_t n = 0;

	if (descriptor_read(path, &d, NULL) == 0) {
		n = d->size;
		descriptor_free(d);
	}
	return n;
}

static int finish(struct cmd_args *a, struct cmd_progress *p, int rc)
{
	if (rc < 0) return rc;
	cmd_progress_end(p);
	if (a->json) cmd_print_json(json_pack("{s:s}", "path", a->arg[0]));
	return 0;
}

static int run_flatten(struct cmd_args *a, struct err *e)
{
	struct cmd_progress p;

	cmd_progress_start(&p, a, "flatten", size_of(a->arg[0]));
	return finish(a, &p, disk_flatten(a->arg[0], cmd_progress_at, &p, e));
}

static int run_commit(struct cmd_args *a, struct err *e)
{
	struct cmd_progress p;

	if (!cmd_flag(a, "--yes"))
		return err_set(e, EINVAL, "this changes the parent, and other clones of it can no longer be opened; --yes if that is wanted");
	cmd_progress_start(&p, a, "commit", size_of(a->arg[0]));
	return finish(a, &p, disk_commit(a->arg[0], cmd_progress_at, &p, e));
}

static int run_rebase(struct cmd_args *a, struct err *e)
{
	struct cmd_progress p;

	cmd_progress_start(&p, a, "rebase", size_of(a->arg[0]));
	if (cmd_flag(a, "--accept")) return finish(a, &p, disk_accept(a->arg[0], a->n > 1 ? a->arg[1] : NULL, e));
	if (a->n < 2) return err_set(e, EINVAL, "the new parent is missing");
	return finish(a, &p, disk_rebase(a->arg[0], a->arg[1], cmd_progress_at, &p, e));
}

/* ---- check ---- */

static void add_fault(void *user, const char *text) { json_array_append_new(user, json_string(text)); }

static int run_check(struct cmd_args *a, struct err *e)
{
	json_t *faults = json_array(), *f;
	int n = disk_check(a->arg[0], cmd_flag(a, "--repair"), add_fault, faults, e);
	size_t i;

	if (n >= 0 && !a->json) {
		json_array_foreach(faults, i, f) printf("%s\n", json_string_value(f));
		printf("%s: %d fault%s\n", a->arg[0], n, n == 1 ? "" : "s");
	}
	if (n >= 0 && a->json) cmd_print_json(json_pack("{s:i,s:O}", "faults", n, "report", faults));
	json_decref(faults);
	a->exit_code = n > 0 ? 3 : 0;
	return n < 0 ? n : 0;
}

/* ---- map, diff ---- */

struct list { json_t *json; };

static void add_extent(struct list *l, uint64_t off, uint64_t len, const char *what, int depth)
{
	json_t *last = json_array_size(l->json) ? json_array_get(l->json, json_array_size(l->json) - 1) : NULL;

	if (last && (uint64_t)(json_integer_value(json_object_get(last, "offset")) + json_integer_value(json_object_get(last, "length"))) == off &&
	    json_integer_value(json_object_get(last, "depth")) == depth && !strcmp(json_string_value(json_object_get(last, "type")), what)) {
		json_object_set_new(last, "length", json_integer(json_integer_value(json_object_get(last, "length")) + (json_int_t)len));
		return;
	}
	json_array_append_new(l->json, json_pack("{s:I,s:I,s:s,s:i}", "offset", (json_int_t)off, "length", (json_int_t)len, "type", what, "depth", depth));
}

static void print(struct cmd_args *a, struct list *l, const char *head)
{
	size_t i;
	json_t *x;

	if (a->json) {
		cmd_print_json(l->json);
		return;
	}
	printf("%16s %16s  %s\n", "offset", "length", head);
	json_array_foreach(l->json, i, x)
		printf("%16lld %16lld  %s %d\n", (long long)json_integer_value(json_object_get(x, "offset")), (long long)json_integer_value(json_object_get(x, "length")),
		       json_string_value(json_object_get(x, "type")), (int)json_integer_value(json_object_get(x, "depth")));
	json_decref(l->json);
}

static int each_extent(struct bh_disk *d, struct list *l, bool own_only, struct err *e)
{
	for (uint64_t at = 0; at < d->size;) {
		struct bh_disk_extent x;
		uint64_t n = d->size - at;
		int rc = disk_extent(d, at, n < (1ull << 40) ? n : 1ull << 40, &x);

		if (rc < 0) return err_sys(e, -rc, "cannot ask what lies at %llu", (unsigned long long)at);
		if (!own_only) add_extent(l, at, x.len, x.type == BH_DISK_HOLE ? "hole" : "data", x.depth);
		else if (x.depth == 0) add_extent(l, at, x.len, "changed", 0);
		at += x.len;
	}
	return 0;
}

static int since(struct bh_disk *d, const char *point, struct list *l, struct err *e)
{
	struct iof_layer *layer = d->top;

	while (layer != &d->data && layer->filter != &cbt_filter) layer = layer->next;
	if (layer == &d->data) return err_set(e, ENOENT, "it has no filter 'cbt'");
	for (uint64_t at = 0, n; at < d->size; at += n) {
		bool changed;

		if (cbt_changed(layer, point, at, d->size - at, &n, &changed) < 0) return err_set(e, ENOENT, "it has no point '%s'", point);
		if (changed) add_extent(l, at, n, "changed", 0);
	}
	return 0;
}

static void differ(void *user, uint64_t off, uint64_t len) { add_extent(user, off, len, "changed", 0); }

static int with_disk(struct cmd_args *a, int (*fn)(struct cmd_args *, struct bh_disk *, struct list *, struct err *), const char *head, struct err *e)
{
	struct bh_disk_attr ro = { .mode = BH_DISK_RDONLY, .at = cmd_opt(a, "--at") };
	struct list l = { .json = json_array() };
	struct bh_disk *d;
	int rc = bh_disk_open(a->arg[0], &ro, &d, e);

	if (rc == 0) {
		rc = fn(a, d, &l, e);
		bh_disk_close(d, NULL);
	}
	if (rc == 0) print(a, &l, head);
	else json_decref(l.json);
	return rc;
}

static int do_map(struct cmd_args *a, struct bh_disk *d, struct list *l, struct err *e)
{
	(void)a;
	return each_extent(d, l, false, e);
}

static int do_diff(struct cmd_args *a, struct bh_disk *d, struct list *l, struct err *e)
{
	struct bh_disk_attr ro = { .mode = BH_DISK_RDONLY };
	struct bh_disk *other;
	int rc;

	if (cmd_opt(a, "--since")) return since(d, cmd_opt(a, "--since"), l, e);
	if (a->n == 1 && (!d->desc || !d->desc->has_parent)) return err_set(e, EINVAL, "it is not a clone: name a second disk or --since POINT");
	if (a->n == 1) return each_extent(d, l, true, e);
	rc = bh_disk_open(a->arg[1], &ro, &other, e);
	if (rc < 0) return rc;
	rc = disk_compare(d, other, differ, l, e);
	bh_disk_close(other, NULL);
	return rc;
}

static int run_map(struct cmd_args *a, struct err *e) { return with_disk(a, do_map, "type, depth (0: its own, n: of the n-th parent)", e); }
static int run_diff(struct cmd_args *a, struct err *e) { return with_disk(a, do_diff, "", e); }

static const struct cmd_option commit_options[] = { { "--yes", NULL, "change the parent" }, { NULL, NULL, NULL } };
static const struct cmd_option rebase_options[] = { { "--accept", NULL, "only write down the parent as it is now; the disk's bytes may change" }, { NULL, NULL, NULL } };
static const struct cmd_option check_options[] = { { "--repair", NULL, "give space back that belongs to no block; fill a data file that was cut short with zeroes" }, { NULL, NULL, NULL } };
static const struct cmd_option map_options[] = { { "--at", "FILTER", "at and below this filter" }, { NULL, NULL, NULL } };
static const struct cmd_option diff_options[] = { { "--since", "POINT", "what changed since a point of the filter cbt" }, { NULL, NULL, NULL } };

const struct cmd cmd_flatten = { "flatten", "NAME.bhd", "copy the parent's blocks: the clone then stands alone", 1, 1, NULL, run_flatten };
const struct cmd cmd_commit = { "commit", "NAME.bhd", "write a clone's blocks into its parent", 1, 1, commit_options, run_commit };
const struct cmd cmd_rebase = { "rebase", "NAME.bhd [PARENT]", "give a clone another parent; its bytes stay the same", 1, 2, rebase_options, run_rebase };
const struct cmd cmd_check = { "check", "NAME.bhd", "look for damage; exit code 3 if there is any", 1, 1, check_options, run_check };
const struct cmd cmd_map = { "map", "NAME.bhd", "which parts hold data, and whose", 1, 1, map_options, run_map };
const struct cmd cmd_diff = { "diff", "NAME.bhd [OTHER]", "what a clone changed, what changed since a point, or how two disks differ", 1, 2, diff_options, run_diff };
