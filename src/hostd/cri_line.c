// SPDX-License-Identifier: Apache-2.0
// Parsing one line of a CRI log; see cri_log.h.
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cri_log.h"

int cri_line_parse(const char *line, size_t len, struct cri_line *out)
{
	struct cri_line l;
	char time[CLOCK_TEXT_MAX];
	const char *end = line + len, *space = memchr(line, ' ', len);
	if (!space || (size_t)(space - line) >= sizeof(time))
		return -EINVAL;
	l.time = line;
	l.time_len = (size_t)(space - line);
	memcpy(time, line, l.time_len);
	time[l.time_len] = '\0';
	if (clock_parse(time, &l.real_ns))
		return -EINVAL;
	const char *p = space + 1;
	if (end - p >= 7 && !memcmp(p, "stdout ", 7))
		l.stream = CRI_STDOUT;
	else if (end - p >= 7 && !memcmp(p, "stderr ", 7))
		l.stream = CRI_STDERR;
	else
		return -EINVAL;
	p += 7;
	/* The tag may carry more, separated by ':'; the first letter decides. */
	space = memchr(p, ' ', (size_t)(end - p));
	if (!space || (*p != 'F' && *p != 'P') || (p + 1 != space && p[1] != ':'))
		return -EINVAL;
	l.partial = *p == 'P';
	l.text = space + 1;
	l.text_len = (size_t)(end - l.text);
	*out = l;
	return 0;
}
