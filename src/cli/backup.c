// SPDX-License-Identifier: Apache-2.0
// `bulkhead backup FILE`: everything that the cluster is, from its running server. `bulkhead restore FILE`: into an empty
// root, before the first `up`.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/own.h"
#include "cli.h"
#include "k8s/kubeconfig.h"

static int fetch(const struct kubeconfig *k, FILE *to, struct err *e)
{
	CURL *curl = curl_easy_init();
	char url[1024], why[CURL_ERROR_SIZE] = "";
	CURLcode code;
	if (!curl)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(url, sizeof(url), "%s/bulkhead/v1/backup", k->server);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CAINFO, k->ca_path);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);   // nobody else
	curl_easy_setopt(curl, CURLOPT_SSLCERT, k->cert_path);
	curl_easy_setopt(curl, CURLOPT_SSLKEY, k->key_path);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, to);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	code = curl_easy_perform(curl);
	curl_easy_cleanup(curl);
	return code == CURLE_OK ? 0 : err_set(e, EIO, "%s: %s", url, *why ? why : curl_easy_strerror(code));
}

/* A backup that broke off does not stay: its last line says that it is whole. */
static int check_end(const char *path, struct err *e)
{
	own_file FILE *f = fopen(path, "re");
	char tail[256] = "";
	if (f && !fseek(f, -(long)sizeof(tail) + 1, SEEK_END) && fread(tail, 1, sizeof(tail) - 1, f) > 0 && strstr(tail, "\n{\"end\":true,"))
		return 0;
	return err_set(e, EIO, "the server broke off");
}

int cmd_backup(struct cli *c)
{
	char config[4096], part[4200];
	struct kubeconfig k;
	struct err e = ERR_INIT;
	if (c->argc != 1)
		return cli_usage("backup FILE [--root DIR]");
	snprintf(config, sizeof(config), "%s/admin.kubeconfig", c->root);
	snprintf(part, sizeof(part), "%s.part", c->argv[0]);
	if (kubeconfig_read(config, &k, &e))
		return cli_fail(&e);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc;
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	rc = f ? fetch(&k, f, &e) : err_sys(&e, errno, "%s", part);
	if (f && !rc && (fflush(f) || fsync(fileno(f))))
		rc = err_sys(&e, errno, "%s", part);
	if (f)
		fclose(f);
	if (!rc)
		rc = check_end(part, &e);
	if (!rc && rename(part, c->argv[0]))
		rc = err_sys(&e, errno, "%s", c->argv[0]);
	kubeconfig_fini(&k);
	if (rc)
		unlink(part);
	return rc ? cli_fail(&e) : 0;
}

int cmd_restore(struct cli *c)
{
	char server[4096];
	struct err e = ERR_INIT;
	const char *store = cli_option(c, "--store");
	if (c->argc != 1)
		return cli_usage("restore FILE [--root DIR] [--store sqlite|etcd=URL,...]");
	if (supervise_running(c->root))
		return err_set(&e, EBUSY, "the cluster in %s runs: stop it first with \"bulkhead down\"", c->root), cli_fail(&e);
	snprintf(server, sizeof(server), "%s/bulkhead-server", cli_bin_dir());
	execl(server, "bulkhead-server", "--root", c->root, "--restore", c->argv[0], "--store", store ? store : "sqlite", (char *)NULL);
	return err_sys(&e, errno, "%s", server), cli_fail(&e);
}
