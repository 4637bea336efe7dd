// SPDX-License-Identifier: Apache-2.0
// The operator's door: HTTP and JSON on ROOT/run/hostd.sock (mode 0600), for the `bulkhead` command.
//   GET /v1/vms                       {"vms":[...]}
//   GET /v1/images                    {"images":[...]}
//   POST /v1/images/pull?ref=R        lines of JSON: {"stage":...,"done":N,"total":N}, last {"ok":true,...} or {"error":...}
//   POST /v1/images/load?path=P&name=N   the same
//   DELETE /v1/images?ref=R
//   GET /v1/templates                 {"templates":[...]}
//   POST /v1/templates/build?vcpus=N&memoryMiB=N   lines as above
//   DELETE /v1/templates?name=N       the beginning of a name, or "all"
//   GET /v1/health
#ifndef BH_HOSTD_ADMIN_H
#define BH_HOSTD_ADMIN_H

#include "base/err.h"
#include "host.h"

struct admin;

int admin_start(const struct host *h, struct admin **a, struct err *e);
void admin_stop(struct admin *a);

#endif
