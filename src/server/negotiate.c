// SPDX-License-Identifier: Apache-2.0
#include "server/negotiate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "k8s/protobuf.h"
#include "k8s/schema.h"
#include "k8s/yaml_json.h"
#include "server/status.h"

#define ENTRY_MAX 512

/* The next comma-separated entry, trimmed, into out; false at the end. Entries that do not fit are skipped. */
static bool next_entry(const char **p, char out[ENTRY_MAX])
{
	while (**p) {
		size_t len = strcspn(*p, ","), skip = strspn(*p, " \t,");
		const char *start = *p;
		if (skip >= len) {
			*p += skip ? skip : len;
			if (skip)
				continue;
		}
		*p += len + ((*p)[len] == ',');
		start += skip;
		len -= skip;
		while (len && (start[len - 1] == ' ' || start[len - 1] == '\t'))
			len--;
		if (len && len < ENTRY_MAX) {
			memcpy(out, start, len);
			out[len] = '\0';
			return true;
		}
	}
	return false;
}

/* Value of ;name=value in an entry; "" when absent. */
static void entry_param(const char *entry, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);

	out[0] = '\0';
	for (const char *p = strchr(entry, ';'); p; p = strchr(p, ';')) {
		p++;
		while (*p == ' ')
			p++;
		if (!strncasecmp(p, name, n) && p[n] == '=') {
			snprintf(out, size, "%.*s", (int)strcspn(p + n + 1, "; "), p + n + 1);
			return;
		}
	}
}

static bool is_type(const char *entry, const char *type)
{
	size_t n = strlen(type);

	return !strncasecmp(entry, type, n) && (!entry[n] || entry[n] == ';' || entry[n] == ' ');
}

static bool entry_accept(const char *entry, struct accept *a)
{
	char as[64], group[64];

	*a = (struct accept){ .form = ACCEPT_OBJECT };
	a->yaml = is_type(entry, "application/yaml");
	if (!a->yaml && !is_type(entry, "application/json") && !is_type(entry, "*/*") && !is_type(entry, "application/*"))
		return false;
	entry_param(entry, "as", as, sizeof as);
	entry_param(entry, "g", group, sizeof group);
	entry_param(entry, "v", a->version, sizeof a->version);
	if (!*as)
		return true;
	if (strcmp(group, "meta.k8s.io") || (strcmp(a->version, "v1") && strcmp(a->version, "v1beta1")))
		return false;
	if (!strcmp(as, "Table"))
		a->form = ACCEPT_TABLE;
	else if (!strcmp(as, "PartialObjectMetadata") || !strcmp(as, "PartialObjectMetadataList"))
		a->form = ACCEPT_PARTIAL;
	else
		return false;
	return true;
}

int accept_parse(const char *header, struct accept *a)
{
	char entry[ENTRY_MAX];

	*a = (struct accept){ .form = ACCEPT_OBJECT };
	if (!header || !*header)
		return 0;
	while (next_entry(&header, entry))
		if (entry_accept(entry, a))
			return 0;
	return -ENOTSUP;
}

bool accept_names(const char *header, const char *media_type, const char *parameters)
{
	char entry[ENTRY_MAX];

	while (header && next_entry(&header, entry)) {
		if (is_type(entry, media_type) && (!parameters || strstr(entry, parameters)))
			return true;
		if (!strcmp(entry, "application/json") || !strcmp(entry, "*/*"))
			return false;
	}
	return false;
}

bool accept_gzip(const char *header)
{
	char entry[ENTRY_MAX], q[16];
	const char *p = header ? header : "";

	while (next_entry(&p, entry))
		if (is_type(entry, "gzip")) {
			entry_param(entry, "q", q, sizeof q);
			return !*q || strtod(q, NULL) > 0;
		}
	return false;
}

/* Patches have types of their own, all of them JSON. */
static bool is_json(const char *type)
{
	size_t n = type ? strcspn(type, "; ") : 0;

	return !n || is_type(type, "application/json") || (n > 5 && !strncasecmp(type + n - 5, "+json", 5));
}

/* Nearly no body has a field twice: the parser tells of the one that has, and only that is gone through once more. */
static json_t *parse_json(const char *data, size_t len, json_t **duplicates, json_error_t *je)
{
	json_t *j = json_loadb(data, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, je);

	if (j || json_error_code(je) != json_error_duplicate_key)
		return j;
	j = json_loadb(data, len, JSON_DECODE_ANY, je);
	if (j && duplicates && (*duplicates = json_array()))
		k8s_json_duplicates(data, len, *duplicates);
	return j;
}

json_t *body_parse(const char *type, const char *data, size_t len, json_t **out, json_t **duplicates)
{
	json_error_t je;
	struct err e = ERR_INIT;
	json_t *j = NULL;

	if (type && is_type(type, "application/vnd.kubernetes.protobuf")) {
		int r = k8s_protobuf_decode(len ? data : "", len, &j, &e);
		if (r == -ENOTSUP)
			return status_new(415, "UnsupportedMediaType", "%s", e.text);
		if (r)
			return r == -ENOMEM ? status_errno(r) : status_bad_request("%s", e.text);
	} else if (type && (is_type(type, "application/yaml") || is_type(type, "application/apply-patch+yaml"))) {
		if (k8s_yaml_parse(data, len, &j, &e))
			return status_bad_request("error converting YAML to JSON: %s", e.text);
	} else if (!is_json(type)) {
		return status_new(415, "UnsupportedMediaType", "the body of the request was in an unknown format (%.64s) - accepted media types "
				  "include: application/json, application/yaml, application/vnd.kubernetes.protobuf", type);
	} else {
		j = parse_json(len ? data : "", len, duplicates, &je);
		if (!j)
			return status_bad_request("the body of the request is not valid JSON: %s (line %d, column %d)", je.text, je.line,
						  je.column);
	}
	*out = j;
	return NULL;
}
