// SPDX-License-Identifier: Apache-2.0
// What client.c and informer.c share.
#ifndef BH_K8S_CLIENT_INTERNAL_H
#define BH_K8S_CLIENT_INTERNAL_H

#include <curl/curl.h>

#include "client.h"

/* A curl handle with TLS and timeouts set, pooled so that connections are reused. NULL: out of memory. */
CURL *k8s_client_take(struct k8s_client *c);
void k8s_client_give(struct k8s_client *c, CURL *curl);
/* Headers every request carries (authorization, accept). Free with curl_slist_free_all. NULL: out of memory. */
struct curl_slist *k8s_client_headers(struct k8s_client *c);
/* -errno and text for an answered request. body: parsed answer or NULL. */
int k8s_client_status_error(long http, const json_t *body, struct err *e);
/* -errno and text for a request that got no answer. */
int k8s_client_curl_error(CURLcode code, const char *server, const char *detail, struct err *e);

#endif
