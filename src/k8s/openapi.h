// SPDX-License-Identifier: Apache-2.0
// OpenAPI documents of all kinds, made from their fields. Making one takes a few milliseconds and up to 3 MB; they change
// only when custom resources do (k8s_kinds_generation), so callers keep what they serve.
#ifndef BH_K8S_OPENAPI_H
#define BH_K8S_OPENAPI_H

#include <jansson.h>

struct buf;

/* GET /openapi/v2 as JSON. New reference; NULL: out of memory. */
json_t *k8s_openapi_v2(void);
/* The same for Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf (message openapi.v2.Document), which
 * is all that kubectl before 1.27 understands. Answer with Content-Type K8S_OPENAPI_V2_PROTOBUF: clients refuse '@' in a
 * media type that they get. Appends to out. 0, -ENOMEM. */
#define K8S_OPENAPI_V2_PROTOBUF "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
int k8s_openapi_v2_protobuf(const json_t *v2, struct buf *out);

/* GET /openapi/v3: {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=..."}, "apis/apps/v1": ...}}. */
json_t *k8s_openapi_v3_index(void);
/* GET /openapi/v3/api/v1, /openapi/v3/apis/<group>/<version> (JSON). New reference; NULL: no such group and version. */
json_t *k8s_openapi_v3(const char *group, const char *version);

#endif
