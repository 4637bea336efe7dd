// SPDX-License-Identifier: Apache-2.0
// A Kubernetes API client over libcurl: what hostd and the command use to talk to our server or to an upstream
// kube-apiserver. Blocking; one struct k8s_client may be used by many threads at once (connections are pooled).
#ifndef BH_K8S_CLIENT_H
#define BH_K8S_CLIENT_H

#include <jansson.h>

#include "base/err.h"

struct k8s_client;

/* kubeconfig: file with one cluster and one user (certificate-authority(-data), client-certificate/key(-data), token,
 * tokenFile; current-context is followed). */
int k8s_client_open(const char *kubeconfig, struct k8s_client **c, struct err *e);
void k8s_client_close(struct k8s_client *c);
const char *k8s_client_server(const struct k8s_client *c);   // "https://127.0.0.1:6443"

/* One request. path: "/api/v1/nodes/x?y=z". body: NULL or JSON. content_type: NULL for application/json, or
 * "application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json",
 * "application/apply-patch+yaml". *out: the answer's JSON (new reference), may be NULL; on an HTTP error too (the
 * Status object). Returns 0 for 2xx, else -errno: 404 -ENOENT, 409 AlreadyExists -EEXIST, 409 Conflict -ESTALE, 410
 * -EKEYEXPIRED, 401/403 -EACCES, 422/400 -EINVAL, 429/503 -EAGAIN, 5xx -EREMOTEIO, no connection -ECONNREFUSED or
 * -ETIMEDOUT; e: the Status message. */
int k8s_client_call(struct k8s_client *c, const char *method, const char *path, const char *content_type,
		    const json_t *body, unsigned timeout_ms, json_t **out, struct err *e);

/* Keep a local copy of a collection up to date: list, then watch from there, with bookmarks; after an error or 410
 * again, with back-off (1 s doubling to 30 s, jitter). Callbacks run on the informer's own thread, in order:
 * on_sync(user, items): complete state after each (re)list; items: array, borrowed.
 * on_event(user, type, obj): "ADDED", "MODIFIED", "DELETED"; obj borrowed.
 * path: "/api/v1/pods?fieldSelector=spec.nodeName%3Dx" (without watch parameters). */
struct k8s_informer;
struct k8s_informer_ops {
	void (*on_sync)(void *user, json_t *items);
	void (*on_event)(void *user, const char *type, json_t *obj);
	void (*on_state)(void *user, int connected, const char *why);   // may be NULL
};
int k8s_informer_start(struct k8s_client *c, const char *path, const struct k8s_informer_ops *ops, void *user,
		       struct k8s_informer **i, struct err *e);
void k8s_informer_stop(struct k8s_informer *i);   // waits for its thread; at once even when a watch is open

#endif
