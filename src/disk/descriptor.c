// SPDX-License-Identifier: Apache-2.0
#include "disk/descriptor.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "disk/files.h"

#define DESCRIPTOR_BYTES_MAX (1u << 20)

void uuid_make(char out[40])
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b)) abort();   // cannot fail once the pool is up
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(out, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
		 b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static bool uuid_ok(const char *s)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(s) != sizeof(shape) - 1) return false;
	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == '-' ? s[i] != '-' : !strchr("0123456789abcdef", s[i])) return false;
	return true;
}

bool descriptor_is(const char *path)
{
	size_t n = strlen(path), k = strlen(DESCRIPTOR_SUFFIX);

	return n > k && !strcmp(path + n - k, DESCRIPTOR_SUFFIX);
}

char *descriptor_file(const struct descriptor *d, const char *relative)
{
	const char *slash = strrchr(d->path, '/');
	char *out;

	if (relative[0] == '/' || !slash) return strdup(relative);
	return asprintf(&out, "%.*s/%s", (int)(slash - d->path), d->path, relative) < 0 ? NULL : out;
}

char *descriptor_side(const char *path, const char *suffix)
{
	size_t n = strlen(path) - (descriptor_is(path) ? strlen(DESCRIPTOR_SUFFIX) : 0);
	char *out;

	return asprintf(&out, "%.*s.%s", (int)n, path, suffix) < 0 ? NULL : out;
}

void descriptor_free(struct descriptor *d)
{
	if (!d) return;
	for (unsigned i = d->nfilters; i-- > 0;) descriptor_filter_remove(d, i);
	free(d->parent.path);
	free(d->data);
	free(d->path);
	free(d);
}

static void own_descriptor_(struct descriptor **d) { descriptor_free(*d); }
#define own_descriptor __attribute__((cleanup(own_descriptor_)))

static int size_check(uint64_t size, uint32_t block, struct err *e)
{
	if (block < DISK_BLOCK_MIN || block > DISK_BLOCK_MAX || (block & (block - 1)))
		return err_set(e, EINVAL, "block size %u is not a power of two from %u to %u", block, DISK_BLOCK_MIN, DISK_BLOCK_MAX);
	if (size > DISK_SIZE_MAX) return err_set(e, EFBIG, "size %llu is above the limit of 64 TiB", (unsigned long long)size);
	if (size % 512) return err_set(e, EINVAL, "size %llu is not a multiple of 512", (unsigned long long)size);
	return 0;
}

struct descriptor *descriptor_new(const char *path, uint64_t size, uint32_t block, struct err *e)
{
	own_descriptor struct descriptor *d = calloc(1, sizeof(*d));
	own_free char *data = NULL;
	const char *base;

	if (!descriptor_is(path)) {
		err_set(e, EINVAL, "'%s' does not end in " DESCRIPTOR_SUFFIX, path);
		return NULL;
	}
	if (size_check(size, block, e) < 0) return NULL;
	data = descriptor_side(path, "data");
	if (!d || !data) goto nomem;
	base = strrchr(data, '/');
	d->data = strdup(base ? base + 1 : data);
	d->path = strdup(path);
	if (!d->data || !d->path) goto nomem;
	uuid_make(d->id);
	d->size = size;
	d->block = block;
	d->generation = 1;
	return take(d);
nomem:
	err_set(e, ENOMEM, "no memory for the descriptor");
	return NULL;
}

int descriptor_filter_find(const struct descriptor *d, const char *name)
{
	for (unsigned i = 0; i < d->nfilters; i++)
		if (!strcmp(d->filters[i].name, name)) return (int)i;
	return -1;
}

static bool name_ok(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n < 32 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

int descriptor_filter_add(struct descriptor *d, unsigned at, const char *name, const char *type, const json_t *settings, struct err *e)
{
	struct descriptor_filter f = { .name = NULL };
	const char *key;
	json_t *v;

	if (!name_ok(type)) return err_set(e, EINVAL, "'%s' is not a filter type (lower-case letters, digits, '-')", type);
	if (!name_ok(name)) return err_set(e, EINVAL, "'%s' is not a filter name (lower-case letters, digits, '-')", name);
	if (descriptor_filter_find(d, name) >= 0) return err_set(e, EEXIST, "there is already a filter '%s'", name);
	if (d->nfilters == DISK_FILTERS_MAX) return err_set(e, ENOSPC, "a disk has at most %d filters", DISK_FILTERS_MAX);
	if (settings && !json_is_object(settings)) return err_set(e, EINVAL, "settings of filter '%s' are not an object", name);
	json_object_foreach((json_t *)settings, key, v)
		if (!json_is_string(v) && !json_is_integer(v) && !json_is_boolean(v))
			return err_set(e, EINVAL, "setting '%s' of filter '%s' is neither text, number, true nor false", key, name);
	f.name = strdup(name);
	f.type = strdup(type);
	f.settings.json = settings ? json_deep_copy(settings) : json_object();
	if (!f.name || !f.type || !f.settings.json) {
		free(f.name);
		free(f.type);
		json_decref(f.settings.json);
		return err_set(e, ENOMEM, "no memory for a filter");
	}
	if (at > d->nfilters) at = d->nfilters;
	memmove(&d->filters[at + 1], &d->filters[at], (d->nfilters - at) * sizeof(f));
	d->filters[at] = f;
	d->nfilters++;
	return 0;
}

void descriptor_filter_remove(struct descriptor *d, unsigned i)
{
	struct descriptor_filter *f = &d->filters[i];

	free(f->name);
	free(f->type);
	json_decref(f->settings.json);
	memmove(f, f + 1, (--d->nfilters - i) * sizeof(*f));
}

/* ---- reading ---- */

static int only_keys(const json_t *o, const char *where, const char *const *known, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)o, key, v) {
		const char *const *k = known;

		while (*k && strcmp(*k, key)) k++;
		if (!*k) return err_set(e, EINVAL, "%s has an unknown member '%s'; a newer version of Bulkhead may have written it", where, key);
	}
	return 0;
}

static int get_uint(const json_t *o, const char *where, const char *key, uint64_t max, uint64_t *v, struct err *e)
{
	const json_t *j = json_object_get(o, key);

	if (!json_is_integer(j)) return err_set(e, EINVAL, "%s: '%s' is missing or not a number", where, key);
	if (json_integer_value(j) < 0 || (uint64_t)json_integer_value(j) > max)
		return err_set(e, EINVAL, "%s: '%s' is %lld, not from 0 to %llu", where, key, (long long)json_integer_value(j), (unsigned long long)max);
	*v = (uint64_t)json_integer_value(j);
	return 0;
}

static int get_file(const json_t *o, const char *where, const char *key, char **out, struct err *e)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || !*s || strlen(s) >= PATH_MAX) return err_set(e, EINVAL, "%s: '%s' is missing or not a path", where, key);
	*out = strdup(s);
	return *out ? 0 : err_set(e, ENOMEM, "no memory for the descriptor");
}

static int get_id(const json_t *o, const char *where, bool empty_ok, char out[40], struct err *e)
{
	const char *s = json_string_value(json_object_get(o, "id"));

	if (!s || !(uuid_ok(s) || (empty_ok && !*s))) return err_set(e, EINVAL, "%s: 'id' is missing or not a lower-case UUID", where);
	strcpy(out, s);
	return 0;
}

static int parse_parent(struct descriptor *d, const json_t *p, struct err *e)
{
	static const char *const known[] = { "id", "path", "generation", "mtime", "limit", NULL };
	uint64_t mtime;
	int rc;

	if (!json_is_object(p)) return err_set(e, EINVAL, "'parent' is not an object");
	if ((rc = only_keys(p, "'parent'", known, e)) < 0) return rc;
	if ((rc = get_id(p, "parent", true, d->parent.id, e)) < 0) return rc;
	if ((rc = get_file(p, "parent", "path", &d->parent.path, e)) < 0) return rc;
	if ((rc = get_uint(p, "parent", "generation", INT64_MAX, &d->parent.generation, e)) < 0) return rc;
	if ((rc = get_uint(p, "parent", "mtime", INT64_MAX, &mtime, e)) < 0) return rc;
	if ((rc = get_uint(p, "parent", "limit", DISK_SIZE_MAX, &d->parent.limit, e)) < 0) return rc;
	d->parent.mtime_ns = (int64_t)mtime;
	d->has_parent = true;
	return 0;
}

static int parse_filters(struct descriptor *d, const json_t *list, struct err *e)
{
	static const char *const known[] = { "name", "type", "settings", NULL };
	unsigned links = 0;
	size_t i;
	json_t *f;
	int rc;

	if (list && !json_is_array(list)) return err_set(e, EINVAL, "'filters' is not a list");
	json_array_foreach(list, i, f) {
		const char *type = jpath_str(f, "type", NULL);

		if (!json_is_object(f) || !type) return err_set(e, EINVAL, "filter %zu has no 'type'", i);
		if ((rc = only_keys(f, "a filter", known, e)) < 0) return rc;
		rc = descriptor_filter_add(d, (unsigned)i, jpath_str(f, "name", type), type, json_object_get(f, "settings"), e);
		if (rc < 0) return rc;
		links += !strcmp(type, "link");
	}
	if (links != d->has_parent)
		return err_set(e, EINVAL, d->has_parent ? "a clone has exactly one filter 'link', this one has %u" :
			       "a disk without parent has no filter 'link', this one has %u", links);
	return 0;
}

static int parse_features(const json_t *list, struct err *e)
{
	size_t i;
	json_t *f;

	if (list && !json_is_array(list)) return err_set(e, EINVAL, "'features' is not a list");
	json_array_foreach(list, i, f)   // version 1 knows no optional feature yet
		return err_set(e, ENOTSUP, "needs feature '%s', which this version of Bulkhead does not have",
			       json_is_string(f) ? json_string_value(f) : "?");
	return 0;
}

static int parse_root(struct descriptor *d, const json_t *root, struct err *e)
{
	static const char *const known[] = { "bulkhead-disk", "features", "id", "size", "block", "generation", "has_children",
					     "data", "parent", "filters", NULL };
	const json_t *version = json_object_get(root, "bulkhead-disk"), *parent = json_object_get(root, "parent");
	uint64_t block = 0;
	int rc;

	if (!json_is_integer(version)) return err_set(e, EINVAL, "not a disk descriptor ('bulkhead-disk' is missing)");
	if (json_integer_value(version) != DESCRIPTOR_VERSION)
		return err_set(e, ENOTSUP, "format version %lld is not known, only %d is", (long long)json_integer_value(version), DESCRIPTOR_VERSION);
	if ((rc = parse_features(json_object_get(root, "features"), e)) < 0) return rc;
	if ((rc = only_keys(root, "the descriptor", known, e)) < 0) return rc;
	if ((rc = get_id(root, "descriptor", false, d->id, e)) < 0) return rc;
	if ((rc = get_uint(root, "descriptor", "size", INT64_MAX, &d->size, e)) < 0) return rc;
	if ((rc = get_uint(root, "descriptor", "block", UINT32_MAX, &block, e)) < 0) return rc;
	if ((rc = get_uint(root, "descriptor", "generation", INT64_MAX, &d->generation, e)) < 0) return rc;
	if ((rc = get_file(root, "descriptor", "data", &d->data, e)) < 0) return rc;
	d->block = (uint32_t)block;
	d->has_children = jpath_bool(root, "has_children", false);
	if ((rc = size_check(d->size, d->block, e)) < 0) return rc;
	if (parent && (rc = parse_parent(d, parent, e)) < 0) return rc;
	return parse_filters(d, json_object_get(root, "filters"), e);
}

int descriptor_parse(const char *text, size_t len, const char *path, struct descriptor **out, struct err *e)
{
	own_descriptor struct descriptor *d = calloc(1, sizeof(*d));
	json_error_t je;
	own_json json_t *root = NULL;

	if (d) d->path = strdup(path);
	if (!d || !d->path) return err_set(e, ENOMEM, "no memory for the descriptor");
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!root) return err_set(e, EINVAL, "disk '%s': not a descriptor: line %d: %s", path, je.line, je.text);
	if (!json_is_object(root)) return err_set(e, EINVAL, "disk '%s': not a descriptor: not an object", path);
	if (parse_root(d, root, e) < 0) return err_wrap(e, "disk '%s'", path);
	*out = take(d);
	return 0;
}

int descriptor_read(const char *path, struct descriptor **d, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	own_fd int fd = files_open(path, false, false);
	int rc = fd < 0 ? err_sys(e, -fd, "open %s", path) : fd_read(fd, path, DESCRIPTOR_BYTES_MAX, &b, e);

	if (rc < 0) return err_wrap(e, "disk '%s'", path);
	return descriptor_parse(b.data ? b.data : "", b.len, path, d, e);
}

/* ---- writing ---- */

static int add_filters(json_t *root, const struct descriptor *d)
{
	json_t *filters = json_array();
	int rc = json_object_set_new(root, "filters", filters);   // fails without an array, too

	for (unsigned i = 0; i < d->nfilters && rc == 0; i++) {
		const struct descriptor_filter *f = &d->filters[i];

		rc = json_array_append_new(filters, json_pack("{s:s,s:s,s:O}", "name", f->name, "type", f->type, "settings", f->settings.json));
	}
	return rc;
}

/* NULL: no memory for all of it. */
static json_t *to_json(const struct descriptor *d)
{
	json_t *root = json_pack("{s:i,s:s,s:I,s:i,s:I,s:b,s:s}", "bulkhead-disk", DESCRIPTOR_VERSION, "id", d->id, "size",
				 (json_int_t)d->size, "block", (int)d->block, "generation", (json_int_t)d->generation,
				 "has_children", d->has_children, "data", d->data);
	int rc = root ? 0 : -1;

	if (rc == 0 && d->has_parent)
		rc = json_object_set_new(root, "parent", json_pack("{s:s,s:s,s:I,s:I,s:I}", "id", d->parent.id, "path", d->parent.path,
			"generation", (json_int_t)d->parent.generation, "mtime", (json_int_t)d->parent.mtime_ns, "limit", (json_int_t)d->parent.limit));
	if (rc == 0) rc = add_filters(root, d);
	if (rc == 0) return root;
	json_decref(root);
	return NULL;
}

/* jansson writes some of a text that it had no memory for: what cannot be read back as it was is not the text. */
char *descriptor_text(const struct descriptor *d)
{
	own_json json_t *root = to_json(d);
	own_free char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	own_json json_t *back = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;

	return back && json_equal(root, back) ? take(text) : NULL;
}

int descriptor_write(const struct descriptor *d, struct err *e)
{
	own_free char *text = descriptor_text(d);
	own_buf struct buf b = BUF_INIT;

	if (!text || buf_printf(&b, "%s\n", text) < 0) return err_set(e, ENOMEM, "no memory for the descriptor");
	return file_write_atomic(d->path, b.data, b.len, 0640, e);
}
