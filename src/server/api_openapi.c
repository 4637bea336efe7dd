// SPDX-License-Identifier: Apache-2.0
// /openapi/v2 and /openapi/v3: made when asked for (a few milliseconds), not kept: clients keep them.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "k8s/openapi.h"
#include "server/api.h"
#include "server/status.h"

#define V2_PROTOBUF_ASKED "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

static void reply_v2(struct request *r)
{
	json_t *doc = k8s_openapi_v2();
	struct buf b = BUF_INIT;

	if (!doc || !accept_names(request_header(r, "Accept"), V2_PROTOBUF_ASKED, NULL)) {
		reply_json(r, 200, doc);
		return;
	}
	if (k8s_openapi_v2_protobuf(doc, &b))
		reply_status(r, status_errno(-ENOMEM));
	else
		reply_buf(r, 200, K8S_OPENAPI_V2_PROTOBUF, &b);
	buf_fini(&b);
	json_decref(doc);
}

/* path: "api/v1" or "apis/GROUP/VERSION". */
static json_t *v3_document(const char *path)
{
	char group[256], version[64], tail;

	if (sscanf(path, "api/%63[^/]%c", version, &tail) == 1)
		return k8s_openapi_v3("", version);
	if (sscanf(path, "apis/%255[^/]/%63[^/]%c", group, version, &tail) == 2)
		return k8s_openapi_v3(group, version);
	return NULL;
}

bool api_openapi(struct request *r)
{
	const char *path = r->route.path;
	json_t *j = NULL;

	if (strcmp(r->route.method, "GET") && strcmp(r->route.method, "HEAD"))
		return false;
	if (!strcmp(path, "/openapi/v2")) {
		reply_v2(r);
		return true;
	}
	if (!strcmp(path, "/openapi/v3"))
		j = k8s_openapi_v3_index();
	else if (!strncmp(path, "/openapi/v3/", 12))
		j = v3_document(path + 12);
	if (j)
		reply_json(r, 200, j);
	return j != NULL;
}
