// SPDX-License-Identifier: Apache-2.0
// `bulkhead join`: make this machine a host of a cluster whose server runs elsewhere, ours or an upstream kube-apiserver. The
// server's authority is believed when it has the hash that was given, or is the file that was given; everything else is
// hostd's, with the token (src/hostd/certs.c).
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"
#include "k8s/base64.h"

#define INFO "/api/v1/namespaces/kube-public/configmaps/cluster-info"
#define INFO_MAX (1u << 20)
#define CA_KEY "certificate-authority-data:"

static const char text[] = "join URL --token TOKEN (--ca-hash sha256:HEX | --ca FILE) [--node-name NAME] [--address IP] [--engine E]";

static size_t take_bytes(char *data, size_t size, size_t count, void *user)
{
	struct buf *b = user;
	return b->len + size * count > INFO_MAX || buf_append(b, data, size * count) ? 0 : size * count;
}

/* What the server says about itself to anybody. Nothing in it is believed yet. */
static int fetch_info(const char *server, struct buf *out, struct err *e)
{
	char url[512];
	long code = 0;
	CURL *curl = curl_easy_init();
	if (!curl)
		return err_sys(e, ENOMEM, "join");
	snprintf(url, sizeof(url), "%s" INFO, server);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 15L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
	CURLcode rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	curl_easy_cleanup(curl);
	if (rc)
		return err_set(e, ECONNREFUSED, "%s does not answer: %s", server, curl_easy_strerror(rc));
	if (code != 200)
		return err_set(e, ENOENT, "%s has no ConfigMap kube-public/cluster-info that anybody may read (HTTP %ld): give its authority "
			       "with --ca FILE", server, code);
	return 0;
}

/* The authority that cluster-info names, into ca_path if it has the hash. */
static int fetch_ca(const char *server, const char *hash, const char *ca_path, struct err *e)
{
	own_buf struct buf answer = BUF_INIT;
	char got[72];
	int rc = fetch_info(server, &answer, e);
	if (rc)
		return rc;
	own_json json_t *map = json_loadb(answer.data ? answer.data : "", answer.len, 0, NULL);
	const char *config = jpath_str(map, "data.kubeconfig", ""), *at = strstr(config, CA_KEY);
	size_t len = 0;
	at = at ? at + strlen(CA_KEY) + strspn(at + strlen(CA_KEY), " \"") : "";
	own_free char *pem = (char *)base64_decode(at, strcspn(at, "\"\r\n "), &len);
	if (!pem || !len)
		return err_set(e, EINVAL, "%s: cluster-info names no authority", server);
	rc = file_write_atomic(ca_path, pem, len, 0644, e);
	if (!rc)
		rc = token_ca_hash(ca_path, got, e);
	if (!rc && strcmp(got, hash)) {
		unlink(ca_path);
		rc = err_set(e, EACCES, "the authority of %s has the hash %s, not %s: this is not the cluster that you mean", server, got, hash);
	}
	return rc;
}

int join_write_bootstrap(const char *root, const char *server, const char *ca_path, const char *token, struct err *e)
{
	own_buf struct buf ca = BUF_INIT, out = BUF_INIT;
	char path[4096];
	int rc = file_read(ca_path, 1 << 20, &ca, e);
	if (rc)
		return rc;
	own_free char *data = base64_encode(ca.data, ca.len);
	if (!data || buf_printf(&out, "apiVersion: v1\nkind: Config\ncurrent-context: bootstrap\nclusters:\n- name: cluster\n  cluster:\n"
				"    certificate-authority-data: %s\n    server: %s\ncontexts:\n- name: bootstrap\n  context:\n"
				"    cluster: cluster\n    user: bootstrap\nusers:\n- name: bootstrap\n  user:\n    token: %s\n", data, server,
				token))
		return err_sys(e, ENOMEM, "bootstrap.kubeconfig");
	snprintf(path, sizeof(path), "%s/bootstrap.kubeconfig", root);
	return file_write_atomic(path, out.data, out.len, 0600, e);
}

static bool good_token(const char *t)
{
	size_t n = strspn(t, "abcdefghijklmnopqrstuvwxyz0123456789");
	return n == 6 && t[6] == '.' && strspn(t + 7, "abcdefghijklmnopqrstuvwxyz0123456789") == 16 && !t[23];
}

static int prepare(struct cli *c, const char *server, const char *token, const char *hash, const char *ca, struct err *e)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/pki", c->root);
	int rc = dir_make(path, 0700, e);
	snprintf(path, sizeof(path), "%s/pki/join-ca.crt", c->root);
	if (!rc && !ca)
		rc = fetch_ca(server, hash, path, e);
	return rc ? rc : join_write_bootstrap(c->root, server, ca ? ca : path, token, e);
}

int cmd_join(struct cli *c)
{
	struct cluster wish = {0}, cl;
	struct err e = ERR_INIT;
	const char *token = cli_option(c, "--token"), *hash = cli_option(c, "--ca-hash"), *ca = cli_option(c, "--ca");
	const char *name = cli_option(c, "--node-name"), *address = cli_option(c, "--address"), *engine = cli_option(c, "--engine");
	if (c->argc != 1 || !token || !hash == !ca)
		return cli_usage(text);
	char *server = c->argv[0];
	while (*server && server[strlen(server) - 1] == '/')
		server[strlen(server) - 1] = '\0';
	if (strncmp(server, "https://", 8) || strlen(server) >= sizeof(wish.server))
		return err_set(&e, EINVAL, "\"%s\": the server's URL begins with https://", server), cli_fail(&e);
	if (!good_token(token))
		return err_set(&e, EINVAL, "--token: a token is 6 and 16 lower-case letters and digits with a dot between"), cli_fail(&e);
	if (hash && (strncmp(hash, "sha256:", 7) || strlen(hash) != 71))
		return err_set(&e, EINVAL, "--ca-hash: must be sha256: and 64 hexadecimal digits"), cli_fail(&e);
	if (geteuid() != 0)
		return err_set(&e, EPERM, "join needs root: it makes network namespaces and VMs with users of their own"), cli_fail(&e);
	if (supervise_running(c->root))
		return err_set(&e, EBUSY, "a host runs already in %s: stop it first with \"bulkhead down\"", c->root), cli_fail(&e);
	snprintf(wish.server, sizeof(wish.server), "%s", server);
	snprintf(wish.node_name, sizeof(wish.node_name), "%s", name ? name : "");
	snprintf(wish.address, sizeof(wish.address), "%s", address ? address : "");
	snprintf(wish.engine, sizeof(wish.engine), "%s", engine ? engine : "");
	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int rc = cluster_choose(c->root, &wish, &cl, &e);
	if (!rc)
		rc = prepare(c, server, token, hash, ca, &e);
	if (!rc)
		rc = up_start_supervisor(c->root, &e);
	if (!rc)
		rc = up_wait_node(c->root, c->root, cl.node_name, &e);
	if (rc)
		return cli_fail(&e);
	if (c->json)
		cli_print_json(json_pack("{s:s, s:s, s:s}", "root", c->root, "server", server, "node", cl.node_name));
	else
		fprintf(stderr, "node %s is Ready\n", cl.node_name);
	return 0;
}
