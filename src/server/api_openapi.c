// SPDX-License-Identifier: Apache-2.0
// /openapi/v2 and /openapi/v3. Making a document takes milliseconds and some are megabytes, so the latest are kept until a
// custom kind changes or they have not been asked for in a while; an ETag spares clients the bytes.
#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/custom.h"
#include "k8s/openapi.h"
#include "server/api.h"
#include "server/status.h"

#define V2_PROTOBUF_ASKED "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#define KEPT_BYTES (6u << 20)
#define KEPT_COUNT 32
#define KEPT_NS (300 * NS_PER_S)

struct document {
	_Atomic unsigned refs;
	char *name;               // path, or the media type of the other form of v2
	const char *type;
	struct buf text;
	char etag[2 * 16 + 3];
	unsigned long generation; // of the kinds that it tells of
	uint64_t used_ns;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct document *kept[KEPT_COUNT];
static size_t kept_bytes;

static void document_unref(void *arg)
{
	struct document *d = arg;

	if (!d || atomic_fetch_sub(&d->refs, 1) > 1)
		return;
	buf_fini(&d->text);
	free(d->name);
	free(d);
}

/* --- making --- */

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

static int append(const char *data, size_t len, void *user)
{
	return buf_append(user, data, len);
}

/* 0, -ENOENT or -ENOMEM. */
static int write_text(struct document *d)
{
	bool protobuf = !strcmp(d->name, K8S_OPENAPI_V2_PROTOBUF);
	bool v2 = protobuf || !strcmp(d->name, "/openapi/v2"), index = !strcmp(d->name, "/openapi/v3");
	own_json json_t *j = v2 ? k8s_openapi_v2() : index ? k8s_openapi_v3_index() : v3_document(d->name + strlen("/openapi/v3/"));

	if (!j)
		return v2 || index ? -ENOMEM : -ENOENT;
	d->type = protobuf ? K8S_OPENAPI_V2_PROTOBUF : "application/json";
	if (protobuf)
		return k8s_openapi_v2_protobuf(j, &d->text);
	return json_dump_callback(j, append, &d->text, JSON_COMPACT) || buf_puts(&d->text, "\n") ? -ENOMEM : 0;
}

static void put_etag(struct document *d)
{
	unsigned char digest[32];

	gnutls_hash_fast(GNUTLS_DIG_SHA256, d->text.data, d->text.len, digest);
	for (int i = 0; i < 16; i++)
		sprintf(d->etag + 1 + 2 * i, "%02X", digest[i]);
	d->etag[0] = d->etag[33] = '"';
}

static int make(const char *name, unsigned long generation, struct document **out)
{
	struct document *d = calloc(1, sizeof *d);
	int r = -ENOMEM;

	if (!d)
		return -ENOMEM;
	d->refs = 1;
	d->generation = generation;
	d->name = strdup(name);
	if (d->name)
		r = write_text(d);
	if (r) {
		document_unref(d);
		return r;
	}
	put_etag(d);
	*out = d;
	return 0;
}

/* --- keeping; all with the lock held --- */

static void drop(size_t i)
{
	kept_bytes -= kept[i]->text.len;
	document_unref(kept[i]);
	kept[i] = NULL;
}

static size_t oldest(void)
{
	size_t found = KEPT_COUNT;

	for (size_t i = 0; i < KEPT_COUNT; i++)
		if (kept[i] && (found == KEPT_COUNT || kept[i]->used_ns < kept[found]->used_ns))
			found = i;
	return found;
}

static struct document *find(const char *name, unsigned long generation, uint64_t now)
{
	struct document *d = NULL;

	for (size_t i = 0; i < KEPT_COUNT; i++) {
		if (kept[i] && (kept[i]->generation != generation || now - kept[i]->used_ns > KEPT_NS))
			drop(i);
		else if (kept[i] && !strcmp(kept[i]->name, name))
			d = kept[i];
	}
	return d;
}

static void keep(struct document *d)
{
	size_t i = 0;

	if (d->text.len > KEPT_BYTES)
		return;
	while (kept_bytes + d->text.len > KEPT_BYTES)
		drop(oldest());
	while (i < KEPT_COUNT && kept[i])
		i++;
	if (i == KEPT_COUNT)
		drop(i = oldest());
	kept[i] = d;
	kept_bytes += d->text.len;
	atomic_fetch_add(&d->refs, 1);
}

/* A reference. Who asks for one that is being made waits for it. */
static int get(const char *name, struct document **out)
{
	unsigned long generation = k8s_kinds_generation();
	uint64_t now = clock_mono_ns();
	int r = 0;

	pthread_mutex_lock(&lock);
	*out = find(name, generation, now);
	if (*out) {
		atomic_fetch_add(&(*out)->refs, 1);
	} else {
		r = make(name, generation, out);
		if (!r)
			keep(*out);
	}
	if (!r)
		(*out)->used_ns = now;
	pthread_mutex_unlock(&lock);
	return r;
}

__attribute__((destructor)) static void drop_all(void)
{
	for (size_t i = 0; i < KEPT_COUNT; i++)
		if (kept[i])
			drop(i);
}

/* --- answering --- */

/* If-None-Match: a list of tags, "*", or weak ones. */
static bool has_it(const struct request *r, const struct document *d)
{
	const char *tags = request_header(r, "If-None-Match");

	return tags && (strstr(tags, d->etag) || !strcmp(tags, "*"));
}

static void answer(struct request *r, struct document *d)
{
	char etag[sizeof d->etag];

	memcpy(etag, d->etag, sizeof etag);
	if (has_it(r, d)) {
		document_unref(d);
		reply_text(r, 304, "application/json", "");
	} else {
		reply_shared(r, 200, d->type, d->text.data, d->text.len, document_unref, d);
	}
	if (!r->response)
		return;
	MHD_add_response_header(r->response, "ETag", etag);
	MHD_add_response_header(r->response, "Vary", "Accept");
}

bool api_openapi(struct request *r)
{
	const char *name = r->route.path;
	struct document *d;
	int e;

	if (strcmp(r->route.method, "GET") && strcmp(r->route.method, "HEAD"))
		return false;
	if (strcmp(name, "/openapi/v2") && strcmp(name, "/openapi/v3") && strncmp(name, "/openapi/v3/", 12))
		return false;
	if (!strcmp(name, "/openapi/v2") && accept_names(request_header(r, "Accept"), V2_PROTOBUF_ASKED, NULL))
		name = K8S_OPENAPI_V2_PROTOBUF;
	e = get(name, &d);
	if (e == -ENOENT)
		return false;
	if (e)
		reply_status(r, status_errno(e));
	else
		answer(r, d);
	return true;
}
