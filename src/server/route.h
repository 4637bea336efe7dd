// SPDX-License-Identifier: Apache-2.0
// What a request's method and URL ask for. Pure functions on strings.
#ifndef BH_SERVER_ROUTE_H
#define BH_SERVER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#define ROUTE_SEGMENTS_MAX 32
#define ROUTE_PARAMS_MAX 256

struct route_param { const char *name, *value; };

struct route {
	char *memory;                    // what the strings below point into
	const char *path;                // decoded
	const char *raw_query;           // as sent, without '?'; "" when there is none
	struct route_param params[ROUTE_PARAMS_MAX];
	size_t param_count;
	const char *method;              // "GET"...
	const char *verb;                // "get", "list", "watch", "create", ... ; for non-resource paths the method in lower case
	bool is_resource;                // the rest is set only then
	const char *group, *version;     // "" for core
	const char *ns;                  // "" for cluster-wide or all namespaces
	const char *resource;            // "pods"
	const char *name;                // "" for a collection
	const char *subresource;         // "" for none
	const char *rest;                // what follows a subresource such as proxy, without the slash; ""
};

/* uri: path and query as in the request line. Returns 0; -EINVAL: malformed (bad escape, NUL, too many parts);
 * -ENOMEM. */
int route_parse(const char *method, const char *uri, struct route *r);
void route_fini(struct route *r);

const char *route_param(const struct route *r, const char *name);                // first value; NULL when absent
bool route_flag(const struct route *r, const char *name);                        // "true" or "1"

#endif
