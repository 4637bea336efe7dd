// SPDX-License-Identifier: Apache-2.0
// A backup: everything that a cluster is, in one file of lines, the same for every store:
//   {"bulkhead":"backup","version":1,"resourceVersion":N}
//   {"file":"ca.crt","data":BASE64}                 the authority and the key that signs tokens
//   {"key":"pods/ns/name","object":{...}}            each object as it is stored
//   {"end":true,"objects":N,"sha256":"..."}          of all bytes before this line
// It is one moment's state, taken while the server works. Whoever has it has the cluster: it is as secret as ca.key.
#ifndef BH_SERVER_BACKUP_H
#define BH_SERVER_BACKUP_H

#include <sys/types.h>

#include "server/request.h"

struct backup;
int backup_open(struct store *st, const char *root, struct backup **b, struct err *e);
ssize_t backup_read(struct backup *b, char *out, size_t max);   // bytes; 0 at the end; -ENOMEM
void backup_close(struct backup *b);

/* GET /bulkhead/v1/backup, for system:masters. False: not its path. */
bool backup_serve(struct request *r);

/* Check the file to its end, write the authority's files into ROOT/pki (they must not be there) ... */
int backup_restore_files(const char *path, const char *root, struct err *e);
/* ... and then its objects into a store that has none. Their resourceVersions begin behind all that were given out. */
int backup_restore_objects(const char *path, struct store *st, struct err *e);

#endif
