// SPDX-License-Identifier: Apache-2.0
// Registries and credentials; see image_registry.h.
#include "image_registry.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"

/* This machine itself needs no TLS, as other runtimes have it. */
static bool is_loopback(const char *host)
{
	size_t name = strcspn(host, ":/");
	return !strncmp(host, "127.", 4) || (name == 9 && !strncmp(host, "localhost", 9)) || !strncmp(host, "[::1]", 5);
}

static bool is_insecure(const json_t *registries, const char *host)
{
	const json_t *entry = json_object_get(registries, host);
	const json_t *insecure = json_object_get(entry, "insecure");
	return insecure ? json_is_true(insecure) : is_loopback(host);
}

static int wrong(struct err *e, const char *what)
{
	return err_set(e, EINVAL, "registries.json: %s", what);
}

/* A mirror is "host[:port][/prefix]", with "http://" or "https://" in front if the user likes. */
static int add_mirror(const json_t *registries, const char *mirror, const char *path, struct image_endpoint *out, struct err *e)
{
	bool plain = !strncmp(mirror, "http://", 7);
	mirror += plain ? 7 : !strncmp(mirror, "https://", 8) ? 8 : 0;
	size_t len = strlen(mirror);
	while (len && mirror[len - 1] == '/')
		len--;
	char host[256];
	size_t host_len = strcspn(mirror, "/");
	if (!host_len || host_len >= sizeof(host) || mirror[strcspn(mirror, " \t\n@?#")])
		return wrong(e, "a mirror is written \"host:port\" or \"host:port/prefix\"");
	snprintf(host, sizeof(host), "%.*s", (int)host_len, mirror);
	if (snprintf(out->repository, sizeof(out->repository), "%.*s/%s", (int)len, mirror, path) >= (int)sizeof(out->repository))
		return wrong(e, "a mirror's name is too long");
	out->insecure = plain || is_insecure(registries, host);
	return 0;
}

int image_endpoints(const char *config, const struct image_ref *r, struct image_endpoint out[IMAGE_ENDPOINTS_MAX],
		    struct err *e)
{
	json_error_t why;
	own_json json_t *root = json_loads(config ? config : "{}", JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return err_set(e, EINVAL, "registries.json: line %d: %.150s", why.line, why.text);
	const json_t *registries = json_object_get(root, "registries");
	if (!json_is_object(root) || (registries && !json_is_object(registries)))
		return wrong(e, "expected {\"registries\": {\"HOST:PORT\": {\"insecure\": true, \"mirrors\": [\"HOST:PORT\"]}}}");
	const json_t *entry = json_object_get(registries, r->registry), *mirrors = json_object_get(entry, "mirrors");
	const json_t *insecure = json_object_get(entry, "insecure");
	if ((entry && !json_is_object(entry)) || (mirrors && !json_is_array(mirrors)) || (insecure && !json_is_boolean(insecure)))
		return wrong(e, "a registry has \"insecure\": true or false, and \"mirrors\": a list of names");
	if (json_array_size(mirrors) > IMAGE_ENDPOINTS_MAX - 1)
		return wrong(e, "at most 8 mirrors for one registry");
	size_t i;
	json_t *mirror;
	json_array_foreach(mirrors, i, mirror) {
		if (!json_is_string(mirror))
			return wrong(e, "a mirror is a string");
		int rc = add_mirror(registries, json_string_value(mirror), r->path, &out[i], e);
		if (rc)
			return rc;
	}
	image_ref_repository(r, out[i].repository);
	out[i].insecure = is_insecure(registries, r->registry);
	return (int)i + 1;
}

static char *base64(const char *text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text);
	char *out = malloc((len + 2) / 3 * 4 + 1), *o = out;
	for (size_t i = 0; out && i < len; i += 3) {
		unsigned v = (unsigned)(unsigned char)text[i] << 16;
		v |= i + 1 < len ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
		v |= i + 2 < len ? (unsigned)(unsigned char)text[i + 2] : 0;
		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*o++ = i + 2 < len ? digits[v & 63] : '=';
	}
	if (out)
		*o = '\0';
	return out;
}

/* "https://index.docker.io/v1/" -> "docker.io", "http://127.0.0.1:5000/v2/" -> "127.0.0.1:5000". */
static char *auth_key(const char *key)
{
	const char *start = strstr(key, "://");
	start = start ? start + 3 : key;
	size_t len = strlen(start);
	while (len && start[len - 1] == '/')
		len--;
	if (len > 3 && (!strncmp(start + len - 3, "/v1", 3) || !strncmp(start + len - 3, "/v2", 3)))
		len -= 3;
	if (len == 15 && !strncmp(start, "index.docker.io", len))
		return strdup("docker.io");
	return strndup(start, len);
}

static json_t *auth_entry(const json_t *in)
{
	const char *auth = jpath_str(in, "auth", ""), *token = jpath_str(in, "identitytoken", "");
	const char *user = jpath_str(in, "username", NULL), *password = jpath_str(in, "password", NULL);
	own_buf struct buf joined = BUF_INIT;
	own_free char *coded = NULL;
	if (!*auth && user && password) {
		if (buf_printf(&joined, "%s:%s", user, password) || !(coded = base64(joined.data)))
			return NULL;
		auth = coded;
	}
	return *token ? json_pack("{s:s, s:s}", "auth", auth, "identitytoken", token) : json_pack("{s:s}", "auth", auth);
}

char *image_auth_file(const char *auth_json, struct err *e)
{
	json_error_t why;
	own_json json_t *root = json_loads(auth_json && *auth_json ? auth_json : "{}", 0, &why);
	own_json json_t *auths = json_object();
	const json_t *in = json_object_get(root, "auths");
	if (!root || (in && !json_is_object(in))) {
		err_set(e, EINVAL, "registry credentials: expected JSON {\"auths\": {\"REGISTRY\": {\"auth\": \"...\"}}}");
		return NULL;
	}
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)in, key, value) {
		own_free char *clean = auth_key(key);
		json_t *entry = json_is_object(value) ? auth_entry(value) : json_object();
		if (!clean || !entry || json_object_set_new(auths, clean, entry)) {
			err_sys(e, ENOMEM, "registry credentials");
			return NULL;
		}
	}
	own_json json_t *out = json_pack("{s:O}", "auths", auths);
	char *text = out ? json_dumps(out, JSON_COMPACT) : NULL;
	if (!text)
		err_sys(e, ENOMEM, "registry credentials");
	return text;
}
