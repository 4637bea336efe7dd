// SPDX-License-Identifier: Apache-2.0
// info: what the descriptor says, and the chain of parents. Needs no lock.
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"
#include "disk/cmd_internal.h"
#include "disk/descriptor.h"
#include "disk/disk_internal.h"

static void own_desc_(struct descriptor **d) { descriptor_free(*d); }
#define own_desc __attribute__((cleanup(own_desc_)))

static uint64_t space_of(const char *path)
{
	struct stat st;

	return path && stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static json_t *one(const char *path, struct descriptor *d)
{
	own_free char *text = descriptor_text(d), *data = descriptor_file(d, d->data), *map = descriptor_side(d->path, "map");
	json_t *j = text ? json_loads(text, 0, NULL) : NULL;

	if (!j) return NULL;
	json_object_set_new(j, "path", json_string(path));
	json_object_set_new(j, "space", json_integer((json_int_t)(space_of(data) + (d->has_parent ? space_of(map) : 0))));
	return j;
}

static void print_one(const json_t *j, int depth)
{
	const json_t *filters = json_object_get(j, "filters");
	size_t i;
	json_t *f;

	printf("%*s%s\n", depth * 2, "", json_string_value(json_object_get(j, "path")));
	printf("%*s  id %s, size %lld, block %lld, space used %lld%s\n", depth * 2, "", json_string_value(json_object_get(j, "id")),
	       (long long)json_integer_value(json_object_get(j, "size")), (long long)json_integer_value(json_object_get(j, "block")),
	       (long long)json_integer_value(json_object_get(j, "space")), json_is_true(json_object_get(j, "has_children")) ? ", has clones" : "");
	json_array_foreach(filters, i, f) {
		own_free char *s = json_dumps(json_object_get(f, "settings"), JSON_COMPACT);

		printf("%*s  filter %s (%s) %s\n", depth * 2, "", json_string_value(json_object_get(f, "name")),
		       json_string_value(json_object_get(f, "type")), s ? s : "");
	}
}

static int run(struct cmd_args *a, struct err *e)
{
	own_free char *path = strdup(a->arg[0]);
	json_t *chain = json_array();
	int rc = 0;

	while (path && rc == 0 && json_array_size(chain) < DISK_DEPTH_MAX) {
		own_desc struct descriptor *d = NULL;
		char *next;

		if (!descriptor_is(path)) {
			if (json_array_size(chain) == 0) rc = err_set(e, EINVAL, "'%s' does not end in " DESCRIPTOR_SUFFIX, path);
			else json_array_append_new(chain, json_pack("{s:s,s:I}", "path", path, "space", (json_int_t)space_of(path)));
			break;
		}
		rc = descriptor_read(path, &d, e);
		if (rc < 0) break;
		json_array_append_new(chain, one(path, d));
		next = d->has_parent ? descriptor_file(d, d->parent.path) : NULL;
		free(path);
		path = next;
	}
	if (rc == 0 && a->json) {
		cmd_print_json(json_incref(chain));
	} else if (rc == 0) {
		size_t i;
		json_t *j;

		json_array_foreach(chain, i, j) print_one(j, (int)i);
	}
	json_decref(chain);
	return rc;
}

const struct cmd cmd_info = { "info", "NAME.bhd", "show a disk and its parents", 1, 1, NULL, run };
