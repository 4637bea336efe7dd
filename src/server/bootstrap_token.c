// SPDX-License-Identifier: Apache-2.0
#include "server/bootstrap_token.h"

#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "server/registry.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyz0123456789"
#define GROUPS_MAX 16

bool bootstrap_token_is(const char *token)
{
	size_t id = strspn(token, LETTERS);

	return id == BOOTSTRAP_ID_LEN && token[id] == '.' && strspn(token + id + 1, LETTERS) == BOOTSTRAP_SECRET_LEN &&
	       !token[id + 1 + BOOTSTRAP_SECRET_LEN];
}

char *bootstrap_token_field(const json_t *secret, const char *field)
{
	const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), field));
	size_t len = 0;
	char *value = text ? (char *)base64_decode(text, strlen(text), &len) : NULL;

	if (value && strlen(value) == len)
		return value;
	free(value);
	return NULL;
}

static bool field_is(const json_t *secret, const char *field, const char *want)
{
	own_free char *value = bootstrap_token_field(secret, field);

	return value && strlen(value) == strlen(want) && !gnutls_memcmp(value, want, strlen(want));
}

bool bootstrap_token_expiry(const json_t *secret, uint64_t *when)
{
	own_free char *text = bootstrap_token_field(secret, "expiration");

	*when = 0;
	return !text || !*text || !clock_parse(text, when);
}

/* Groups of the Secret must lie below system:bootstrappers: whoever may write Secrets cannot make an administrator. */
static bool good_group(const char *group)
{
	size_t prefix = strlen(BOOTSTRAP_GROUP ":"), n = strlen(group);

	return !strncmp(group, BOOTSTRAP_GROUP ":", prefix) && n > prefix && n < 256 &&
	       strspn(group + prefix, LETTERS "-:") == n - prefix && strchr(LETTERS, group[n - 1]);
}

static struct identity *identity_of(const json_t *secret, const char *id, const char **why)
{
	own_free char *extra = bootstrap_token_field(secret, "auth-extra-groups");
	const char *groups[GROUPS_MAX + 2] = { BOOTSTRAP_GROUP };
	char name[64], *save = NULL;
	size_t n = 1;
	struct identity *who;

	for (char *g = extra ? strtok_r(extra, ",", &save) : NULL; g; g = strtok_r(NULL, ",", &save)) {
		g[strcspn(g, " \n")] = '\0';
		if (!good_group(g) || n > GROUPS_MAX) {
			*why = "the bootstrap token's groups must start with system:bootstrappers:";
			return NULL;
		}
		groups[n++] = g;
	}
	snprintf(name, sizeof name, "system:bootstrap:%.*s", BOOTSTRAP_ID_LEN, id);
	who = identity_new(name, "", groups);
	*why = who ? NULL : "out of memory";
	return who;
}

struct identity *bootstrap_token_identity(struct server *srv, const char *token, const char **why)
{
	char name[64], id[BOOTSTRAP_ID_LEN + 1], key[REG_KEY_MAX];
	uint64_t expiry;

	*why = "invalid bearer token";
	if (!bootstrap_token_is(token))
		return NULL;
	snprintf(id, sizeof id, "%s", token);
	snprintf(name, sizeof name, "bootstrap-token-%s", id);
	own_obj struct obj *o = store_get(srv->store, reg_key(k8s_kind_find("", "v1", "secrets"), "kube-system", name, key));
	own_json json_t *secret = o ? obj_json(o) : NULL;
	if (!secret || strcmp(jpath_str(secret, "type", ""), BOOTSTRAP_TYPE) || jpath_get(secret, "metadata.deletionTimestamp") ||
	    !field_is(secret, "token-id", id) || !field_is(secret, "token-secret", token + BOOTSTRAP_ID_LEN + 1) ||
	    !field_is(secret, "usage-bootstrap-authentication", "true"))
		return NULL;
	if (!bootstrap_token_expiry(secret, &expiry) || (expiry && expiry <= clock_real_ns())) {
		*why = "the bootstrap token has expired";
		return NULL;
	}
	return identity_of(secret, id, why);
}
