// SPDX-License-Identifier: Apache-2.0
// Content negotiation: what form the answer takes, and what the body of a request holds.
#ifndef BH_SERVER_NEGOTIATE_H
#define BH_SERVER_NEGOTIATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum accept_form { ACCEPT_OBJECT, ACCEPT_TABLE, ACCEPT_PARTIAL };

struct accept {
	enum accept_form form;
	bool yaml;               // application/yaml instead of JSON
	char version[16];        // of meta.k8s.io for TABLE and PARTIAL: "v1", "v1beta1"
};

/* header: value of Accept; NULL or "" accepts JSON. The first acceptable entry wins (q is not looked at, as upstream).
 * Returns 0 or -ENOTSUP. */
int accept_parse(const char *header, struct accept *a);

/* Does the header name this media type (without parameters) before JSON? For discovery and OpenAPI. */
bool accept_names(const char *header, const char *media_type, const char *parameters);

/* header: value of Accept-Encoding or NULL. Only who names gzip gets it. */
bool accept_gzip(const char *header);

/* Parse a body. type: Content-Type or NULL (JSON). Returns NULL and *out, or a Status. Of fields that come twice the last
 * one counts. *duplicates (may be NULL; before: NULL): `duplicate field "spec.x"` for each of them, a JSON array, NULL for none; YAML
 * with such fields is refused. */
json_t *body_parse(const char *type, const char *data, size_t len, json_t **out, json_t **duplicates);

#endif
