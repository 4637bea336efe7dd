// SPDX-License-Identifier: Apache-2.0
#include "server/http_head.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_token(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("!#$%&'*+-.^_`|~", *s))
			return false;
	return true;
}

static bool is_text(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 && *s != '\t')
			return false;
	return true;
}

static int parse_status_line(const char *line, int *code)
{
	if (strncmp(line, "HTTP/1.", 7) || !isdigit((unsigned char)line[7]) || line[8] != ' ')
		return -EBADMSG;
	line += 9;
	for (int i = 0; i < 3; i++)
		if (!isdigit((unsigned char)line[i]))
			return -EBADMSG;
	if (line[3] && line[3] != ' ')
		return -EBADMSG;
	*code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
	return *code < 100 ? -EBADMSG : 0;
}

static int parse_header(char *line, struct http_head *h)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (!colon || h->count == HTTP_HEADERS_MAX)
		return -EBADMSG;
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		end[-1] = '\0';
	if (!is_token(line) || !is_text(value))
		return -EBADMSG;
	if (!strcasecmp(line, "Content-Length")) {
		if (!*value || strspn(value, "0123456789") != strlen(value) || strlen(value) > 18)
			return -EBADMSG;
		h->content_length = atoll(value);
	}
	h->headers[h->count++] = (struct http_header){ line, value };
	return 0;
}

static int parse_lines(struct http_head *h)
{
	char *line = h->text, *end = strstr(line, "\r\n");
	int r;

	*end = '\0';
	r = parse_status_line(line, &h->code);
	while (!r) {
		line = end + 2;
		end = strstr(line, "\r\n");
		if (end == line)
			return 0;
		*end = '\0';
		r = parse_header(line, h);
	}
	return r;
}

ssize_t http_head_parse(const char *data, size_t len, struct http_head *h)
{
	const char *end = memmem(data, len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX, "\r\n\r\n", 4);
	size_t head_len;
	int r;

	if (!end)
		return len >= HTTP_HEAD_MAX ? -EBADMSG : 0;
	head_len = end - data + 4;
	if (memchr(data, '\0', head_len))
		return -EBADMSG;
	*h = (struct http_head){ .content_length = -1, .text = strndup(data, head_len) };
	if (!h->text)
		return -ENOMEM;
	r = parse_lines(h);
	if (r) {
		http_head_fini(h);
		return r;
	}
	return head_len;
}

void http_head_fini(struct http_head *h)
{
	free(h->text);
	*h = (struct http_head){ 0 };
}

const char *http_head_get(const struct http_head *h, const char *name)
{
	for (int i = 0; i < h->count; i++)
		if (!strcasecmp(h->headers[i].name, name))
			return h->headers[i].value;
	return NULL;
}
