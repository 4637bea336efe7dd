// SPDX-License-Identifier: Apache-2.0
// Calls to hostd's operator socket (src/hostd/admin.h).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"

struct answer {
	struct buf text;
	void (*on_line)(void *user, json_t *line);
	void *user;
};

static size_t take_bytes(char *data, size_t size, size_t count, void *user)
{
	struct answer *a = user;
	char *nl;
	if (buf_append(&a->text, data, size * count))
		return 0;
	while (a->on_line && a->text.data && (nl = strchr(a->text.data, '\n'))) {
		*nl = '\0';
		own_json json_t *line = json_loads(a->text.data, 0, NULL);
		if (line)
			a->on_line(a->user, line);
		buf_consume(&a->text, (size_t)(nl + 1 - a->text.data));
	}
	return size * count;
}

int hostd_call(const char *root, const char *method, const char *path, void (*on_line)(void *user, json_t *line), void *user,
	       json_t **out, struct err *e)
{
	char sock[4096], url[4096];
	struct answer a = {.text = BUF_INIT, .on_line = on_line, .user = user};
	long code = 0;
	CURL *curl = curl_easy_init();
	if (!curl)
		return err_sys(e, ENOMEM, "call hostd");
	snprintf(sock, sizeof(sock), "%s/run/hostd.sock", root);
	snprintf(url, sizeof(url), "http://hostd%s", path);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, sock);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &a);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (!on_line)
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);   // jobs with lines take as long as they take
	CURLcode rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	curl_easy_cleanup(curl);
	own_json json_t *body = a.text.data ? json_loadb(a.text.data, a.text.len, 0, NULL) : NULL;
	buf_fini(&a.text);
	if (rc == CURLE_COULDNT_CONNECT)
		return err_set(e, ECONNREFUSED, "nothing answers at %s: is the cluster up?", sock);
	if (rc != CURLE_OK)
		return err_set(e, EIO, "hostd: %s", curl_easy_strerror(rc));
	if (code >= 400)
		return err_set(e, code == 404 ? ENOENT : code == 409 ? EBUSY : EIO, "%s", jpath_str(body, "error", "hostd failed"));
	if (out)
		*out = body ? json_incref(body) : json_object();
	return 0;
}
