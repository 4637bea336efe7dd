// SPDX-License-Identifier: Apache-2.0
#include "server/page_token.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/base64.h"

char *page_token_make(uint64_t rv, const char *start)
{
	own_json json_t *j = json_pack("{s:s,s:I,s:s}", "v", "meta.k8s.io/v1", "rv", (json_int_t)rv, "start", start);
	own_free char *text = json_dumps(j, JSON_COMPACT);

	return text ? base64_encode(text, strlen(text)) : NULL;
}

int page_token_parse(const char *token, const char *prefix, uint64_t *rv, char **start)
{
	size_t len;
	own_free char *text = (char *)base64_decode(token, strlen(token), &len);
	own_json json_t *j = text ? json_loadb(text, len, 0, NULL) : NULL;
	const char *key = jpath_str(j, "start", NULL);
	long long at = jpath_int(j, "rv", -1);
	char *copy;

	if (!key || at < 0 || strncmp(key, prefix, strlen(prefix)))
		return -EINVAL;
	copy = strdup(key);
	if (!copy)
		return -ENOMEM;
	*rv = at;
	*start = copy;
	return 0;
}
