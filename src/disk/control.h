// SPDX-License-Identifier: Apache-2.0
// A served disk can be changed while it is in use: the server listens at NAME.ctl (SOCK_SEQPACKET, one JSON request and
// one JSON answer a connection), and the filter and resize commands go there when the disk is open elsewhere.
#ifndef BH_DISK_CONTROL_H
#define BH_DISK_CONTROL_H

#include <bulkhead/disk.h>
#include <jansson.h>

#include "base/err.h"

struct control;

int control_start(struct bh_disk *d, const char *disk_path, struct control **c, struct err *e);   // a thread that answers
void control_stop(struct control *c);                                                            // NULL allowed

/* One request on an open disk: {"do": "filter-add"...}. Fills *answer (new reference) on success. */
int control_do(struct bh_disk *d, const json_t *request, json_t **answer, struct err *e);

/* To whoever serves the disk, or, if nobody has it open, on the disk opened for this. */
int control_request(const char *disk_path, const json_t *request, json_t **answer, struct err *e);

#endif
