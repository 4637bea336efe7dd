// SPDX-License-Identifier: Apache-2.0
// What machines that want to join read first, without being known: ConfigMap kube-public/cluster-info with the server's
// address and its authority, signed with each bootstrap token that may do that, so that a holder of one can believe it.
// Tokens that have expired are removed.
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "server/bootstrap_token.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/jwt.h"
#include "server/registry.h"

#define NAME "cluster-info"
#define ROLE "kubeadm:bootstrap-signer-clusterinfo"
#define PREFIX "bootstrap-token-"

struct info {
	struct server *srv;
	char *kubeconfig;
	bool dirty, roles_made;
};

static void secret_changed(void *unit, int type, struct obj *o)
{
	struct info *f = unit;

	(void)type;
	f->dirty |= !!strstr(obj_key(o), "/kube-system/" PREFIX);
}

static void map_changed(void *unit, int type, struct obj *o)
{
	struct info *f = unit;
	struct obj_name n = obj_name(o);

	(void)type;
	f->dirty |= n.name_len == strlen(NAME) && !strncmp(n.name, NAME, n.name_len);
}

/* RFC 7515, with the content left out: header..signature */
static char *signature(const struct info *f, const char *id, const char *secret)
{
	own_free char *header = NULL, *token = NULL;
	unsigned char mac[32];
	char *out = NULL;

	if (asprintf(&header, "{\"alg\":\"HS256\",\"kid\":\"%s\"}", id) < 0 || asprintf(&token, "%s.%s", id, secret) < 0)
		return NULL;
	own_free char *head = jwt_url_encode(header, strlen(header)), *body = jwt_url_encode(f->kubeconfig, strlen(f->kubeconfig)), *all = NULL;
	if (!head || !body || asprintf(&all, "%s.%s", head, body) < 0 ||
	    gnutls_hmac_fast(GNUTLS_MAC_SHA256, token, strlen(token), all, strlen(all), mac) < 0)
		return NULL;
	own_free char *sign = jwt_url_encode(mac, sizeof mac);
	return sign && asprintf(&out, "%s..%s", head, sign) >= 0 ? out : NULL;
}

static void add_signature(const struct info *f, const json_t *secret, json_t *data)
{
	own_free char *id = bootstrap_token_field(secret, "token-id"), *word = bootstrap_token_field(secret, "token-secret");
	own_free char *use = bootstrap_token_field(secret, "usage-bootstrap-signing");
	char key[64];

	if (!id || !word || !use || strcmp(use, "true") || strlen(id) != BOOTSTRAP_ID_LEN)
		return;
	own_free char *text = signature(f, id, word);
	snprintf(key, sizeof key, "jws-kubeconfig-%s", id);
	if (text)
		json_object_set_new(data, key, json_string(text));
}

/* All tokens: expired ones go, the others sign. Returns when the next one expires (real time), 0: none does. */
static uint64_t look_at_tokens(struct info *f, json_t *data)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "secrets");
	uint64_t now = clock_real_ns(), next = 0, when;
	char prefix[REG_KEY_MAX];
	struct store_list l;

	snprintf(prefix, sizeof prefix, "secrets/kube-system/" PREFIX);
	if (store_list(f->srv->store, prefix, NULL, 0, 0, &l))
		return now + NS_PER_S;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *secret = obj_json(l.objs[i]);
		if (strcmp(jpath_str(secret, "type", ""), BOOTSTRAP_TYPE))
			continue;
		if (!bootstrap_token_expiry(secret, &when) || !when || when > now) {
			add_signature(f, secret, data);
			next = when > now && (!next || when < next) ? when : next;
			continue;
		}
		log_info("tokens", "bootstrap token expired: %s", jpath_str(secret, "metadata.name", ""));
		delete_object(f->srv, k, "kube-system", jpath_str(secret, "metadata.name", ""), jpath_str(secret, "metadata.uid", ""), -1, NULL);
	}
	store_list_fini(&l);
	return next;
}

static bool set_data(json_t *map, void *user)
{
	if (json_equal(json_object_get(map, "data"), user))
		return false;
	json_object_set(map, "data", user);
	return true;
}

static int ensure_map(struct info *f, json_t *data)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "configmaps");
	int r = change_object(f->srv, k, "kube-public", NAME, "", set_data, data, NULL);

	if (r != -ENOENT)
		return r;
	own_json json_t *map = json_pack("{s:{s:s},s:O}", "metadata", "name", NAME, "data", data);
	r = create_object(f->srv, k, "kube-public", map, NULL);
	return r == -EEXIST ? 0 : r;
}

/* Everybody may read it. */
static int ensure_roles(struct info *f)
{
	own_json json_t *role = json_pack("{s:{s:s},s:[{s:[s],s:[s],s:[s],s:[s]}]}", "metadata", "name", ROLE, "rules", "verbs", "get",
					  "apiGroups", "", "resources", "configmaps", "resourceNames", NAME);
	own_json json_t *binding = json_pack("{s:{s:s},s:{s:s,s:s,s:s},s:[{s:s,s:s,s:s}]}", "metadata", "name", ROLE, "roleRef", "apiGroup",
					     "rbac.authorization.k8s.io", "kind", "Role", "name", ROLE, "subjects", "kind", "User",
					     "apiGroup", "rbac.authorization.k8s.io", "name", "system:anonymous");
	int r = create_object(f->srv, k8s_kind_find("rbac.authorization.k8s.io", "v1", "roles"), "kube-public", role, NULL);

	if (!r || r == -EEXIST)
		r = create_object(f->srv, k8s_kind_find("rbac.authorization.k8s.io", "v1", "rolebindings"), "kube-public", binding, NULL);
	return r == -EEXIST ? 0 : r;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct info *f = unit;
	own_json json_t *data = json_pack("{s:s}", "kubeconfig", f->kubeconfig);
	uint64_t next = look_at_tokens(f, data), real = clock_real_ns();

	if (f->dirty) {
		f->roles_made = f->roles_made || !ensure_roles(f);
		f->dirty = ensure_map(f, data) || !f->roles_made;
	}
	if (f->dirty)
		return now + NS_PER_S;
	return next ? now + (next > real ? next - real : 0) + NS_PER_MS : LOOP_NEVER;
}

static int info_open(struct server *srv, void **unit, struct err *e)
{
	struct info *f = calloc(1, sizeof *f);
	own_buf struct buf ca = BUF_INIT;
	char path[4096];
	int r;

	snprintf(path, sizeof path, "%s/pki/ca.crt", srv->root);
	r = file_read(path, 1 << 20, &ca, e);
	own_free char *text = r ? NULL : base64_encode(ca.data, ca.len);
	if (!r && (!f || !text ||
		   asprintf(&f->kubeconfig, strchr(srv->advertise, ':') ?
			    "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    certificate-authority-data: %s\n    server: "
			    "https://[%s]:%d\n" :
			    "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    certificate-authority-data: %s\n    server: "
			    "https://%s:%d\n", text, srv->advertise, srv->port) < 0))
		r = err_set(e, ENOMEM, "out of memory");
	if (r) {
		free(f);
		return r;
	}
	f->srv = srv;
	f->dirty = true;
	*unit = f;
	return 0;
}

static void info_close(void *unit)
{
	struct info *f = unit;

	free(f->kubeconfig);
	free(f);
}

static const struct unit_source sources[] = {
	{ "", "v1", "secrets", secret_changed, NULL },
	{ "", "v1", "configmaps", map_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops cluster_info_unit = {
	.name = "cluster info", .sources = sources, .open = info_open, .work = work, .close = info_close,
};
