// SPDX-License-Identifier: Apache-2.0
// Users and groups of an image; see user.h.
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/own.h"
#include "rootfs.h"

#define FILE_MAX_BYTES (1u << 20)
#define ID_MAX_VALUE 0x7fffffffu     // as the kubelet and runc limit them

static bool parse_id(const char *s, size_t len, uint32_t *id)
{
	uint64_t v = 0;
	if (!len || len > 10)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (v > ID_MAX_VALUE)
		return false;
	*id = (uint32_t)v;
	return true;
}

struct field { const char *s; size_t len; };

static bool same(struct field f, const char *s, size_t len) { return f.len == len && !memcmp(f.s, s, len); }

/* Next line as up to max fields between colons. False: no more lines. Lines with fewer fields give *n < max. */
static bool next_line(const char **text, struct field *f, size_t max, size_t *n)
{
	const char *p = *text;
	if (!p || !*p)
		return false;
	size_t line = strcspn(p, "\n");
	*text = p[line] ? p + line + 1 : p + line;
	*n = 0;
	for (const char *end = p + line; *n < max;) {
		const char *colon = memchr(p, ':', (size_t)(end - p));
		const char *stop = colon ? colon : end;
		f[(*n)++] = (struct field){p, (size_t)(stop - p)};
		if (!colon)
			break;
		p = colon + 1;
	}
	return true;
}

void user_add_group(struct user *u, uint32_t gid)
{
	if (u->groups_count == USER_GROUPS_MAX)
		return;
	for (size_t i = 0; i < u->groups_count; i++)
		if (u->groups[i] == gid)
			return;
	u->groups[u->groups_count++] = gid;
}

/* Finds by name, else by number. name: the user's name when a line was found, for its groups. */
static bool find_passwd(const char *passwd, const char *who, size_t len, struct user *u, struct field *name)
{
	struct field f[4];
	size_t n;
	uint32_t number = 0, uid, gid;
	bool numeric = parse_id(who, len, &number);
	for (const char *t = passwd; next_line(&t, f, 4, &n);)
		if (n == 4 && f[0].len && same(f[0], who, len) && parse_id(f[2].s, f[2].len, &uid) &&
		    parse_id(f[3].s, f[3].len, &gid)) {
			u->uid = uid, u->gid = gid, *name = f[0];
			return true;
		}
	if (!numeric)
		return false;
	for (const char *t = passwd; next_line(&t, f, 4, &n);)
		if (n == 4 && parse_id(f[2].s, f[2].len, &uid) && uid == number && parse_id(f[3].s, f[3].len, &gid)) {
			u->uid = uid, u->gid = gid, *name = f[0];
			return true;
		}
	u->uid = number, u->gid = 0;   // a number needs no line in the file
	return true;
}

static bool find_group(const char *group, const char *who, size_t len, uint32_t *gid)
{
	struct field f[3];
	size_t n;
	for (const char *t = group; next_line(&t, f, 3, &n);)
		if (n == 3 && f[0].len && same(f[0], who, len) && parse_id(f[2].s, f[2].len, gid))
			return true;
	return parse_id(who, len, gid);
}

static void add_memberships(const char *group, struct field name, struct user *u)
{
	struct field f[4];
	size_t n;
	uint32_t gid;
	for (const char *t = group; next_line(&t, f, 4, &n);) {
		if (n < 4 || !parse_id(f[2].s, f[2].len, &gid))
			continue;
		const char *p = f[3].s, *end = p + f[3].len;
		while (p < end) {
			const char *comma = memchr(p, ',', (size_t)(end - p));
			const char *stop = comma ? comma : end;
			if (same(name, p, (size_t)(stop - p)))
				user_add_group(u, gid);
			p = stop + 1;
		}
	}
}

int user_find_in(const char *passwd, const char *group, const char *spec, bool memberships, struct user *out, struct err *e)
{
	struct user u = {0};
	struct field name = {"", 0};
	const char *colon = strchr(spec, ':');
	size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
	if (!len || (colon && !colon[1]) || strlen(spec) > 512)
		return err_set(e, EINVAL, "'%s' is not a user: expected USER or USER:GROUP", spec);
	if (!find_passwd(passwd, spec, len, &u, &name))
		return err_set(e, ENOENT, "unable to find user %.*s: no matching entries in passwd file", (int)len, spec);
	if (colon && !find_group(group, colon + 1, strlen(colon + 1), &u.gid))
		return err_set(e, ENOENT, "unable to find group %s: no matching entries in group file", colon + 1);
	if (name.len && memberships)
		add_memberships(group, name, &u);
	*out = u;
	return 0;
}

int user_find(const char *rootfs, const char *spec, bool memberships, struct user *out, struct err *e)
{
	own_buf struct buf passwd = BUF_INIT, group = BUF_INIT;
	int rc = rootfs_read(rootfs, "/etc/passwd", FILE_MAX_BYTES, &passwd, e);
	if (!rc || rc == -ENOENT)
		rc = rootfs_read(rootfs, "/etc/group", FILE_MAX_BYTES, &group, e);
	if (rc && rc != -ENOENT)
		return rc;
	return user_find_in(passwd.data, group.data, spec, memberships, out, e);
}
