// SPDX-License-Identifier: Apache-2.0
// The store's default backend: one SQLite file in WAL mode, synchronous=FULL, locked by this process alone. A batch of
// writes is one transaction: one sync for all of them. Rows are found by number (created_rv), which memory knows: there
// is no index on the key to maintain. The latest resourceVersion is the largest in the rows, or in the table state where what
// had it is deleted.
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "server/store.h"

#define FORMAT 1              // PRAGMA user_version
#define FREE_PAGES_MAX 1024   // unused pages kept in the file for what comes next
#define HOUSEKEEPING_COMMITS 64

enum { Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_INSERT, Q_UPDATE, Q_DELETE, Q_RV, Q_FREE, Q_VACUUM, Q_COUNT };

static const char *const queries[Q_COUNT] = {
	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_ROLLBACK] = "ROLLBACK",
	[Q_INSERT] = "INSERT INTO objects(id, rv, rv_off, text, key) VALUES(?1, ?2, ?3, ?4, ?5)",
	[Q_UPDATE] = "UPDATE objects SET rv = ?2, rv_off = ?3, text = ?4 WHERE id = ?1",
	[Q_DELETE] = "DELETE FROM objects WHERE id = ?1",
	[Q_RV] = "UPDATE state SET rv = ?1",
	[Q_FREE] = "PRAGMA freelist_count",
	[Q_VACUUM] = "PRAGMA incremental_vacuum(256)",
};

struct db {
	sqlite3 *sql;
	sqlite3_stmt *q[Q_COUNT];
	uint64_t rv;
	unsigned commits;         // since the last look at unused pages
};

static int db_error(struct db *d, const char *what, struct err *e)
{
	int code = sqlite3_errcode(d->sql);

	return err_set(e, code == SQLITE_FULL ? ENOSPC : code == SQLITE_NOMEM ? ENOMEM : EIO, "store: %s: %s", what,
		       sqlite3_errmsg(d->sql));
}

/* Run a prepared statement without result rows. */
static int run(struct db *d, int query)
{
	int r;

	do
		r = sqlite3_step(d->q[query]);
	while (r == SQLITE_ROW);
	sqlite3_reset(d->q[query]);
	return r == SQLITE_DONE ? 0 : -EIO;
}

static void db_close(void *handle)
{
	struct db *d = handle;

	for (int i = 0; i < Q_COUNT; i++)
		sqlite3_finalize(d->q[i]);
	sqlite3_close(d->sql);
	free(d);
}

static int exec(struct db *d, const char *sql, const char *what, struct err *e)
{
	return sqlite3_exec(d->sql, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(d, what, e);
}

static int query_int(struct db *d, const char *sql, long long *out)
{
	sqlite3_stmt *s = NULL;
	int r = -EIO;

	if (sqlite3_prepare_v2(d->sql, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
		*out = sqlite3_column_int64(s, 0);
		r = 0;
	}
	sqlite3_finalize(s);
	return r;
}

/* After an unclean end (a write-ahead log is left) look whether the pages hang together. */
static int check_file(struct db *d, bool was_unclean, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int r = 0;

	if (!was_unclean)
		return 0;
	if (sqlite3_prepare_v2(d->sql, "PRAGMA quick_check(1)", -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW)
		r = db_error(d, "check the file", e);
	else if (strcmp((const char *)sqlite3_column_text(s, 0), "ok"))
		r = err_set(e, EUCLEAN, "store: the file is damaged (%s); restore a backup", sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	return r;
}

static int prepare_file(struct db *d, bool was_unclean, struct err *e)
{
	long long version = 0;
	int r = exec(d, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
			"PRAGMA synchronous = FULL; PRAGMA cache_size = -1024; PRAGMA journal_size_limit = 8388608;"
			"PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE; COMMIT",
		     "open the file (is another server running on it?)", e);

	if (!r)
		r = check_file(d, was_unclean, e);
	if (!r && query_int(d, "PRAGMA user_version", &version))
		r = db_error(d, "read the file's version", e);
	if (!r && version != 0 && version != FORMAT)
		r = err_set(e, EINVAL, "store: the file has format %lld, this program reads format %d", version, FORMAT);
	if (!r && version == 0)
		r = exec(d, "BEGIN; CREATE TABLE objects(id INTEGER PRIMARY KEY, rv INTEGER NOT NULL, rv_off INTEGER NOT NULL,"
			    "  text BLOB NOT NULL, key TEXT NOT NULL);"
			    "CREATE TABLE state(rv INTEGER NOT NULL); INSERT INTO state VALUES(0); PRAGMA user_version = 1; COMMIT",
			 "make the tables", e);
	for (int i = 0; i < Q_COUNT && !r; i++)
		if (sqlite3_prepare_v3(d->sql, queries[i], -1, SQLITE_PREPARE_PERSISTENT, &d->q[i], NULL) != SQLITE_OK)
			r = db_error(d, "prepare a query", e);
	return r;
}

static int db_open(const char *where, void **handle, struct err *e)
{
	struct db *d = calloc(1, sizeof *d);
	own_free char *wal = NULL;
	bool unclean;
	int r;

	if (!d || asprintf(&wal, "%s-wal", where) < 0) {
		wal = NULL;
		free(d);
		return err_set(e, ENOMEM, "store: out of memory");
	}
	unclean = !access(wal, F_OK);
	if (sqlite3_open_v2(where, &d->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		r = db_error(d, where, e);
	else
		r = prepare_file(d, unclean, e);
	if (r) {
		db_close(d);
		return r;
	}
	*handle = d;
	return 0;
}

static int load_row(struct db *d, sqlite3_stmt *s, int (*each)(void *user, struct obj *o), void *user, struct err *e)
{
	const char *text = sqlite3_column_blob(s, 3), *key = (const char *)sqlite3_column_text(s, 4);
	struct obj *o = NULL;
	int r;

	if (!text || !key)
		return db_error(d, "read an object", e);
	r = obj_restore(key, text, sqlite3_column_bytes(s, 3), sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 0),
			sqlite3_column_int64(s, 2), &o);
	if (r == -EINVAL)
		return err_set(e, EUCLEAN, "store: %s does not have the resourceVersion that the file says; restore a backup", key);
	if (!r && o->rv > d->rv)
		d->rv = o->rv;
	if (!r)
		r = each(user, o);
	return r ? err_set(e, -r, "store: out of memory") : 0;
}

static int db_load(void *handle, int (*each)(void *user, struct obj *o), void *user, uint64_t *rv, struct err *e)
{
	struct db *d = handle;
	sqlite3_stmt *s = NULL;
	long long saved;
	int r = 0, step = SQLITE_DONE;

	if (query_int(d, "SELECT rv FROM state", &saved))
		return db_error(d, "read the resourceVersion", e);
	if (sqlite3_prepare_v2(d->sql, "SELECT id, rv, rv_off, text, key FROM objects ORDER BY id", -1, &s, NULL) != SQLITE_OK)
		return db_error(d, "read the objects", e);
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW)
		r = load_row(d, s, each, user, e);
	if (!r && step != SQLITE_DONE)
		r = db_error(d, "read the objects", e);
	sqlite3_finalize(s);
	if (r)
		return r;
	*rv = d->rv = d->rv > (uint64_t)saved ? d->rv : (uint64_t)saved;
	return 0;
}

static int write_one(struct db *d, struct store_write *w, uint64_t rv)
{
	struct obj *o = w->obj;
	int query = w->remove ? Q_DELETE : w->expect ? Q_UPDATE : Q_INSERT, r;
	sqlite3_stmt *s = d->q[query];

	obj_set_rv(o, rv);
	if (query == Q_INSERT)
		o->created_rv = rv;
	sqlite3_bind_int64(s, 1, o->created_rv);
	if (query != Q_DELETE) {
		sqlite3_bind_int64(s, 2, rv);
		sqlite3_bind_int64(s, 3, o->rv_off);
		sqlite3_bind_blob(s, 4, obj_text(o), o->text_len, SQLITE_STATIC);
	}
	if (query == Q_INSERT)
		sqlite3_bind_text(s, 5, obj_key(o), o->key_len, SQLITE_STATIC);
	r = run(d, query);
	w->result = r;
	return r;
}

static int db_commit(void *handle, struct store_write *const *w, size_t n, struct err *e)
{
	struct db *d = handle;
	uint64_t rv = d->rv;
	bool removes = false;
	int r = run(d, Q_BEGIN);

	for (size_t i = 0; i < n && !r; i++) {
		r = write_one(d, w[i], ++rv);
		removes |= w[i]->remove;
	}
	if (!r && removes) {           // else the rows show it: one page less to write
		sqlite3_bind_int64(d->q[Q_RV], 1, rv);
		r = run(d, Q_RV);
	}
	if (!r)
		r = run(d, Q_COMMIT);
	if (r) {
		r = db_error(d, "write", e);
		if (!sqlite3_get_autocommit(d->sql))
			run(d, Q_ROLLBACK);
		return r;
	}
	d->rv = rv;
	d->commits++;
	return 0;
}

static int db_skip(void *handle, uint64_t rv, struct err *e)
{
	struct db *d = handle;

	sqlite3_bind_int64(d->q[Q_RV], 1, rv);
	if (rv > d->rv && run(d, Q_RV))
		return db_error(d, "write", e);
	if (rv > d->rv)
		d->rv = rv;
	return 0;
}

/* Give unused pages back to the file system, a piece at a time. */
static bool db_idle(void *handle)
{
	struct db *d = handle;
	long long unused = 0;

	if (d->commits < HOUSEKEEPING_COMMITS)
		return false;
	if (sqlite3_step(d->q[Q_FREE]) == SQLITE_ROW)
		unused = sqlite3_column_int64(d->q[Q_FREE], 0);
	sqlite3_reset(d->q[Q_FREE]);
	if (unused > FREE_PAGES_MAX && !run(d, Q_VACUUM))
		return true;
	d->commits = 0;
	return false;
}

const struct store_ops store_sqlite_ops = {
	.name = "sqlite",
	.open = db_open,
	.load = db_load,
	.commit = db_commit,
	.idle = db_idle,
	.skip = db_skip,
	.close = db_close,
};
