// SPDX-License-Identifier: Apache-2.0
// `bulkhead token`: bootstrap tokens, with which other hosts join this cluster.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"
#include "k8s/base64.h"
#include "k8s/client.h"

#define SECRETS "/api/v1/namespaces/kube-system/secrets"
#define ID_LEN 6
#define TOKEN_LEN 23
#define GROUP "system:bootstrappers:kubeadm:default-node-token"

static const char text[] = "token create [--ttl DURATION] | ls | rm ID";

static int open_api(const char *root, struct k8s_client **api, struct err *e)
{
	char config[4096];
	snprintf(config, sizeof(config), "%s/admin.kubeconfig", root);
	return k8s_client_open(config, api, e);
}

/* "24h", "30m", "90s"; "0": for ever. False: none of these. */
static bool parse_ttl(const char *word, uint64_t *ns)
{
	char *end;
	unsigned long long n = strtoull(word, &end, 10);
	uint64_t unit = !strcmp(end, "h") ? 3600 : !strcmp(end, "m") ? 60 : !strcmp(end, "s") ? 1 : 0;
	if (end == word || n > 1000000 || (!unit && (*end || n)))
		return false;
	*ns = n * unit * NS_PER_S;
	return true;
}

static void random_token(char out[TOKEN_LEN + 1])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	for (size_t i = 0; i < TOKEN_LEN;) {
		unsigned char b;
		if (getrandom(&b, 1, 0) == 1 && b < 252)   // 7 * 36: no letter more likely than another
			out[i++] = letters[b % 36];
	}
	out[ID_LEN] = '.';
	out[TOKEN_LEN] = '\0';
}

int token_create(struct k8s_client *api, uint64_t ttl_ns, char token[TOKEN_LEN + 1], struct err *e)
{
	char name[64], id[ID_LEN + 1], when[CLOCK_TEXT_MAX];
	random_token(token);
	snprintf(id, sizeof(id), "%s", token);
	snprintf(name, sizeof(name), "bootstrap-token-%s", id);
	own_json json_t *secret = json_pack("{s:s, s:s, s:{s:s}, s:s, s:{s:s, s:s, s:s, s:s, s:s}}", "apiVersion", "v1", "kind", "Secret",
					    "metadata", "name", name, "type", "bootstrap.kubernetes.io/token", "stringData", "token-id", id,
					    "token-secret", token + ID_LEN + 1, "usage-bootstrap-authentication", "true",
					    "usage-bootstrap-signing", "true", "auth-extra-groups", GROUP);
	if (ttl_ns)
		jpath_set(secret, "stringData.expiration", json_string(clock_text(clock_real_ns() + ttl_ns, 0, when)));
	return k8s_client_call(api, "POST", SECRETS, NULL, secret, 10000, NULL, e);
}

int token_ca_hash(const char *ca_path, char out[72], struct err *e)
{
	own_buf struct buf pem = BUF_INIT;
	gnutls_x509_crt_t crt = NULL;
	gnutls_pubkey_t key = NULL;
	gnutls_datum_t der = {NULL, 0};
	unsigned char sum[32];
	int rc = file_read(ca_path, 1 << 20, &pem, e);
	if (rc)
		return rc;
	gnutls_datum_t d = {(unsigned char *)pem.data, (unsigned)pem.len};
	bool ok = gnutls_x509_crt_init(&crt) >= 0 && gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_PEM) >= 0 &&
		  gnutls_pubkey_init(&key) >= 0 && gnutls_pubkey_import_x509(key, crt, 0) >= 0 &&
		  gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der) >= 0 &&
		  gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, sum) >= 0;
	int n = snprintf(out, 72, "sha256:");
	for (int i = 0; ok && i < 32; i++)
		n += snprintf(out + n, 72 - (size_t)n, "%02x", sum[i]);
	gnutls_free(der.data);
	if (key)
		gnutls_pubkey_deinit(key);
	if (crt)
		gnutls_x509_crt_deinit(crt);
	return ok ? 0 : err_set(e, EINVAL, "%s holds no certificate", ca_path);
}

static int create(struct cli *c, struct k8s_client *api)
{
	const char *ttl = cli_option(c, "--ttl");
	char token[TOKEN_LEN + 1], hash[72], ca[4096];
	struct err e = ERR_INIT;
	uint64_t ns = 24 * 3600 * NS_PER_S;
	if (c->argc || (ttl && !parse_ttl(ttl, &ns)))
		return cli_usage(text);
	snprintf(ca, sizeof(ca), "%s/pki/ca.crt", c->root);
	if (token_ca_hash(ca, hash, &e) || token_create(api, ns, token, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(json_pack("{s:s, s:s, s:s}", "token", token, "server", k8s_client_server(api), "caHash", hash));
		return 0;
	}
	puts(token);
	fprintf(stderr, "on another host: bulkhead join %s --token %s --ca-hash %s\n", k8s_client_server(api), token, hash);
	return 0;
}

static char *field(const json_t *secret, const char *name)
{
	const char *value = json_string_value(json_object_get(json_object_get(secret, "data"), name));
	size_t len;
	return value ? (char *)base64_decode(value, strlen(value), &len) : NULL;
}

static int list(struct cli *c, struct k8s_client *api)
{
	struct err e = ERR_INIT;
	own_json json_t *all = NULL, *out = json_array();
	size_t i;
	json_t *s;
	if (c->argc)
		return cli_usage(text);
	if (k8s_client_call(api, "GET", SECRETS "?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken", NULL, NULL, 10000, &all, &e))
		return cli_fail(&e);
	if (!c->json)
		printf("%-8s %-22s %s\n", "ID", "EXPIRES", "GROUPS");
	json_array_foreach(json_object_get(all, "items"), i, s) {
		own_free char *id = field(s, "token-id"), *expires = field(s, "expiration"), *groups = field(s, "auth-extra-groups");
		if (c->json)
			json_array_append_new(out, json_pack("{s:s, s:s, s:s}", "id", id ? id : "", "expires", expires ? expires : "", "groups",
							     groups ? groups : ""));
		else
			printf("%-8s %-22s %s\n", id ? id : "?", expires ? expires : "never", groups ? groups : "");
	}
	if (c->json)
		cli_print_json(json_pack("{s:O}", "tokens", out));
	return 0;
}

static int drop(struct cli *c, struct k8s_client *api)
{
	struct err e = ERR_INIT;
	char path[256];
	if (c->argc != 1 || strspn(c->argv[0], "abcdefghijklmnopqrstuvwxyz0123456789") < ID_LEN)
		return cli_usage(text);
	snprintf(path, sizeof(path), SECRETS "/bootstrap-token-%.6s", c->argv[0]);
	int rc = k8s_client_call(api, "DELETE", path, NULL, NULL, 10000, NULL, &e);
	if (rc == -ENOENT)
		err_set(&e, ENOENT, "there is no token %.6s", c->argv[0]);
	return rc ? cli_fail(&e) : 0;
}

int cmd_token(struct cli *c)
{
	static const struct { const char *name; int (*run)(struct cli *c, struct k8s_client *api); } verbs[] = {
		{"create", create}, {"ls", list}, {"rm", drop}};
	struct k8s_client *api = NULL;
	struct err e = ERR_INIT;
	for (size_t i = 0; c->argc && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(c->argv[0], verbs[i].name))
			continue;
		c->argc--, c->argv++;
		if (open_api(c->root, &api, &e))
			return cli_fail(&e);
		int rc = verbs[i].run(c, api);
		k8s_client_close(api);
		return rc;
	}
	return cli_usage(text);
}
