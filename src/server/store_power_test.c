// SPDX-License-Identifier: Apache-2.0
// Power losses: SQLite on files that live in memory and keep what has not been synced apart. At the n-th write, truncation
// or sync the power goes: of what was written since the last sync, each 512-byte sector is on the disk or not, by chance,
// sizes likewise. Then the store is opened on what is left. Every acknowledged write must be there, in its last or a later
// state that was asked for, and the store must say that it is whole.
#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/store.h"

#define FILES 8
#define SECTOR 512
#define KEYS 12
#define WRITES 60

struct image { char name[64]; bool exists; unsigned char *data; sqlite3_int64 size; };

/* What the programs see, and what the disk holds. */
static struct image seen[FILES], disk[FILES];
static int ops, cut_at;        // power goes at this operation; 0: never
static bool off;

static int lose(void)
{
	if (cut_at && ++ops == cut_at)
		off = true;
	return off ? SQLITE_IOERR : SQLITE_OK;
}

static int find(const char *name, bool create)
{
	const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;

	for (int i = 0; i < FILES; i++)
		if (seen[i].exists && !strcmp(seen[i].name, base))
			return i;
	for (int i = 0; create && i < FILES; i++)
		if (!seen[i].exists) {
			free(seen[i].data);
			free(disk[i].data);
			seen[i] = (struct image){ .exists = true };
			disk[i] = (struct image){ 0 };
			strcpy(seen[i].name, base);
			strcpy(disk[i].name, base);
			return i;
		}
	return -1;
}

static void resize(struct image *m, sqlite3_int64 size)
{
	if (size > m->size) {
		m->data = realloc(m->data, size);
		memset(m->data + m->size, 0, size - m->size);
	}
	m->size = size;
}

struct file { sqlite3_file base; int at; };

static int f_close(sqlite3_file *f) { (void)f; return SQLITE_OK; }

static int f_read(sqlite3_file *f, void *out, int n, sqlite3_int64 off_)
{
	struct image *m = &seen[((struct file *)f)->at];
	sqlite3_int64 there = m->size > off_ ? m->size - off_ : 0;

	if (off)
		return SQLITE_IOERR_READ;
	memset(out, 0, n);
	if (there)
		memcpy(out, m->data + off_, there < n ? there : n);
	return there < n ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int f_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
	struct image *m = &seen[((struct file *)f)->at];

	if (off)
		return SQLITE_IOERR_WRITE;
	if (at + n > m->size)
		resize(m, at + n);
	memcpy(m->data + at, data, n);   // the one during which the power goes may be on the disk too
	return lose() ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	if (off)
		return SQLITE_IOERR_TRUNCATE;
	resize(&seen[((struct file *)f)->at], size);
	return lose() ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

static void sync_image(struct image *to, const struct image *from)
{
	resize(to, from->size);
	if (from->size)
		memcpy(to->data, from->data, from->size);
	to->exists = true;
}

static int f_sync(sqlite3_file *f, int flags)
{
	int at = ((struct file *)f)->at;

	(void)flags;
	if (lose())
		return SQLITE_IOERR_FSYNC;
	sync_image(&disk[at], &seen[at]);
	return SQLITE_OK;
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
	*size = seen[((struct file *)f)->at].size;
	return SQLITE_OK;
}

static int f_lock(sqlite3_file *f, int level) { (void)f; (void)level; return SQLITE_OK; }
static int f_reserved(sqlite3_file *f, int *out) { (void)f; *out = 0; return SQLITE_OK; }
static int f_control(sqlite3_file *f, int op, void *arg) { (void)f; (void)op; (void)arg; return SQLITE_NOTFOUND; }
static int f_sector(sqlite3_file *f) { (void)f; return SECTOR; }
static int f_traits(sqlite3_file *f) { (void)f; return 0; }

static const sqlite3_io_methods methods = {
	.iVersion = 1, .xClose = f_close, .xRead = f_read, .xWrite = f_write, .xTruncate = f_truncate, .xSync = f_sync,
	.xFileSize = f_size, .xLock = f_lock, .xUnlock = f_lock, .xCheckReservedLock = f_reserved, .xFileControl = f_control,
	.xSectorSize = f_sector, .xDeviceCharacteristics = f_traits,
};

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	int at = find(name, flags & SQLITE_OPEN_CREATE);

	(void)v;
	f->pMethods = NULL;
	if (off || at < 0)
		return SQLITE_CANTOPEN;
	((struct file *)f)->at = at;
	f->pMethods = &methods;
	if (out)
		*out = flags;
	return SQLITE_OK;
}

/* Removal of a journal: whether it is on the disk is as uncertain as anything else, unless the folder is synced. */
static int v_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
	int at = find(name, false);

	(void)v;
	if (off)
		return SQLITE_IOERR_DELETE;
	if (at < 0)
		return SQLITE_IOERR_DELETE_NOENT;
	seen[at].exists = false;
	seen[at].size = 0;
	if (sync_dir) {
		disk[at].exists = false;
		disk[at].size = 0;
	}
	return lose() ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

static int v_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
	int at = find(name, false);

	(void)v;
	*out = at >= 0 && (flags != SQLITE_ACCESS_EXISTS || seen[at].size);
	return SQLITE_OK;
}

static int v_path(sqlite3_vfs *v, const char *name, int n, char *out)
{
	(void)v;
	snprintf(out, n, "%s", name);
	return SQLITE_OK;
}

/* The machine is started again: the disk, with some of what was under way. */
static void power_back(void)
{
	for (int i = 0; i < FILES; i++) {
		struct image *s = &seen[i], *d = &disk[i];
		if (rand() % 2 && s->exists)
			resize(d, s->size);
		for (sqlite3_int64 at = 0; at < d->size && at < s->size; at += SECTOR) {
			sqlite3_int64 n = d->size - at < SECTOR ? d->size - at : SECTOR;
			if (n > s->size - at)
				n = s->size - at;
			if (rand() % 2)
				memcpy(d->data + at, s->data + at, n);
		}
		s->exists = d->exists || (s->exists && rand() % 2);
		s->size = 0;
		if (s->exists)
			sync_image(s, d);
		d->exists = s->exists;
	}
	off = false;
	ops = cut_at = 0;
}

static void forget_all(void)
{
	for (int i = 0; i < FILES; i++) {
		free(seen[i].data);
		free(disk[i].data);
		seen[i] = disk[i] = (struct image){ 0 };
	}
}

/* --- writers --- */

struct key { int acknowledged, asked; uint64_t rv; };   // values; 0: absent

static struct obj *make(int key, int value)
{
	char name[16], pad[2000];
	json_t *j;
	struct obj *o = NULL;

	memset(pad, 'a' + value % 26, sizeof pad - 1);
	pad[value * 37 % (sizeof pad - 1)] = '\0';
	snprintf(name, sizeof name, "t/a/%d", key);
	j = json_pack("{s:s,s:s,s:{s:s},s:i,s:s}", "kind", "T", "apiVersion", "v1", "metadata", "name", name, "value", value, "pad", pad);
	obj_encode(name, j, &o);
	json_decref(j);
	return o;
}

static bool write_one(struct store *st, struct key *keys, int value)
{
	int i = rand() % KEYS;
	struct key *k = &keys[i];
	bool remove = k->acknowledged && rand() % 5 == 0;
	struct store_write w = { .obj = make(i, value), .expect = k->acknowledged ? k->rv : 0, .remove = remove };
	int r;

	k->asked = remove ? 0 : value;
	r = store_commit(st, &w);
	if (!r) {
		k->acknowledged = k->asked;
		k->rv = w.out->rv;
	}
	obj_unref(w.out);
	return r == 0;
}

/* What is there must be what was acknowledged, or what was asked for without an answer. */
static void check(struct store *st, struct key *keys, uint64_t *rv)
{
	assert_true(store_rv(st) >= *rv);
	*rv = store_rv(st);
	for (int i = 0; i < KEYS; i++) {
		char name[16];
		snprintf(name, sizeof name, "t/a/%d", i);
		own_obj struct obj *o = store_get(st, name);
		json_t *j = o ? obj_json(o) : NULL;
		int now = j ? json_integer_value(json_object_get(j, "value")) : 0;
		assert_true(!o || j);
		json_decref(j);
		if (now != keys[i].acknowledged && now != keys[i].asked)
			fail_msg("%s is %d; acknowledged was %d, asked for %d", name, now, keys[i].acknowledged, keys[i].asked);
		keys[i] = (struct key){ now, now, o ? o->rv : 0 };
	}
}

/* One life after the other on the same disk, each ended at the next possible place. */
static void test_power_losses(void **state)
{
	int losses = getenv("POWER_LOSSES") ? atoi(getenv("POWER_LOSSES")) : 400, value = 0, survived = 0;
	struct key keys[KEYS] = { 0 };
	uint64_t rv = 0;

	(void)state;
	srand(getenv("POWER_SEED") ? atoi(getenv("POWER_SEED")) : 1);
	for (int i = 0; i < losses; i++) {
		struct store *st = NULL;
		struct err e = ERR_INIT;
		cut_at = 1 + rand() % 150;
		if (store_open(&store_sqlite_ops, "/power/store.db", &st, &e) == 0) {
			check(st, keys, &rv);
			for (int n = 0; n < WRITES && write_one(st, keys, ++value); n++)
				rv = store_rv(st);
			survived++;
			store_close(st);
		} else if (!off) {
			fail_msg("loss %d: %s", i, e.text);
		}
		power_back();
	}
	assert_true(survived > losses / 4);
	forget_all();
}

int main(void)
{
	static sqlite3_vfs vfs = { .iVersion = 1, .szOsFile = sizeof(struct file), .mxPathname = 512, .zName = "power", .xOpen = v_open,
				   .xDelete = v_delete, .xAccess = v_access, .xFullPathname = v_path };
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_power_losses) };
	sqlite3_vfs *real = sqlite3_vfs_find(NULL);

	vfs.xRandomness = real->xRandomness;
	vfs.xSleep = real->xSleep;
	vfs.xCurrentTime = real->xCurrentTime;
	vfs.xGetLastError = real->xGetLastError;
	sqlite3_vfs_register(&vfs, 1);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	forget_all();
	return failed;
}
