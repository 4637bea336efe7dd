// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/indexes.h"

#include <errno.h>
#include <stdlib.h>

bool indexes_add(struct indexes *x, long i)
{
	if (i < 0 || i >= x->count || x->has[i])
		return false;
	x->has[i] = 1;
	x->size++;
	return true;
}

static void parse(struct indexes *x, const char *p)
{
	while (*p) {
		char *end;
		long from = strtol(p, &end, 10), to = from;
		if (end == p || from < 0)
			return;
		if (*end == '-')
			to = strtol(end + 1, &end, 10);
		for (long i = from; i <= to && i < x->count; i++)
			indexes_add(x, i);
		p = *end == ',' ? end + 1 : end;
		if (p == end && *end)
			return;
	}
}

int indexes_init(struct indexes *x, long count, const char *text)
{
	*x = (struct indexes){ .count = count };
	if (count < 0 || count > INDEXES_MAX)
		return -E2BIG;
	x->has = calloc((size_t)count + 1, 1);
	if (!x->has)
		return -ENOMEM;
	parse(x, text);
	return 0;
}

void indexes_fini(struct indexes *x)
{
	free(x->has);
	*x = (struct indexes){ 0 };
}

int indexes_text(const struct indexes *x, struct buf *out)
{
	int r = buf_puts(out, "");

	for (long i = 0; i < x->count && !r; i++) {
		long last = i;
		if (!x->has[i])
			continue;
		while (last + 1 < x->count && x->has[last + 1])
			last++;
		if (last == i)
			r = buf_printf(out, "%s%ld", out->len ? "," : "", i);
		else
			r = buf_printf(out, last == i + 1 ? "%s%ld,%ld" : "%s%ld-%ld", out->len ? "," : "", i, last);
		i = last;
	}
	return r;
}
