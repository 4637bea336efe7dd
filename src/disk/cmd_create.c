// SPDX-License-Identifier: Apache-2.0
// create, clone, remove.
#include <bulkhead/disk.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "disk/cmd_internal.h"

static int create(struct cmd_args *a, const char *path, const char *parent, struct err *e)
{
	json_t *list = cmd_filters(a, e);
	own_free char *filters = list ? json_dumps(list, JSON_COMPACT) : NULL;
	struct bh_disk_new n = { .parent = parent, .filters = filters };
	uint64_t block = 0;
	int rc;

	json_decref(list);
	if (!filters) return e->code ? -e->code : err_set(e, ENOMEM, "no memory");
	rc = cmd_size(a, "--size", 0, &n.size_bytes, e);
	if (rc == 0) rc = cmd_size(a, "--block", 0, &block, e);
	if (rc == 0) n.block_bytes = block > UINT32_MAX ? UINT32_MAX : (uint32_t)block;
	if (rc == 0) rc = bh_disk_create(path, &n, e);
	if (rc < 0) return rc;
	if (a->json) cmd_print_json(json_pack("{s:s}", "path", path));
	return 0;
}

static int run_create(struct cmd_args *a, struct err *e)
{
	if (!cmd_opt(a, "--size")) return err_set(e, EINVAL, "--size is needed");
	return create(a, a->arg[0], NULL, e);
}

static int run_clone(struct cmd_args *a, struct err *e) { return create(a, a->arg[1], a->arg[0], e); }

static int run_remove(struct cmd_args *a, struct err *e)
{
	json_t *removed = json_array();
	int rc = 0;

	for (int i = 0; i < a->n && rc == 0; i++) {
		rc = bh_disk_remove(a->arg[i], e);
		if (rc == 0) json_array_append_new(removed, json_string(a->arg[i]));
	}
	if (a->json) cmd_print_json(json_pack("{s:O}", "removed", removed));
	json_decref(removed);
	return rc;
}

#define FILTER { "--filter", "TYPE[:KEY=VALUE,...]", "attach a filter; may be repeated" }
#define BLOCK { "--block", "SIZE", "unit of the clones' maps, 4K (the default) to 1M" }

static const struct cmd_option create_options[] = {
	{ "--size", "SIZE", "512M, 10G, 1T..." }, BLOCK, FILTER, { NULL, NULL, NULL },
};
static const struct cmd_option clone_options[] = {
	{ "--size", "SIZE", "larger than the parent; the rest reads as zeroes" }, BLOCK, FILTER, { NULL, NULL, NULL },
};

const struct cmd cmd_create = { "create", "NAME.bhd", "make an empty disk", 1, 1, create_options, run_create };
const struct cmd cmd_clone = { "clone", "PARENT NAME.bhd", "make a linked clone", 2, 2, clone_options, run_clone };
const struct cmd cmd_remove = { "remove", "NAME.bhd...", "remove a disk and its files", 1, CMD_ARGS_MAX, NULL, run_remove };
