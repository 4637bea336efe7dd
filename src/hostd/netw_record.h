// SPDX-License-Identifier: Apache-2.0
// What is known of a pod's network, in ROOT/net/pods/UID.json: written before anything is made, so that everything can
// be found and undone after a crash. Survives SIGKILL; after a power cut nothing that it describes exists any more but
// the lease, which netw_open reconciles.
#ifndef BH_HOSTD_NETW_RECORD_H
#define BH_HOSTD_NETW_RECORD_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

bool netw_uid_valid(const char *uid);   // 1-64 letters, digits, '-', '_', '.'; not beginning with '.'

int netw_record_write(const char *dir, const char *uid, const json_t *record, struct err *e);

/* New reference; NULL: -ENOENT or -EINVAL (not readable as JSON) in e. */
json_t *netw_record_read(const char *dir, const char *uid, struct err *e);

int netw_record_remove(const char *dir, const char *uid, struct err *e);   // absent is fine

/* The uids of all records. New reference; NULL: no memory. */
json_t *netw_record_list(const char *dir);

#endif
