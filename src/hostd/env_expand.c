// SPDX-License-Identifier: Apache-2.0
// $(NAME) expansion; see env_expand.h.
#include "env_expand.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* One $(NAME), text[0..len). Names without a value are noted in missing, if that is wanted. */
static int expand_name(struct buf *b, const char *text, size_t len, const json_t *env, struct buf *missing)
{
	const char *value = json_string_value(json_object_getn(env, text + 2, len - 3));
	int rc = 0;
	if (missing && (!value || !*value))
		rc = buf_printf(missing, "%s%.*s", missing->len ? ", " : "", (int)(len - 3), text + 2);
	return rc ? rc : value ? buf_puts(b, value) : buf_append(b, text, len);
}

static char *expand(const char *text, const json_t *env, struct buf *missing)
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
			rc |= expand_name(&b, text, (size_t)(end + 1 - text), env, missing);
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

char *env_expand(const char *text, const json_t *env)
{
	return expand(text, env, NULL);
}

char *env_missing(const char *text, const json_t *env)
{
	struct buf missing = BUF_INIT;
	free(expand(text, env, &missing));
	if (!missing.len) {
		buf_fini(&missing);
		return NULL;
	}
	return buf_take(&missing);
}
