// SPDX-License-Identifier: Apache-2.0
#include "server/backup.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "server/status.h"
#include "server/store.h"

#define PATH "/bulkhead/v1/backup"
#define SKIP 1000000         // resourceVersions given out after the backup was taken are not given out again

static const char *const files[] = { "ca.crt", "ca.key", "sa.key", "sa.pub" };
#define FILES (sizeof files / sizeof *files)

struct backup {
	struct store_list list;
	char *root;
	size_t next;             // 0: first line, then the files, then the objects, then the end
	struct buf line;         // not taken yet
	gnutls_hash_hd_t hash;
};

/* --- writing --- */

int backup_open(struct store *st, const char *root, struct backup **out, struct err *e)
{
	struct backup *b = calloc(1, sizeof *b);
	int r;

	if (!b || !(b->root = strdup(root)) || gnutls_hash_init(&b->hash, GNUTLS_DIG_SHA256) < 0) {
		if (b)
			free(b->root);
		free(b);
		return err_set(e, ENOMEM, "out of memory");
	}
	r = store_list(st, "", NULL, 0, 0, &b->list);
	if (r) {
		backup_close(b);
		return err_sys(e, -r, "backup");
	}
	*out = b;
	return 0;
}

void backup_close(struct backup *b)
{
	if (!b)
		return;
	store_list_fini(&b->list);
	buf_fini(&b->line);
	gnutls_hash_deinit(b->hash, NULL);
	free(b->root);
	free(b);
}

static void hex(const unsigned char *digest, char out[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static int put_file(struct backup *b, const char *name)
{
	own_buf struct buf bytes = BUF_INIT;
	own_free char *text = NULL;
	char path[4096];

	snprintf(path, sizeof path, "%s/pki/%s", b->root, name);
	if (file_read(path, 65536, &bytes, NULL))
		return 0;   // sa.pub is made again when it is missing
	text = base64_encode(bytes.data, bytes.len);
	return text ? buf_printf(&b->line, "{\"file\":\"%s\",\"data\":\"%s\"}\n", name, text) : -ENOMEM;
}

static int put_object(struct backup *b, struct obj *o)
{
	own_json json_t *key = json_string(obj_key(o));
	own_free char *text = key ? json_dumps(key, JSON_ENCODE_ANY) : NULL;
	int r = text ? buf_printf(&b->line, "{\"key\":%s,\"object\":", text) : -ENOMEM;

	if (!r)
		r = buf_append(&b->line, obj_text(o), o->text_len);
	return r ? r : buf_puts(&b->line, "}\n");
}

static int put_next(struct backup *b)
{
	size_t i = b->next++;
	unsigned char digest[32];
	char text[65];
	int r;

	if (i == 0)
		r = buf_printf(&b->line, "{\"bulkhead\":\"backup\",\"version\":1,\"resourceVersion\":%llu}\n", (unsigned long long)b->list.rv);
	else if (i <= FILES)
		r = put_file(b, files[i - 1]);
	else if (i - FILES - 1 < b->list.count)
		r = put_object(b, b->list.objs[i - FILES - 1]);
	else if (i - FILES - 1 == b->list.count) {
		gnutls_hash_output(b->hash, digest);
		hex(digest, text);
		return buf_printf(&b->line, "{\"end\":true,\"objects\":%zu,\"sha256\":\"%s\"}\n", b->list.count, text);
	} else {
		return -ENODATA;
	}
	if (!r && b->line.len)
		gnutls_hash(b->hash, b->line.data, b->line.len);
	return r;
}

ssize_t backup_read(struct backup *b, char *out, size_t max)
{
	size_t n;

	while (!b->line.len) {
		int r = put_next(b);
		if (r)
			return r == -ENODATA ? 0 : r;
	}
	n = b->line.len < max ? b->line.len : max;
	memcpy(out, b->line.data, n);
	buf_consume(&b->line, n);
	return n;
}

static ssize_t read_piece(void *cls, uint64_t pos, char *out, size_t max)
{
	ssize_t n = backup_read(cls, out, max);

	(void)pos;
	return n > 0 ? n : n ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
}

static void close_piece(void *cls)
{
	backup_close(cls);
}

bool backup_serve(struct request *r)
{
	struct err e = ERR_INIT;
	struct backup *b;

	if (strcmp(r->route.path, PATH) || strcmp(r->route.method, "GET"))
		return false;
	if (!identity_in(r->who, "system:masters"))   // no rule can give away the authority's key
		reply_status(r, status_new(403, "Forbidden", "forbidden: only members of system:masters can get a backup"));
	else if (backup_open(r->srv->store, r->srv->root, &b, &e))
		reply_status(r, status_internal("%s", e.text));
	else
		reply_stream(r, 200, "application/x-ndjson", 0, read_piece, close_piece, b);
	return true;
}

/* --- reading --- */

typedef int each_line(const json_t *line, void *user, struct err *e);

/* Give every line but the last to each. The last one must confirm them. */
static int read_lines(const char *path, each_line *each, void *user, struct err *e)
{
	own_file FILE *f = fopen(path, "re");
	own_free char *text = NULL;
	gnutls_hash_hd_t hash;
	unsigned char digest[32];
	size_t cap = 0, objects = 0;
	char sum[65] = "";
	bool first = true, end = false;
	ssize_t n;
	int r = 0;

	if (!f)
		return err_sys(e, errno, "%s", path);
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return err_set(e, ENOMEM, "out of memory");
	while (!r && !end && (n = getline(&text, &cap, f)) > 0) {
		own_json json_t *line = json_loadb(text, n, 0, NULL);
		end = json_is_true(json_object_get(line, "end"));
		if (first && (strcmp(jpath_str(line, "bulkhead", ""), "backup") || jpath_int(line, "version", 0) != 1))
			r = err_set(e, EINVAL, "%s is no backup of a cluster", path);
		else if (!line)
			r = err_set(e, EINVAL, "%s is damaged: a line is no JSON", path);
		first = false;
		if (r)
			break;
		if (end) {
			gnutls_hash_output(hash, digest);
			hex(digest, sum);
			if (strcmp(jpath_str(line, "sha256", ""), sum) || (size_t)jpath_int(line, "objects", -1) != objects)
				r = err_set(e, EINVAL, "%s is damaged: its checksum does not fit", path);
		} else {
			gnutls_hash(hash, text, n);
			objects += json_object_get(line, "key") != NULL;
			r = each ? each(line, user, e) : 0;
		}
	}
	gnutls_hash_deinit(hash, NULL);
	return r || end ? r : err_set(e, EINVAL, "%s is cut off", path);
}

static int restore_file(const json_t *line, void *user, struct err *e)
{
	const char *name = jpath_str(line, "file", ""), *data = jpath_str(line, "data", "");
	own_free unsigned char *bytes = NULL;
	char path[4096];
	size_t len;

	for (size_t i = 0; i < FILES; i++) {
		if (strcmp(files[i], name))
			continue;
		bytes = base64_decode(data, strlen(data), &len);
		if (!bytes)
			return err_set(e, EINVAL, "the backup's %s is no base64", name);
		snprintf(path, sizeof path, "%s/pki/%s", (const char *)user, name);
		if (!access(path, F_OK))
			return err_set(e, EEXIST, "%s is there already: restore into an empty --root", path);
		return file_write_atomic(path, bytes, len, 0600, e);
	}
	return 0;
}

int backup_restore_files(const char *path, const char *root, struct err *e)
{
	char pki[4096];
	int r = read_lines(path, NULL, NULL, e);   // nothing is touched before all of it is known to be good

	snprintf(pki, sizeof pki, "%s/pki", root);
	if (!r)
		r = dir_make(pki, 0700, e);
	return r ? r : read_lines(path, restore_file, (void *)root, e);
}

static int restore_object(const json_t *line, void *user, struct err *e)
{
	const char *key = jpath_str(line, "key", "");
	struct store_write w = { .expect = 0 };
	int r;

	if (!*key)
		return 0;
	r = obj_encode(key, json_object_get(line, "object"), &w.obj);
	if (!r)
		r = store_commit(user, &w);
	obj_unref(w.out);
	return r ? err_sys(e, -r, "restore %s", key) : 0;
}

static int read_version(const json_t *line, void *user, struct err *e)
{
	(void)e;
	if (json_object_get(line, "resourceVersion"))
		*(uint64_t *)user = jpath_int(line, "resourceVersion", 0);
	return 0;
}

int backup_restore_objects(const char *path, struct store *st, struct err *e)
{
	uint64_t rv = 0;
	int r;

	if (store_count(st))
		return err_set(e, EEXIST, "the store holds %zu objects: restore into an empty one", store_count(st));
	r = read_lines(path, read_version, &rv, e);
	if (!r)
		r = store_skip(st, rv + SKIP, e);
	if (!r)
		r = read_lines(path, restore_object, st, e);
	if (!r)
		log_info("main", "restored objects=%zu from %s", store_count(st), path);
	return r;
}
