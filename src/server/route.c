// SPDX-License-Identifier: Apache-2.0
#include "server/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode %XX in place (and '+' in queries). -EINVAL: incomplete escape or an encoded NUL. */
static int unescape(char *s, bool plus)
{
	char *out = s;

	for (; *s; s++) {
		int hi, lo;
		if (*s != '%') {
			*out++ = plus && *s == '+' ? ' ' : *s;
			continue;
		}
		hi = hex(s[1]);
		lo = hi < 0 ? -1 : hex(s[2]);
		if (lo < 0 || !(hi | lo))
			return -EINVAL;
		*out++ = hi << 4 | lo;
		s += 2;
	}
	*out = '\0';
	return 0;
}

static int parse_params(struct route *r, char *query)
{
	char *save = NULL;

	for (char *p = strtok_r(query, "&", &save); p; p = strtok_r(NULL, "&", &save)) {
		char *value = strchr(p, '=');
		if (r->param_count == ROUTE_PARAMS_MAX)
			return -EINVAL;
		if (value)
			*value++ = '\0';
		else
			value = p + strlen(p);
		if (unescape(p, true) || unescape(value, true))
			return -EINVAL;
		r->params[r->param_count++] = (struct route_param){ p, value };
	}
	return 0;
}

static int split(char *path, char **segments, size_t *count)
{
	char *save = NULL;

	*count = 0;
	for (char *p = strtok_r(path, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		if (*count == ROUTE_SEGMENTS_MAX)
			return -EINVAL;
		segments[(*count)++] = p;
	}
	return 0;
}

static const char *resource_verb(const struct route *r)
{
	if (!strcmp(r->method, "GET") || !strcmp(r->method, "HEAD"))
		return route_flag(r, "watch") && !*r->subresource ? "watch" : *r->name ? "get" : "list";
	if (!strcmp(r->method, "POST"))
		return "create";
	if (!strcmp(r->method, "PUT"))
		return "update";
	if (!strcmp(r->method, "PATCH"))
		return "patch";
	if (!strcmp(r->method, "DELETE"))
		return *r->name ? "delete" : "deletecollection";
	return "";
}

/* seg: what follows the version, in parts (a copy of the path that was cut). "namespaces/NS" and "namespaces/NS/status|finalize" are the namespace itself. */
static void parse_resource(struct route *r, const char *parts, char **seg, size_t n)
{
	size_t i = 0;

	if (n > 2 && !strcmp(seg[0], "namespaces") && strcmp(seg[2], "status") && strcmp(seg[2], "finalize")) {
		r->ns = seg[1];
		i = 2;
	} else if (n > 1 && !strcmp(seg[0], "namespaces")) {
		r->ns = seg[1];
	}
	r->resource = seg[i++];
	if (i < n)
		r->name = seg[i++];
	if (i < n)
		r->subresource = seg[i++];
	if (i < n)
		r->rest = r->path + (seg[i] - parts);
	r->is_resource = true;
}

static void parse_api_path(struct route *r, const char *parts, char **seg, size_t n)
{
	if (n > 2 && !strcmp(seg[0], "api")) {
		r->group = "";
		r->version = seg[1];
		parse_resource(r, parts, seg + 2, n - 2);
	} else if (n > 3 && !strcmp(seg[0], "apis")) {
		r->group = seg[1];
		r->version = seg[2];
		parse_resource(r, parts, seg + 3, n - 3);
	}
}

static const char *method_verb(const char *method)
{
	static const char *const verbs[][2] = { { "GET", "get" }, { "HEAD", "head" }, { "POST", "post" }, { "PUT", "put" },
						{ "PATCH", "patch" }, { "DELETE", "delete" }, { "OPTIONS", "options" } };

	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (!strcmp(method, verbs[i][0]))
			return verbs[i][1];
	return "";
}

static int parse(struct route *r, const char *uri, size_t path_len)
{
	char *path = r->memory, *parts = path + path_len + 1, *raw = parts + path_len + 1, *query;
	const char *question = uri[path_len] ? uri + path_len + 1 : "";
	char *seg[ROUTE_SEGMENTS_MAX];
	size_t n = 0;
	int e;

	memcpy(path, uri, path_len);
	path[path_len] = '\0';
	strcpy(raw, question);
	query = raw + strlen(raw) + 1;
	strcpy(query, question);
	if (unescape(path, false) || *path != '/')
		return -EINVAL;
	strcpy(parts, path);
	r->path = path;
	r->raw_query = raw;
	e = parse_params(r, query);
	if (!e)
		e = split(parts, seg, &n);
	if (e)
		return e;
	parse_api_path(r, parts, seg, n);
	r->verb = r->is_resource ? resource_verb(r) : method_verb(r->method);
	return 0;
}

int route_parse(const char *method, const char *uri, struct route *r)
{
	size_t len = strlen(uri), path_len = strcspn(uri, "?");
	int e;

	*r = (struct route){ .method = method, .verb = "", .group = "", .version = "", .ns = "", .resource = "", .name = "",
			     .subresource = "", .rest = "" };
	r->memory = malloc(2 * len + 2 * path_len + 8);
	if (!r->memory)
		return -ENOMEM;
	e = parse(r, uri, path_len);
	if (e)
		route_fini(r);
	return e;
}

void route_fini(struct route *r)
{
	free(r->memory);
	r->memory = NULL;
}

const char *route_param(const struct route *r, const char *name)
{
	for (size_t i = 0; i < r->param_count; i++)
		if (!strcmp(r->params[i].name, name))
			return r->params[i].value;
	return NULL;
}

bool route_flag(const struct route *r, const char *name)
{
	const char *v = route_param(r, name);

	return v && (!strcmp(v, "true") || !strcmp(v, "1"));
}
