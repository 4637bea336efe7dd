// SPDX-License-Identifier: Apache-2.0
// Cron schedules; see cron.h.
#include "cron.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "zone.h"

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct bounds {
	int min, max;
	const char *const *names;   // names[0] stands for min
	int name_count;
};

/* A number or a name at *s; advances. -1: neither. */
static int parse_value(const char **s, const struct bounds *b)
{
	size_t digits = strspn(*s, "0123456789");
	for (int i = 0; i < b->name_count; i++)
		if (!strncasecmp(*s, b->names[i], 3)) {
			*s += 3;
			return b->min + i;
		}
	if (digits == 0 || digits > 4)
		return -1;
	int v = atoi(*s);
	*s += digits;
	return v;
}

/* One of a list: "*", "5", "1-5", each with an optional "/step". */
static int parse_range(const char **s, const struct bounds *b, uint64_t *bits, struct err *e)
{
	int first, last, step = 1;
	if (**s == '*' || **s == '?') {
		first = b->min;
		last = b->max;
		(*s)++;
	} else {
		first = last = parse_value(s, b);
		if (**s == '-') {
			(*s)++;
			last = parse_value(s, b);
		} else if (**s == '/') {
			last = b->max;
		}
	}
	if (**s == '/') {
		(*s)++;
		step = parse_value(s, &(const struct bounds){0, 9999, NULL, 0});
		if (step <= 0)
			return err_set(e, EINVAL, "step of range should be a positive number");
	}
	if (first < b->min)
		return err_set(e, EINVAL, "beginning of range (%d) below minimum (%d)", first, b->min);
	if (last > b->max)
		return err_set(e, EINVAL, "end of range (%d) above maximum (%d)", last, b->max);
	if (first > last)
		return err_set(e, EINVAL, "beginning of range (%d) beyond end of range (%d)", first, last);
	for (int v = first; v <= last; v += step)
		*bits |= 1ull << v;
	return 0;
}

static int parse_field(const char *field, size_t len, const struct bounds *b, uint64_t *bits, struct err *e)
{
	char text[256];
	if (len >= sizeof(text))
		return err_set(e, EINVAL, "a field of a schedule is too long");
	memcpy(text, field, len);
	text[len] = '\0';
	*bits = 0;
	for (const char *s = text;;) {
		int rc = parse_range(&s, b, bits, e);
		if (rc)
			return rc;
		if (!*s)
			return 0;
		if (*s++ != ',')
			return err_set(e, EINVAL, "failed to parse int from %s", text);
	}
}

static int parse_every(const char *text, struct cron *c, struct err *e)
{
	long long total = 0;
	const char *s = text;
	while (*s) {
		char *end;
		long long v = strtoll(s, &end, 10);
		long long unit = *end == 'h' ? 3600 : *end == 'm' && end[1] != 's' ? 60 : *end == 's' ? 1 : 0;
		if (end == s || v < 0 || v > 1000000 || !unit)
			return err_set(e, EINVAL, "failed to parse duration @every %s", text);
		total += v * unit;
		s = end + 1;
	}
	c->every_s = total < 1 ? 1 : total;
	return 0;
}

int cron_parse(const char *text, struct cron *out, struct err *e)
{
	static const char *const words[][2] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
		{"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
	static const struct bounds bounds[] = {{0, 59, NULL, 0}, {0, 23, NULL, 0}, {1, 31, NULL, 0}, {1, 12, month_names, 12},
		{0, 6, day_names, 7}};
	const char *fields[5];
	size_t lens[5], n = 0;
	struct cron c = {0};
	if (!strncmp(text, "@every ", 7)) {
		int rc = parse_every(text + 7, &c, e);
		if (!rc)
			*out = c;
		return rc;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(text, words[i][0]))
			text = words[i][1];
	if (*text == '@')
		return err_set(e, EINVAL, "unrecognized descriptor: %s", text);
	for (const char *s = text + strspn(text, " \t"); *s; n++) {
		size_t len = strcspn(s, " \t");
		if (n < 5) {
			fields[n] = s;
			lens[n] = len;
		}
		s += len;
		s += strspn(s, " \t");
	}
	if (n != 5)
		return err_set(e, EINVAL, "expected exactly 5 fields, found %zu: [%s]", n, text);
	uint64_t bits[5];
	for (int i = 0; i < 5; i++) {
		int rc = parse_field(fields[i], lens[i], &bounds[i], &bits[i], e);
		if (rc)
			return rc;
	}
	*out = (struct cron){.minutes = bits[0], .hours = (uint32_t)bits[1], .days = (uint32_t)bits[2], .months = (uint32_t)bits[3],
			     .weekdays = (uint32_t)bits[4], .any_day = lens[2] == 1 && strchr("*?", *fields[2]),
			     .any_weekday = lens[4] == 1 && strchr("*?", *fields[4])};
	return 0;
}

static int day_matches(const struct cron *c, const struct tm *t)
{
	int day = c->days >> t->tm_mday & 1, weekday = c->weekdays >> t->tm_wday & 1;
	return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* The same in the time that the fields name. */
static long long next_local(const struct cron *c, long long after)
{
	long long minute = after - (after % 60 + 60) % 60 + 60;
	time_t at = (time_t)minute, limit = at + 5 * 366 * 86400ll;
	while (at < limit) {
		struct tm t;
		if (!gmtime_r(&at, &t))
			return -1;
		if (!(c->months >> (t.tm_mon + 1) & 1) || !day_matches(c, &t))
			at += 86400 - (t.tm_hour * 3600 + t.tm_min * 60);
		else if (!(c->hours >> t.tm_hour & 1))
			at += 3600 - t.tm_min * 60;
		else if (!(c->minutes >> t.tm_min & 1))
			at += 60;
		else
			return at;
	}
	return -1;
}

/* Local time jumps where its distance from UTC changes: what is skipped there is not matched, what comes twice is, twice. */
long long cron_next(const struct cron *c, long long after)
{
	if (c->every_s)
		return after + c->every_s;
	if (!c->zone)
		return next_local(c, after);
	for (int i = 0; i < 64; i++) {
		long long until;
		int offset = zone_offset(c->zone, after, &until);
		long long at = next_local(c, after + offset);
		if (at < 0 || at - offset < until)
			return at < 0 ? -1 : at - offset;
		// The first minute behind the change may match.
		offset = zone_offset(c->zone, until, &(long long){0});
		at = next_local(c, until + offset - 1);
		if (at == until + offset)
			return until;
		after = until;
	}
	return -1;
}
