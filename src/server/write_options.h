// SPDX-License-Identifier: Apache-2.0
// CreateOptions, UpdateOptions, PatchOptions and DeleteOptions: what a request that changes something may ask for.
#ifndef BH_SERVER_WRITE_OPTIONS_H
#define BH_SERVER_WRITE_OPTIONS_H

#include <jansson.h>

#include "server/route.h"

/* The query of a create ("CreateOptions"), an update or a patch. NULL or a Status. apply: of a server-side apply. */
json_t *write_options_check(const struct route *r, const char *kind, bool apply);

/* DeleteOptions: their types, then their values. NULL or a Status. */
json_t *delete_options_check(json_t *options);

/* Whether nothing is to be stored: by the query or by DeleteOptions (NULL: none). */
bool options_dry_run(const struct route *r, const json_t *delete_options);

#endif
