// SPDX-License-Identifier: Apache-2.0
#include "server/etcd_rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/own.h"

#define CONNECT_MS 1000
#define ATTEMPT_MS 3000             // a member that says nothing for so long is left for the next
#define BACKOFF_NS (50 * NS_PER_MS)
#define STREAMS_MAX 256
#define POOL_MAX 64
#define REPLY_MAX (256u << 20)

struct etcd_rpc {
	const struct etcd_place *place;
	CURLM *multi;
	int member;                  // the one that worked last
	bool connected;              // there is a connection to it, unless it has just gone
	struct etcd_call *opener;    // the call that makes one; the others wait for it
	CURL *pool[POOL_MAX];        // handles to use again
	int pooled;
};

/* --- where --- */

static int parse_word(struct etcd_place *p, char *word, struct err *e)
{
	char *end;

	if (!strncmp(word, "ca=", 3)) {
		p->ca = word + 3;
	} else if (!strncmp(word, "cert=", 5)) {
		p->cert = word + 5;
	} else if (!strncmp(word, "key=", 4)) {
		p->key = word + 4;
	} else if (!strncmp(word, "keep=", 5)) {
		p->keep_s = strtoul(word + 5, &end, 10);
		if (*end || !p->keep_s)
			return err_set(e, EINVAL, "store: %s: must be a number of seconds", word);
	} else if (!strncmp(word, "http://", 7) || !strncmp(word, "https://", 8)) {
		if (p->count == ETCD_MEMBERS_MAX)
			return err_set(e, EINVAL, "store: more than %d etcd members", ETCD_MEMBERS_MAX);
		if (word[strlen(word) - 1] == '/')
			word[strlen(word) - 1] = '\0';
		p->urls[p->count++] = word;
	} else {
		return err_set(e, EINVAL, "store: etcd=%s: must be http://HOST:PORT or https://HOST:PORT, ca=FILE, cert=FILE, "
			       "key=FILE or keep=SECONDS, with commas between", word);
	}
	return 0;
}

int etcd_place_parse(const char *where, struct etcd_place *p, struct err *e)
{
	char *word, *save = NULL;
	int r = 0;

	*p = (struct etcd_place){ .text = strdup(where), .keep_s = ETCD_KEEP_SECONDS };
	if (!p->text)
		return err_set(e, ENOMEM, "store: out of memory");
	for (word = strtok_r(p->text, ",", &save); word && !r; word = strtok_r(NULL, ",", &save))
		r = parse_word(p, word, e);
	if (!r && !p->count)
		r = err_set(e, EINVAL, "store: etcd= needs the URL of at least one member");
	if (!r && !p->cert != !p->key)
		r = err_set(e, EINVAL, "store: cert= and key= need each other");
	if (r)
		etcd_place_fini(p);
	return r;
}

void etcd_place_fini(struct etcd_place *p)
{
	free(p->text);
	*p = (struct etcd_place){ 0 };
}

/* --- frames --- */

int etcd_frame(const ProtobufCMessage *m, struct buf *out)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	unsigned char head[5] = { 0, len >> 24, len >> 16, len >> 8, len };

	if (buf_append(out, head, sizeof head) || buf_reserve(out, len))
		return -ENOMEM;
	out->len += protobuf_c_message_pack(m, (unsigned char *)out->data + out->len);
	return 0;
}

ssize_t etcd_frame_len(const struct buf *b)
{
	const unsigned char *d = (const unsigned char *)b->data;
	uint32_t len;

	if (b->len < 5)
		return -EAGAIN;
	len = (uint32_t)d[1] << 24 | d[2] << 16 | d[3] << 8 | d[4];
	if (d[0] || len > REPLY_MAX)   // compressed: we did not ask for that
		return -EPROTO;
	return b->len - 5 < len ? -EAGAIN : (ssize_t)len;
}

/* --- one handle --- */

static const struct curl_slist grpc_headers[] = {
	{ (char *)"content-type: application/grpc", (struct curl_slist *)&grpc_headers[1] },
	{ (char *)"te: trailers", (struct curl_slist *)&grpc_headers[2] },
	{ (char *)"Expect:", NULL },
};

CURL *etcd_easy_new(const struct etcd_place *p)
{
	CURL *c = curl_easy_init();

	if (!c)
		return NULL;
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_POST, 1L);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, grpc_headers);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(c, CURLOPT_PIPEWAIT, 1L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	if (p->ca) {
		curl_easy_setopt(c, CURLOPT_CAINFO, p->ca);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);   // nobody else
	}
	if (p->cert) {
		curl_easy_setopt(c, CURLOPT_SSLCERT, p->cert);
		curl_easy_setopt(c, CURLOPT_SSLKEY, p->key);
	}
	return c;
}

/* Without TLS a new connection has to be told that it is HTTP/2; libcurl 7.88 cannot use it a second time while told so. */
int etcd_easy_aim(CURL *c, const struct etcd_place *p, int member, const char *method, bool connected)
{
	char url[1024];

	if (snprintf(url, sizeof url, "%s/etcdserverpb.%s", p->urls[member], method) >= (int)sizeof url)
		return -ENAMETOOLONG;
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, connected || !strncmp(p->urls[member], "https:", 6) ?
			 (long)CURL_HTTP_VERSION_2_0 : (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	return curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK ? 0 : -ENOMEM;
}

/* There is no way back to the start of a body: curl does not send a call a second time behind our back. */
static size_t give_body(char *out, size_t size, size_t n, void *user)
{
	struct etcd_call *c = user;
	size_t len = c->body.len - c->sent;

	if (len > size * n)
		len = size * n;
	if (len)
		memcpy(out, c->body.data + c->sent, len);
	c->sent += len;
	return len;
}

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
	struct etcd_call *c = user;

	return c->reply.len + size * n > REPLY_MAX || buf_append(&c->reply, data, size * n) ? 0 : size * n;
}

static size_t take_header(char *data, size_t size, size_t n, void *user)
{
	struct etcd_call *c = user;
	size_t len = size * n;

	if (len > 12 && !strncasecmp(data, "grpc-status:", 12))
		c->status = atoi(data + 12);
	else if (len > 13 && !strncasecmp(data, "grpc-message:", 13)) {
		snprintf(c->why, sizeof c->why, "%.*s", (int)(len - 13), data + 13 + (data[13] == ' '));
		c->why[strcspn(c->why, "\r\n")] = '\0';
	}
	return len;
}

/* --- calls --- */

static int start(struct etcd_rpc *r, struct etcd_call *c)
{
	CURL *easy = c->easy = r->pooled ? r->pool[--r->pooled] : etcd_easy_new(r->place);

	if (!easy || etcd_easy_aim(easy, r->place, r->member, c->method, r->connected))
		return -ENOMEM;
	c->member = r->member;
	c->sent = 0;
	c->status = -1;
	c->reply.len = 0;
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(easy, CURLOPT_READDATA, c);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.len);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ATTEMPT_MS);
	return curl_multi_add_handle(r->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

static void put_back(struct etcd_rpc *r, struct etcd_call *c)
{
	if (!c->easy)
		return;
	curl_multi_remove_handle(r->multi, c->easy);
	if (r->pooled < POOL_MAX)
		r->pool[r->pooled++] = c->easy;
	else
		curl_easy_cleanup(c->easy);
	c->easy = NULL;
}

/* Returns true when the call has its answer; else it is to be tried again. */
static bool ended(struct etcd_rpc *r, struct etcd_call *c, CURLcode code)
{
	long version = 0;
	ssize_t len;

	curl_easy_getinfo(c->easy, CURLINFO_HTTP_VERSION, &version);
	put_back(r, c);
	if (r->opener == c)
		r->opener = NULL;
	if (version == CURL_HTTP_VERSION_1_1) {   // the connection had gone and was made anew
		r->connected = false;
		c->retry_ns = 1;
		return false;
	}
	if (r->member == c->member)
		r->connected = code == CURLE_OK;
	if (code == CURLE_OK && c->status == GRPC_OK && (len = etcd_frame_len(&c->reply)) >= 0) {
		buf_consume(&c->reply, 5);
		c->reply.len = len;
		return true;
	}
	if (code == CURLE_OK && c->status > GRPC_OK && c->status != GRPC_UNAVAILABLE)
		return true;
	if (code != CURLE_OK || !*c->why)
		snprintf(c->why, sizeof c->why, "%s: %s", r->place->urls[c->member],
			 code != CURLE_OK ? curl_easy_strerror(code) : "no gRPC answer");
	if (c->sent)
		c->uncertain = true;
	if (r->member == c->member)
		r->member = (r->member + 1) % r->place->count;
	c->retry_ns = clock_mono_ns() + BACKOFF_NS;
	return false;
}

/* Look at what has ended. Returns how many calls are done for good. */
static size_t collect(struct etcd_rpc *r)
{
	CURLMsg *m;
	size_t done = 0;
	int left;

	while ((m = curl_multi_info_read(r->multi, &left))) {
		struct etcd_call *c = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		if (ended(r, c, m->data.result))
			done++;
	}
	return done;
}

static void start_due(struct etcd_rpc *r, struct etcd_call *calls, size_t n, uint64_t now)
{
	for (size_t i = 0; i < n; i++) {
		struct etcd_call *c = &calls[i];
		if (!c->retry_ns || c->retry_ns > now || r->opener)
			continue;
		if (!r->connected)
			r->opener = c;
		c->retry_ns = 0;
		if (start(r, c)) {
			put_back(r, c);
			r->opener = NULL;
			c->retry_ns = now + BACKOFF_NS;
		}
	}
}

static bool any_waiting(const struct etcd_call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (calls[i].retry_ns)
			return true;
	return false;
}

void etcd_rpc_run(struct etcd_rpc *r, struct etcd_call *calls, size_t n, unsigned timeout_ms)
{
	uint64_t now = clock_mono_ns(), end = now + timeout_ms * NS_PER_MS;
	size_t done = 0;
	int running;

	for (size_t i = 0; i < n; i++) {
		calls[i].status = -1;
		calls[i].retry_ns = 1;
		calls[i].body.len = 0;
		if (etcd_frame(calls[i].request, &calls[i].body)) {
			calls[i].retry_ns = 0;
			snprintf(calls[i].why, sizeof calls[i].why, "out of memory");
			done++;
		}
	}
	while (done < n && now < end) {
		start_due(r, calls, n, now);
		curl_multi_perform(r->multi, &running);
		done += collect(r);
		if (done < n)
			curl_multi_poll(r->multi, NULL, 0, any_waiting(calls, n) ? 20 : 500, NULL);
		now = clock_mono_ns();
	}
	for (size_t i = 0; i < n; i++)
		if (calls[i].easy || calls[i].retry_ns) {   // time is up
			calls[i].uncertain |= calls[i].sent > 0;
			calls[i].status = -1;
			calls[i].retry_ns = 0;
			put_back(r, &calls[i]);
			r->connected = false;
		}
	r->opener = NULL;
}

void etcd_call_fini(struct etcd_call *c)
{
	buf_fini(&c->reply);
	buf_fini(&c->body);
}

/* --- opening --- */

int etcd_rpc_open(const struct etcd_place *p, struct etcd_rpc **out, struct err *e)
{
	struct etcd_rpc *r = calloc(1, sizeof *r);

	if (!r || !(r->multi = curl_multi_init())) {
		free(r);
		return err_set(e, ENOMEM, "store: out of memory");
	}
	r->place = p;
	curl_multi_setopt(r->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_MAX);
	*out = r;
	return 0;
}

void etcd_rpc_close(struct etcd_rpc *r)
{
	if (!r)
		return;
	while (r->pooled)
		curl_easy_cleanup(r->pool[--r->pooled]);
	curl_multi_cleanup(r->multi);
	free(r);
}
