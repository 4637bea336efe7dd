// SPDX-License-Identifier: Apache-2.0
// kubeconfig; see kubeconfig.h.
#include "kubeconfig.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base64.h"
#include "yaml_json.h"

#define FILE_MAX_BYTES (1 << 20)

void kubeconfig_fini(struct kubeconfig *k)
{
	char *const owned[] = {k->server, k->ca_path, k->cert_path, k->key_path, k->token, k->token_path, k->tls_name, k->user_name,
		k->password};
	for (size_t i = 0; i < sizeof(owned) / sizeof(*owned); i++)
		free(owned[i]);
	for (int i = 0; i < 3; i++)
		if (k->fds[i] >= 0)
			close(k->fds[i]);
	*k = (struct kubeconfig){.fds = {-1, -1, -1}};
}

/* The entry of a list of {name, <member>} with this name; its <member>. */
static const json_t *named(const json_t *config, const char *list, const char *member, const char *name)
{
	size_t i;
	json_t *entry;
	json_array_foreach(json_object_get(config, list), i, entry)
		if (!strcmp(jpath_str(entry, "name", ""), name))
			return json_object_get(entry, member);
	return NULL;
}

static char *dup_or_null(const json_t *from, const char *key)
{
	const char *s = json_string_value(json_object_get(from, key));
	return s && *s ? strdup(s) : NULL;
}

/* Paths in a kubeconfig are relative to its folder. */
static char *relative(const char *config_path, char *path)
{
	const char *slash = strrchr(config_path, '/');
	char *full = NULL;
	if (!path || path[0] == '/' || !slash)
		return path;
	if (asprintf(&full, "%.*s/%s", (int)(slash - config_path), config_path, path) < 0)
		full = NULL;
	free(path);
	return full;
}

/* <key>-data wins over <key>, as in upstream clients. */
static int read_material(const json_t *from, const char *key, const char *config_path, char **path, int *fd, struct err *e)
{
	char data_key[64];
	snprintf(data_key, sizeof(data_key), "%s-data", key);
	const char *data = json_string_value(json_object_get(from, data_key));
	if (!data || !*data) {
		*path = relative(config_path, dup_or_null(from, key));
		return 0;
	}
	size_t len;
	own_free unsigned char *bytes = base64_decode(data, strlen(data), &len);
	if (!bytes)
		return err_set(e, EINVAL, "%s: %s is not base64", config_path, data_key);
	*fd = memfd_create("kubeconfig", MFD_CLOEXEC);
	if (*fd < 0)
		return err_sys(e, errno, "memory file for %s", data_key);
	int rc = fd_write_all(*fd, bytes, len);
	if (rc)
		return err_sys(e, -rc, "memory file for %s", data_key);
	return asprintf(path, "/proc/self/fd/%d", *fd) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

static int fill(const json_t *config, const char *path, struct kubeconfig *k, struct err *e)
{
	const char *name = jpath_str(config, "current-context", "");
	const json_t *context = named(config, "contexts", "context", name);
	if (!context)
		return err_set(e, EINVAL, "%s: current-context \"%s\" is not in its contexts", path, name);
	const json_t *cluster = named(config, "clusters", "cluster", jpath_str(context, "cluster", ""));
	const json_t *user = named(config, "users", "user", jpath_str(context, "user", ""));
	if (!cluster)
		return err_set(e, EINVAL, "%s: cluster \"%s\" is not in its clusters", path, jpath_str(context, "cluster", ""));
	k->server = dup_or_null(cluster, "server");
	if (!k->server || (strncmp(k->server, "https://", 8) && strncmp(k->server, "http://", 7)))
		return err_set(e, EINVAL, "%s: the cluster needs a server that begins with https:// or http://", path);
	while (strlen(k->server) > 8 && k->server[strlen(k->server) - 1] == '/')
		k->server[strlen(k->server) - 1] = '\0';
	k->insecure = jpath_bool(cluster, "insecure-skip-tls-verify", false);
	k->tls_name = dup_or_null(cluster, "tls-server-name");
	k->token = dup_or_null(user, "token");
	k->token_path = relative(path, dup_or_null(user, "tokenFile"));
	k->user_name = dup_or_null(user, "username");
	k->password = dup_or_null(user, "password");
	int rc = read_material(cluster, "certificate-authority", path, &k->ca_path, &k->fds[0], e);
	if (!rc)
		rc = read_material(user, "client-certificate", path, &k->cert_path, &k->fds[1], e);
	if (!rc)
		rc = read_material(user, "client-key", path, &k->key_path, &k->fds[2], e);
	return rc;
}

int kubeconfig_read(const char *path, struct kubeconfig *out, struct err *e)
{
	own_buf struct buf text = BUF_INIT;
	own_json json_t *config = NULL;
	struct kubeconfig k = {.fds = {-1, -1, -1}};
	int rc = file_read(path, FILE_MAX_BYTES, &text, e);
	if (rc)
		return rc;
	rc = k8s_yaml_parse(text.data ? text.data : "", text.len, &config, e);
	if (rc)
		return err_wrap(e, "%s", path);
	rc = fill(config, path, &k, e);
	if (rc) {
		kubeconfig_fini(&k);
		return rc;
	}
	*out = k;
	return 0;
}
