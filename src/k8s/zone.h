// SPDX-License-Identifier: Apache-2.0
// Time zones of the IANA database ("Europe/Berlin"), read from the system's files: how far local time is from UTC, and until
// when that stays so.
#ifndef BH_K8S_ZONE_H
#define BH_K8S_ZONE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct zone;

/* -ENOENT: no such zone; -EINVAL: not a name of one, or its file cannot be used. Caller frees. */
int zone_open(const char *name, struct zone **z, struct err *e);
int zone_parse(const void *tzif, size_t len, struct zone **z, struct err *e);   // contents of such a file (RFC 8536)
void zone_free(struct zone *z);   // NULL is fine

#define ZONE_FOR_EVER 0x7fffffffffffffffll
/* Seconds to add to UTC at a time (seconds since 1970), and the time from which on they are others. */
int zone_offset(const struct zone *z, long long at, long long *until);

#endif
