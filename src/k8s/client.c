// SPDX-License-Identifier: Apache-2.0
// The API client; see client.h. Each call takes a curl handle (with its open connection) from a pool and puts it back.
#include "client.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "bulkhead/prda.h"
#include "client_internal.h"
#include "kubeconfig.h"

#define POOL_MAX 16
#define IDLE_NS (15 * NS_PER_S)
#define ANSWER_MAX_BYTES (512u << 20)
#define TOKEN_MAX_BYTES 65536
#define TOKEN_REREAD_NS (60 * NS_PER_S)

struct k8s_client {
	struct kubeconfig config;
	pthread_mutex_t lock;          // guards what follows
	struct { CURL *curl; uint64_t given_ns; } pool[POOL_MAX];   // the one used last is taken first
	int pooled;
	char *token;                   // last read of config.token_path
	uint64_t token_read_ns;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

int k8s_client_open(const char *kubeconfig, struct k8s_client **out, struct err *e)
{
	struct k8s_client *c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	pthread_once(&curl_once, curl_start);
	int rc = kubeconfig_read(kubeconfig, &c->config, e);
	if (rc) {
		free(c);
		return rc;
	}
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

void k8s_client_close(struct k8s_client *c)
{
	if (!c)
		return;
	for (int i = 0; i < c->pooled; i++)
		curl_easy_cleanup(c->pool[i].curl);
	pthread_mutex_destroy(&c->lock);
	kubeconfig_fini(&c->config);
	free(c->token);
	free(c);
}

const char *k8s_client_server(const struct k8s_client *c)
{
	return c->config.server;
}

static void set_tls(const struct kubeconfig *k, CURL *curl)
{
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, k->insecure ? 0L : 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, k->insecure ? 0L : 2L);
	if (k->ca_path) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, k->ca_path);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);   // else everybody whom this machine trusts, megabytes for each connection
	}
	if (k->cert_path)
		curl_easy_setopt(curl, CURLOPT_SSLCERT, k->cert_path);
	if (k->key_path)
		curl_easy_setopt(curl, CURLOPT_SSLKEY, k->key_path);
}

CURL *k8s_client_take(struct k8s_client *c)
{
	CURL *curl = NULL;
	pthread_mutex_lock(&c->lock);
	if (c->pooled)
		curl = c->pool[--c->pooled].curl;
	pthread_mutex_unlock(&c->lock);
	if (!curl)
		curl = curl_easy_init();
	if (!curl)
		return NULL;
	curl_easy_reset(curl);   // keeps the open connection
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "bulkhead/" BULKHEAD_VERSION);
	if (c->config.user_name) {
		curl_easy_setopt(curl, CURLOPT_USERNAME, c->config.user_name);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, c->config.password ? c->config.password : "");
	}
	set_tls(&c->config, curl);
	return curl;
}

/* With the lock held: the connection that nobody has needed for long, each some 100 KiB; NULL: there is none. */
static CURL *take_idle(struct k8s_client *c, uint64_t now)
{
	if (!c->pooled || now - c->pool[0].given_ns < IDLE_NS)
		return NULL;
	CURL *curl = c->pool[0].curl;
	memmove(&c->pool[0], &c->pool[1], sizeof(c->pool[0]) * (size_t)--c->pooled);
	return curl;
}

void k8s_client_give(struct k8s_client *c, CURL *curl)
{
	uint64_t now = clock_mono_ns();
	pthread_mutex_lock(&c->lock);
	if (c->pooled < POOL_MAX) {
		c->pool[c->pooled].curl = curl;
		c->pool[c->pooled++].given_ns = now;
		curl = NULL;
	}
	CURL *idle = take_idle(c, now);
	pthread_mutex_unlock(&c->lock);
	curl_easy_cleanup(curl);
	curl_easy_cleanup(idle);
}

/* Tokens of a file are read again each minute: they are rotated while we run. */
static void refresh_token(struct k8s_client *c)
{
	uint64_t now = clock_mono_ns();
	if (!c->config.token_path || (c->token && now - c->token_read_ns < TOKEN_REREAD_NS))
		return;
	struct buf text = BUF_INIT;
	if (file_read(c->config.token_path, TOKEN_MAX_BYTES, &text, NULL) == 0 && text.len) {
		free(c->token);
		c->token = buf_take(&text);
		c->token[strcspn(c->token, "\r\n ")] = '\0';
		c->token_read_ns = now;
	}
	buf_fini(&text);
}

struct curl_slist *k8s_client_headers(struct k8s_client *c)
{
	struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");
	own_free char *header = NULL;
	pthread_mutex_lock(&c->lock);
	refresh_token(c);
	const char *token = c->config.token ? c->config.token : c->token;
	if (token && asprintf(&header, "Authorization: Bearer %s", token) < 0)
		header = NULL;
	pthread_mutex_unlock(&c->lock);
	if (list && header) {
		struct curl_slist *longer = curl_slist_append(list, header);
		if (!longer)
			curl_slist_free_all(list);
		list = longer;
	}
	return list;
}

int k8s_client_status_error(long http, const json_t *body, struct err *e)
{
	const char *reason = jpath_str(body, "reason", ""), *message = jpath_str(body, "message", NULL);
	int code;
	switch (http) {
	case 400: case 422: code = EINVAL; break;
	case 401: case 403: code = EACCES; break;
	case 404: code = ENOENT; break;
	case 409: code = !strcmp(reason, "AlreadyExists") ? EEXIST : ESTALE; break;
	case 410: code = EKEYEXPIRED; break;
	case 429: case 503: code = EAGAIN; break;
	default: code = http >= 500 ? EREMOTEIO : EINVAL;
	}
	return message ? err_set(e, code, "%s", message) : err_set(e, code, "the server answered with HTTP status %ld", http);
}

int k8s_client_curl_error(CURLcode code, const char *server, const char *detail, struct err *e)
{
	int number;
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT: number = ETIMEDOUT; break;
	case CURLE_OUT_OF_MEMORY: number = ENOMEM; break;
	case CURLE_WRITE_ERROR: number = EMSGSIZE; break;
	case CURLE_PEER_FAILED_VERIFICATION: case CURLE_SSL_CERTPROBLEM: case CURLE_SSL_CACERT_BADFILE: number = EACCES; break;
	default: number = ECONNREFUSED;
	}
	return err_set(e, number, "%s: %s", server, detail && *detail ? detail : curl_easy_strerror(code));
}

static size_t on_data(char *data, size_t size, size_t n, void *user)
{
	struct buf *b = user;
	(void)size;
	if (b->len + n > ANSWER_MAX_BYTES || buf_append(b, data, n))
		return 0;
	return n;
}

struct call {
	const char *method, *content_type;
	char *url, *body;
	struct curl_slist *headers;
	struct buf answer;
};

static void call_fini(struct call *c)
{
	free(c->url);
	free(c->body);
	curl_slist_free_all(c->headers);
	buf_fini(&c->answer);
}
#define own_call __attribute__((cleanup(call_fini)))

static int prepare(struct k8s_client *c, struct call *call, const char *path, const json_t *body, struct err *e)
{
	char type[128];
	if (asprintf(&call->url, "%s%s", c->config.server, path) < 0)
		call->url = NULL;
	call->headers = k8s_client_headers(c);
	if (body) {
		call->body = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
		snprintf(type, sizeof(type), "Content-Type: %s", call->content_type ? call->content_type : "application/json");
		struct curl_slist *longer = call->headers ? curl_slist_append(call->headers, type) : NULL;
		if (longer)
			longer = curl_slist_append(longer, "Expect:");
		if (!longer || !call->body)
			return err_set(e, ENOMEM, "out of memory");
		call->headers = longer;
	}
	return call->url && call->headers ? 0 : err_set(e, ENOMEM, "out of memory");
}

PRDA_DEFINE_COUNTER(api_calls, "bulkhead_api_calls_total", "requests sent to the API server");

static CURLcode perform(CURL *curl, struct call *call, unsigned timeout_ms, char *detail, long *http)
{
	curl_easy_setopt(curl, CURLOPT_URL, call->url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &call->answer);
	curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
	if (call->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
	}
	prda_add(api_calls, 1);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, http);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	return code;
}

int k8s_client_call(struct k8s_client *c, const char *method, const char *path, const char *content_type,
		    const json_t *body, unsigned timeout_ms, json_t **out, struct err *e)
{
	own_call struct call call = {.method = method, .content_type = content_type, .answer = BUF_INIT};
	char detail[CURL_ERROR_SIZE] = "";
	long http = 0;
	int rc = prepare(c, &call, path, body, e);
	if (rc)
		return rc;
	CURL *curl = k8s_client_take(c);
	if (!curl)
		return err_set(e, ENOMEM, "out of memory");
	CURLcode code = perform(curl, &call, timeout_ms, detail, &http);
	k8s_client_give(c, curl);
	if (code != CURLE_OK)
		return k8s_client_curl_error(code, c->config.server, detail, e);
	json_error_t where;
	own_json json_t *answer = call.answer.len ? json_loadb(call.answer.data, call.answer.len, JSON_DECODE_ANY, &where) : NULL;
	if (http < 200 || http > 299)
		rc = k8s_client_status_error(http, answer, e);
	else if (out && !answer)
		return err_set(e, EREMOTEIO, "%s %s: the answer is not JSON", method, path);
	if (out && answer)
		*out = take(answer);
	return rc;
}
