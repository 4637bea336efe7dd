// SPDX-License-Identifier: Apache-2.0
// Settings of a filter: values as text, sizes and durations with units.
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "disk/descriptor.h"

const char *settings_get(const struct iof_settings *s, const char *key)
{
	struct iof_settings *w = (struct iof_settings *)s;   // only the scratch texts change
	const json_t *j = json_object_get(s->json, key);
	char *t;

	if (!j) return NULL;
	if (json_is_string(j)) return json_string_value(j);
	if (json_is_boolean(j)) return json_is_true(j) ? "true" : "false";
	t = w->scratch[w->next++ % 4];
	snprintf(t, sizeof(w->scratch[0]), "%lld", (long long)json_integer_value(j));
	return t;
}

int settings_set(struct iof_settings *s, const char *key, const char *value)
{
	if (!value) {
		json_object_del(s->json, key);
		return 0;
	}
	return json_object_set_new(s->json, key, json_string(value)) ? -ENOMEM : 0;
}

static int number(const char *text, double *v, const char **end)
{
	char *stop;

	if (!isdigit((unsigned char)text[0])) return -EINVAL;
	*v = strtod(text, &stop);
	*end = stop;
	return 0;
}

int size_parse(const char *text, uint64_t *v)
{
	static const char units[] = "KMGTP";
	const char *end, *u;
	double n;
	char *stop;
	unsigned shift = 0;

	if (!isdigit((unsigned char)text[0])) return -EINVAL;
	errno = 0;
	*v = strtoull(text, &stop, 10);
	if (!*stop) return errno ? -EINVAL : 0;
	if (number(text, &n, &end) < 0) return -EINVAL;
	u = strchr(units, toupper((unsigned char)*end));
	if (!*end || !u) return -EINVAL;
	shift = 10 * (unsigned)(u - units + 1);
	end++;
	if (*end && strcmp(end, "i") && strcmp(end, "iB") && strcmp(end, "B")) return -EINVAL;
	if (n * (double)(1ull << shift) >= 9.2e18) return -EINVAL;
	*v = (uint64_t)(n * (double)(1ull << shift));
	return 0;
}

static int ns_parse(const char *text, uint64_t *v)
{
	static const struct { const char *unit; double ns; } units[] = {
		{ "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 },
	};
	const char *end;
	double n;

	if (number(text, &n, &end) < 0) return -EINVAL;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(end, units[i].unit) && n * units[i].ns < 9.2e18) {
			*v = (uint64_t)(n * units[i].ns);
			return 0;
		}
	return -EINVAL;
}

int settings_size(const struct iof_settings *s, const char *key, uint64_t fallback, uint64_t *v, struct err *e)
{
	const char *t = settings_get(s, key);

	*v = fallback;
	if (t && size_parse(t, v) < 0)
		return err_set(e, EINVAL, "setting '%s' is '%s', not a number with an optional unit such as 500, 64K or 1G", key, t);
	return 0;
}

int settings_ns(const struct iof_settings *s, const char *key, uint64_t fallback, uint64_t *v, struct err *e)
{
	const char *t = settings_get(s, key);

	*v = fallback;
	if (t && ns_parse(t, v) < 0) return err_set(e, EINVAL, "setting '%s' is '%s', not a duration such as 100us, 10ms or 5s", key, t);
	return 0;
}
