// SPDX-License-Identifier: Apache-2.0
// TZif files (RFC 8536): a table of changes, and behind it a rule for the time after the last of them.
#include "zone.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"

#define FOLDER "/usr/share/zoneinfo/"
#define FILE_MAX (64u << 10)
#define HEADER 44
#define DAY 86400

/* "M3.2.0/2": the day of a change in a year, and the local time of it. */
struct change_rule { int month, week, day; long seconds; };

struct change { long long at; int offset; };

struct zone {
	int first;                     // offset before all changes
	struct change *changes;
	size_t count;
	bool has_rule, has_summer;     // after the last change
	int standard, summer;          // offsets
	struct change_rule begin, end; // of summer
};

/* --- the rule: "CET-1CEST,M3.5.0,M10.5.0/3" --- */

static bool skip_name(const char **s)
{
	const char *from = *s;
	if (**s == '<') {
		while (**s && **s != '>')
			(*s)++;
		return *(*s)++ == '>';
	}
	while (isalpha((unsigned char)**s))
		(*s)++;
	return *s - from >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(const char **s, long *out)
{
	long part[3] = {0}, sign = **s == '-' ? -1 : 1;
	char *end;
	if (**s == '-' || **s == '+')
		(*s)++;
	for (int i = 0; i < 3; i++) {
		if (!isdigit((unsigned char)**s))
			return false;
		part[i] = strtol(*s, &end, 10);
		if (part[i] > (i ? 59 : 167))
			return false;
		*s = end;
		if (**s != ':')
			break;
		(*s)++;
	}
	*out = sign * (part[0] * 3600 + part[1] * 60 + part[2]);
	return true;
}

static bool take_change(const char **s, struct change_rule *r)
{
	int used = 0;
	if (sscanf(*s, ",M%2d.%1d.%1d%n", &r->month, &r->week, &r->day, &used) != 3 || r->month < 1 || r->month > 12 || r->week < 1 ||
	    r->week > 5 || r->day < 0 || r->day > 6)
		return false;
	*s += used;
	r->seconds = 2 * 3600;
	if (**s != '/')
		return true;
	(*s)++;
	return take_time(s, &r->seconds);
}

/* What is not understood is left out: then the last change of the table lasts. */
static void parse_rule(struct zone *z, const char *s)
{
	long standard, summer;
	if (!skip_name(&s) || !take_time(&s, &standard))
		return;
	summer = standard - 3600;
	if (*s) {
		if (!skip_name(&s) || (*s && *s != ',' && !take_time(&s, &summer)) || !take_change(&s, &z->begin) ||
		    !take_change(&s, &z->end) || *s)
			return;
		z->has_summer = true;
	}
	z->standard = (int)-standard;
	z->summer = (int)-summer;
	z->has_rule = true;
}

static long long days_of(int year, int month, int day)   // since 1970
{
	struct tm t = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
	return timegm(&t) / DAY;
}

static long long change_at(const struct change_rule *r, int year, int offset_before)
{
	long long first = days_of(year, r->month, 1);
	int weekday = (int)((first % 7 + 7 + 4) % 7);        // 1970 began on a Thursday
	long long day = first + (r->day - weekday + 7) % 7 + (r->week - 1) * 7;
	long long next = r->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, r->month + 1, 1);
	while (day >= next)
		day -= 7;
	return day * DAY + r->seconds - offset_before;
}

static int by_rule(const struct zone *z, long long at, long long *until)
{
	struct tm t;
	time_t when = (time_t)at;
	if (!z->has_summer || !gmtime_r(&when, &t)) {
		*until = ZONE_FOR_EVER;
		return z->standard;
	}
	int offset = z->standard;
	long long latest = 0;
	*until = ZONE_FOR_EVER;
	for (int year = t.tm_year + 1899; year <= t.tm_year + 1902; year++) {
		long long begin = change_at(&z->begin, year, z->standard), end = change_at(&z->end, year, z->summer);
		if (begin <= at && begin >= latest) {
			latest = begin;
			offset = z->summer;
		}
		if (end <= at && end >= latest) {
			latest = end;
			offset = z->standard;
		}
		if (begin > at && begin < *until)
			*until = begin;
		if (end > at && end < *until)
			*until = end;
	}
	return offset;
}

/* --- the table --- */

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t get64(const uint8_t *p)
{
	return (int64_t)((uint64_t)get32(p) << 32 | get32(p + 4));
}

struct counts { uint32_t isut, isstd, leap, time, type, chars; };

/* The size of what follows a header, whose times take so many bytes. 0: not a header. */
static size_t read_header(const uint8_t *p, size_t len, size_t time_size, struct counts *c)
{
	if (len < HEADER || memcmp(p, "TZif", 4))
		return 0;
	*c = (struct counts){get32(p + 20), get32(p + 24), get32(p + 28), get32(p + 32), get32(p + 36), get32(p + 40)};
	if (c->isut > FILE_MAX || c->isstd > FILE_MAX || c->leap > FILE_MAX || c->time > FILE_MAX || c->type > 256 || !c->type ||
	    c->chars > FILE_MAX)
		return 0;
	size_t size = c->time * (time_size + 1) + c->type * 6 + c->chars + c->leap * (time_size + 4) + c->isstd + c->isut;
	return size <= len - HEADER ? size : 0;
}

static int read_table(struct zone *z, const uint8_t *p, const struct counts *c)
{
	const uint8_t *types = p + (size_t)c->time * 8, *infos = types + c->time;
	z->changes = calloc(c->time + 1, sizeof(*z->changes));
	if (!z->changes)
		return -ENOMEM;
	z->first = (int)(int32_t)get32(infos);
	for (uint32_t i = 0; i < c->time; i++) {
		if (types[i] >= c->type)
			return -EINVAL;
		z->changes[i] = (struct change){get64(p + (size_t)i * 8), (int)(int32_t)get32(infos + (size_t)types[i] * 6)};
		if (i && z->changes[i].at <= z->changes[i - 1].at)
			return -EINVAL;
		z->count++;
	}
	return 0;
}

static int read_zone(struct zone *z, const uint8_t *p, size_t len)
{
	struct counts c;
	size_t size = read_header(p, len, 4, &c), at;
	char rule[128];
	if (!size || p[4] < '2')
		return -EINVAL;
	at = HEADER + size;                         // version 1's part is passed over
	size = read_header(p + at, len - at, 8, &c);
	if (!size)
		return -EINVAL;
	int rc = read_table(z, p + at + HEADER, &c);
	at += HEADER + size;
	if (rc || at >= len || p[at] != '\n')
		return rc;
	snprintf(rule, sizeof(rule), "%.*s", (int)(len - at - 1 < 100 ? len - at - 1 : 100), (const char *)p + at + 1);
	rule[strcspn(rule, "\n")] = '\0';
	parse_rule(z, rule);
	return 0;
}

int zone_parse(const void *tzif, size_t len, struct zone **out, struct err *e)
{
	struct zone *z = calloc(1, sizeof(*z));
	int rc = z ? read_zone(z, tzif, len) : -ENOMEM;
	if (rc) {
		zone_free(z);
		return err_set(e, -rc, rc == -ENOMEM ? "out of memory" : "not a file of a time zone");
	}
	*out = z;
	return 0;
}

static bool is_name(const char *name)
{
	return isalpha((unsigned char)*name) && strlen(name) < 64 && !strstr(name, "..") && name[strlen(name) - 1] != '/' &&
	       name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/")] == '\0';
}

int zone_open(const char *name, struct zone **z, struct err *e)
{
	own_buf struct buf text = BUF_INIT;
	char path[128];
	if (!is_name(name))
		return err_set(e, EINVAL, "unknown time zone %.64s", name);
	snprintf(path, sizeof(path), FOLDER "%s", name);
	if (file_read(path, FILE_MAX, &text, NULL))
		return err_set(e, ENOENT, "unknown time zone %s", name);
	return zone_parse(text.data ? text.data : "", text.len, z, e) ? err_set(e, EINVAL, "unknown time zone %s", name) : 0;
}

void zone_free(struct zone *z)
{
	if (!z)
		return;
	free(z->changes);
	free(z);
}

int zone_offset(const struct zone *z, long long at, long long *until)
{
	size_t low = 0, high = z->count;
	while (low < high) {                        // the first change behind at
		size_t mid = low + (high - low) / 2;
		if (z->changes[mid].at > at)
			high = mid;
		else
			low = mid + 1;
	}
	if (low == z->count && z->has_rule)
		return by_rule(z, at, until);
	*until = low < z->count ? z->changes[low].at : ZONE_FOR_EVER;
	return low ? z->changes[low - 1].offset : z->first;
}
