// SPDX-License-Identifier: Apache-2.0
// Parameters of a StorageClass; see claim_class.h. "filters" is written as for `bulkhead disk create --filter`, several
// separated by spaces: "throttle:iops=500,bps=10M compress:algorithm=zstd".
#include "claim_class.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/jpath.h"

#define SEPARATORS " \t\n"

/* "KEY=VALUE,KEY=VALUE" of len bytes. */
static int parse_settings(const char *text, size_t len, json_t *settings, struct err *e)
{
	const char *end = text + len;
	while (text < end) {
		const char *comma = memchr(text, ',', (size_t)(end - text)), *stop = comma ? comma : end;
		const char *eq = memchr(text, '=', (size_t)(stop - text));
		if (!eq || eq == text)
			return err_set(e, EINVAL, "parameter filters: '%.*s' is not KEY=VALUE", (int)(stop - text), text);
		if (json_object_setn_new(settings, text, (size_t)(eq - text), json_stringn(eq + 1, (size_t)(stop - eq - 1))))
			return err_set(e, EINVAL, "parameter filters: '%.*s' is not UTF-8", (int)(stop - text), text);
		text = stop + 1;
	}
	return 0;
}

static int parse_filter(const char *word, size_t len, json_t *list, struct err *e)
{
	const char *colon = memchr(word, ':', len);
	size_t type_len = colon ? (size_t)(colon - word) : len;
	json_t *settings = json_object();
	own_json json_t *filter = json_pack("{s:o, s:o}", "type", json_stringn(word, type_len), "settings", settings);
	if (!filter || !type_len)
		return err_set(e, EINVAL, "parameter filters: '%.*s' does not start with a filter's name", (int)len, word);
	int rc = colon ? parse_settings(colon + 1, len - type_len - 1, settings, e) : 0;
	if (!rc && json_array_append(list, filter))
		rc = err_set(e, ENOMEM, "no memory");
	return rc;
}

static int parse_filters(const char *text, char **out, struct err *e)
{
	own_json json_t *list = json_array();
	for (text += strspn(text, SEPARATORS); *text; text += strspn(text, SEPARATORS)) {
		size_t len = strcspn(text, SEPARATORS);
		int rc = parse_filter(text, len, list, e);
		if (rc)
			return rc;
		text += len;
	}
	if (!json_array_size(list))
		return 0;
	*out = json_dumps(list, JSON_COMPACT);
	return *out ? 0 : err_set(e, ENOMEM, "no memory");
}

int claim_class_parse(const json_t *parameters, char **filters, struct err *e)
{
	const char *key, *list = "";
	json_t *v;
	*filters = NULL;
	json_object_foreach((json_t *)parameters, key, v) {
		const char *value = json_string_value(v) ? json_string_value(v) : "";
		bool fs = !strcmp(key, "csi.storage.k8s.io/fstype") || !strcmp(key, "fsType");
		if (!strcmp(key, "filters"))
			list = value;
		else if (!fs)
			return err_set(e, EINVAL, "parameter '%s' is unknown: there are 'filters' and 'fsType'", key);
		else if (strcmp(value, "ext4"))
			return err_set(e, EINVAL, "parameter %s: file system '%s' is not offered: ext4 is", key, value);
	}
	return parse_filters(list, filters, e);
}
