// SPDX-License-Identifier: Apache-2.0
// $(NAME) expansion; see env_expand.h.
#include "env_expand.h"

#include <string.h>

#include "base/buf.h"

char *env_expand(const char *text, const json_t *env)
{
	struct buf b = BUF_INIT;
	int rc = 0;
	while (*text && !rc) {
		size_t plain = strcspn(text, "$");
		rc = buf_append(&b, text, plain);
		text += plain;
		if (!*text)
			break;
		const char *end = text[1] == '(' ? strchr(text, ')') : NULL;
		if (text[1] == '$') {
			rc |= buf_puts(&b, "$");
			text += 2;
		} else if (end) {
			json_t *value = json_object_getn(env, text + 2, (size_t)(end - text - 2));
			rc |= value ? buf_puts(&b, json_string_value(value)) : buf_append(&b, text, (size_t)(end + 1 - text));
			text = end + 1;
		} else {
			rc |= buf_puts(&b, "$");
			text++;
		}
	}
	if (rc) {
		buf_fini(&b);
		return NULL;
	}
	return buf_take(&b);
}
