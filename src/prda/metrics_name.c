// SPDX-License-Identifier: Apache-2.0
#include "metrics_name.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool name_start(char c) { return isalpha((unsigned char)c) || c == '_' || c == ':'; }

bool metrics_name_good(const char *name)
{
	if (!name || !name_start(*name))
		return false;
	while (name_start(*name) || isdigit((unsigned char)*name))
		name++;
	return *name == '\0';
}

/* key="value", returns what is behind it, or NULL. */
static const char *label_skip(const char *p, size_t *key_len)
{
	const char *key = p;
	if (!name_start(*p) || *p == ':')
		return NULL;
	while ((name_start(*p) && *p != ':') || isdigit((unsigned char)*p))
		p++;
	*key_len = (size_t)(p - key);
	if (p[0] != '=' || p[1] != '"')
		return NULL;
	for (p += 2; *p != '"'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return NULL;
		if (*p == '\\' && (p[1] == '\0' || !strchr("\\\"n", *++p)))
			return NULL;
	}
	return p + 1;
}

static bool key_reserved(const char *key, size_t len)
{
	static const char *const reserved[] = { "program", "pid", "vm", "le" };
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
		if (strlen(reserved[i]) == len && !memcmp(reserved[i], key, len))
			return true;
	return false;
}

/* Is the key at the start of p one of the labels before p? */
static bool key_before(const char *labels, const char *p, size_t len)
{
	size_t n;
	for (const char *q = labels; q < p; q = label_skip(q, &n) + 1)
		if (label_skip(q, &n) && n == len && !memcmp(q, p, len))
			return true;
	return false;
}

bool metrics_labels_good(const char *labels)
{
	const char *p = labels;
	while (*p) {
		size_t n;
		const char *end = label_skip(p, &n);
		if (!end || key_reserved(p, n) || key_before(labels, p, n))
			return false;
		if (*end == ',' && end[1])
			end++;
		else if (*end)
			return false;
		p = end;
	}
	return true;
}

static bool source_good(const struct metrics_source *s)
{
	size_t n = strlen(s->program);
	if (n == 0 || strspn(s->program, ALNUM "-") != n)
		return false;
	const char *slash = strchr(s->vm, '/');
	return s->vm[0] == '\0' || (slash && !strchr(slash + 1, '/') && strspn(s->vm, ALNUM "-./") == strlen(s->vm));
}

int metrics_source_write(const struct metrics_source *s, char file[METRICS_FILE_MAX])
{
	if (!source_good(s))
		return -EINVAL;
	snprintf(file, METRICS_FILE_MAX, "%s%s%s.%u.prda", s->program, s->vm[0] ? "@" : "", s->vm, s->pid);
	char *slash = strchr(file, '/');
	if (slash)
		*slash = '_';
	return 0;
}

bool metrics_source_read(const char *file, struct metrics_source *s)
{
	char name[METRICS_FILE_MAX];
	size_t n = strlen(file);
	if (file[0] == '.' || n >= sizeof(name) || n < 6 || strcmp(file + n - 5, ".prda"))
		return false;
	memcpy(name, file, n - 5);
	name[n - 5] = '\0';
	char *dot = strrchr(name, '.'), *end, *at = strchr(name, '@');
	if (!dot || !isdigit((unsigned char)dot[1]))
		return false;
	unsigned long pid = strtoul(dot + 1, &end, 10);
	if (*end || pid == 0 || pid > INT32_MAX)
		return false;
	*dot = '\0';
	if (at)
		*at++ = '\0';
	char *slash = at ? strchr(at, '_') : NULL;
	if (slash)
		*slash = '/';
	if (strlen(name) >= sizeof(s->program) || (at && (*at == '\0' || strlen(at) >= sizeof(s->vm))))
		return false;
	*s = (struct metrics_source){ .pid = (uint32_t)pid };
	strcpy(s->program, name);
	strcpy(s->vm, at ? at : "");
	return source_good(s);
}
