// SPDX-License-Identifier: Apache-2.0
// A yes holds for five minutes (two for tokens), a no for thirty seconds. Keys are digests: tokens are not kept.
#include "kubelet_auth.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/client.h"

#define KEPT 256
#define YES_NS (300 * NS_PER_S)
#define TOKEN_NS (120 * NS_PER_S)
#define NO_NS (30 * NS_PER_S)
#define ASK_MS 10000
#define DIGEST 32

/* What is remembered: of a token, who it is; of a review, whether it was allowed. Neither may be taken for the other. */
enum about { ABOUT_TOKEN, ABOUT_REVIEW };

struct verdict {
	enum about about;
	unsigned char key[DIGEST];
	uint64_t until_ns;             // 0: empty
	int rc;                        // 0 or -EACCES
	json_t *user;                  // of a token
};

struct kubelet_auth {
	const struct host *host;
	pthread_mutex_t lock;
	struct verdict kept[KEPT];
	unsigned next;
};

static bool recall(struct kubelet_auth *a, enum about about, const unsigned char key[DIGEST], int *rc, json_t **user)
{
	uint64_t now = clock_mono_ns();
	bool found = false;
	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < KEPT && !found; i++) {
		struct verdict *v = &a->kept[i];
		if (v->until_ns <= now || v->about != about || memcmp(v->key, key, DIGEST))
			continue;
		*rc = v->rc;
		if (user)
			*user = json_incref(v->user);
		found = true;
	}
	pthread_mutex_unlock(&a->lock);
	return found;
}

static void keep(struct kubelet_auth *a, enum about about, const unsigned char key[DIGEST], int rc, json_t *user, uint64_t ns)
{
	pthread_mutex_lock(&a->lock);
	struct verdict *v = &a->kept[a->next++ % KEPT];
	json_decref(v->user);
	*v = (struct verdict){.about = about, .until_ns = clock_mono_ns() + ns, .rc = rc, .user = json_incref(user)};
	memcpy(v->key, key, DIGEST);
	pthread_mutex_unlock(&a->lock);
}

static int ask(struct kubelet_auth *a, const char *path, const json_t *review, json_t **out)
{
	struct err e = ERR_INIT;
	int rc = review ? k8s_client_call(a->host->api, "POST", path, NULL, review, ASK_MS, out, &e) : -ENOMEM;
	if (rc)
		log_limited(LOG_LEVEL_WARN, "auth", "the API server does not say who may use this host: %s", e.text);
	return rc ? -EIO : 0;
}

static int authenticate(void *ctx, const char *token, json_t **user)
{
	struct kubelet_auth *a = ctx;
	unsigned char key[DIGEST];
	own_json json_t *answer = NULL;
	int rc;
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, token, strlen(token), key) < 0)
		return -EIO;
	if (recall(a, ABOUT_TOKEN, key, &rc, user))
		return rc;
	own_json json_t *review = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "authentication.k8s.io/v1", "kind", "TokenReview", "spec",
					    "token", token);
	if (ask(a, "/apis/authentication.k8s.io/v1/tokenreviews", review, &answer))
		return -EIO;
	rc = jpath_bool(answer, "status.authenticated", false) ? 0 : -EACCES;
	json_t *who = rc ? NULL : jpath_get(answer, "status.user");
	keep(a, ABOUT_TOKEN, key, rc, who, rc ? NO_NS : TOKEN_NS);
	*user = json_incref(who);
	return rc;
}

static int authorize(void *ctx, const json_t *user, const char *verb, const char *part)
{
	struct kubelet_auth *a = ctx;
	unsigned char key[DIGEST];
	own_json json_t *answer = NULL, *groups = json_deep_copy(json_object_get(user, "groups"));
	int rc;
	own_json json_t *review = json_pack("{s:s, s:s, s:{s:s, s:O, s:{s:s, s:s, s:s, s:s, s:s}}}", "apiVersion", "authorization.k8s.io/v1",
		"kind", "SubjectAccessReview", "spec", "user", jpath_str(user, "username", ""), "groups", groups, "resourceAttributes",
		"group", "", "resource", "nodes", "subresource", part, "name", a->host->node_name, "verb", verb);
	own_free char *text = review ? json_dumps(review, JSON_COMPACT) : NULL;
	if (!text || gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), key) < 0)
		return -EIO;
	if (recall(a, ABOUT_REVIEW, key, &rc, NULL))
		return rc;
	if (ask(a, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, &answer))
		return -EIO;
	rc = jpath_bool(answer, "status.allowed", false) ? 0 : -EACCES;
	keep(a, ABOUT_REVIEW, key, rc, NULL, rc ? NO_NS : YES_NS);
	return rc;
}

const struct streaming_auth_ops kubelet_auth_ops = {.authenticate = authenticate, .authorize = authorize};

int kubelet_auth_new(const struct host *h, struct kubelet_auth **out, struct err *e)
{
	struct kubelet_auth *a = calloc(1, sizeof(*a));
	if (!a)
		return err_sys(e, ENOMEM, "authorization");
	a->host = h;
	pthread_mutex_init(&a->lock, NULL);
	*out = a;
	return 0;
}

void kubelet_auth_free(struct kubelet_auth *a)
{
	for (unsigned i = 0; a && i < KEPT; i++)
		json_decref(a->kept[i].user);
	free(a);
}
