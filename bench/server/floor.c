// SPDX-License-Identifier: Apache-2.0
// What it costs at least that watchers get their events: floor PKI-FOLDER [WATCHERS [EVENTS [BYTES [BATCH]]]]. Two threads push the
// bytes of EVENTS events to each of WATCHERS TLS connections, BATCH events at a time, and do nothing else; the load generator's
// connections take them. PKI-FOLDER as for load, with server.crt and server.key. One line: events/s, and CPU for each.
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "conn.h"
#include "server/tls_out.h"

#define THREADS 2
#define CHUNK 16000                // bytes of an answer in one record
#define RECORD (TLS_OUT_HEAD + TLS_OUT_TEXT_MAX + TLS_OUT_TAIL)

static unsigned watchers = 100, events = 6000, bytes = 2900, batch = 10;

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* --- the pushing side --- */

struct taker { int fd; struct tls_out *tls; };
static struct taker *takers;

static void take_request(gnutls_session_t s)
{
	char in[4096];
	size_t len = 0;
	ssize_t n;

	while (len < 4 || memcmp(in + len - 4, "\r\n\r\n", 4)) {
		n = gnutls_record_recv(s, in + len, sizeof in - len);
		if (n <= 0)
			give_up("the taker: %s", gnutls_strerror((int)n));
		len += n;
	}
}

static void accept_one(int listener, gnutls_certificate_credentials_t cred, struct taker *t)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	gnutls_session_t s;
	int r;

	t->fd = accept(listener, NULL, NULL);
	gnutls_init(&s, GNUTLS_SERVER);
	gnutls_priority_set_direct(s, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM", NULL);
	gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, cred);
	gnutls_transport_set_int(s, t->fd);
	do
		r = gnutls_handshake(s);
	while (r < 0 && !gnutls_error_is_fatal(r));
	if (r < 0)
		give_up("TLS: %s", gnutls_strerror(r));
	take_request(s);
	if (gnutls_record_send(s, head, strlen(head)) < 0 || tls_out_take(s, &t->tls))
		give_up("the session cannot be taken over");
	gnutls_deinit(s);
}

/* `len` bytes of lines, each of `bytes`, as chunks in records. Returns the bytes of all. */
static size_t seal(struct taker *t, const char *lines, size_t len, char *wire)
{
	size_t at = 0;

	for (size_t done = 0, n; done < len; done += n) {
		char *text = wire + at + TLS_OUT_HEAD;
		int head;
		n = len - done < CHUNK ? len - done : CHUNK;
		head = sprintf(text, "%zx\r\n", n);
		memcpy(text + head, lines + done, n);
		memcpy(text + head + n, "\r\n", 2);
		at += tls_out_seal(t->tls, wire + at, head + n + 2);
	}
	return at;
}

static void *push(void *arg)
{
	unsigned first = (unsigned)(uintptr_t)arg;
	size_t len = (size_t)batch * bytes;
	char *lines = malloc(len), *wire = malloc((len / CHUNK + 1) * RECORD);

	memset(lines, 'x', len);
	for (unsigned i = 1; i <= batch; i++)
		lines[(size_t)i * bytes - 1] = '\n';
	for (unsigned sent = 0; sent < events; sent += batch)
		for (unsigned i = first; i < watchers; i += THREADS) {
			size_t all = seal(&takers[i], lines, len, wire);
			for (size_t done = 0; done < all;) {
				ssize_t n = send(takers[i].fd, wire + done, all - done, MSG_NOSIGNAL);
				if (n < 0)
					give_up("the taker is gone");
				done += n;
			}
		}
	free(lines);
	free(wire);
	return NULL;
}

/* --- the taking side --- */

static unsigned long seen;

static void taken(struct conn *c, int code, const char *body, size_t len)
{
	const char *end = body + len;

	(void)c;
	(void)code;
	for (const char *nl; body < end && (nl = memchr(body, '\n', end - body)); body = nl + 1)
		seen++;
}

static void take_all(int port, const char *pki)
{
	char ca[512], crt[512], key[512], request[] = "GET / HTTP/1.1\r\nHost: floor\r\n\r\n";
	unsigned long all = (unsigned long)watchers * events;
	struct pool pool;
	uint64_t start;
	double cpu;

	snprintf(ca, sizeof ca, "%s/ca.crt", pki);
	snprintf(crt, sizeof crt, "%s/admin.crt", pki);
	snprintf(key, sizeof key, "%s/admin.key", pki);
	pool_init(&pool, "127.0.0.1", port, ca, crt, key);
	for (unsigned i = 0; i < watchers; i++) {
		struct conn *c = conn_open(&pool, taken, NULL);
		c->streaming = true;
		conn_send(c, request, "", 0);
	}
	cpu = cpu_us();
	start = clock_mono_ns();
	while (seen < all)
		pool_run(&pool, 1000);
	start = clock_mono_ns() - start;
	printf("floor %.0f events/s (%u events of %u bytes to %u watchers, %u at a time; CPU for each: taking %.2f us", all / (start / 1e9),
	       events, bytes, watchers, batch, (cpu_us() - cpu) / all);
	fflush(stdout);
	_exit(0);
}

static void number(int argc, char **argv, int i, unsigned *n)
{
	if (argc > i && !(*n = strtoul(argv[i], NULL, 10)))
		give_up("%s: must be a number above 0", argv[i]);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	gnutls_certificate_credentials_t cred;
	pthread_t threads[THREADS];
	char crt[512], key[512];
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	double cpu;

	if (argc < 2)
		give_up("usage: floor PKI-FOLDER [WATCHERS [EVENTS [BYTES [BATCH]]]]");
	number(argc, argv, 2, &watchers);
	number(argc, argv, 3, &events);
	number(argc, argv, 4, &bytes);
	number(argc, argv, 5, &batch);
	events = (events + batch - 1) / batch * batch;
	snprintf(crt, sizeof crt, "%s/server.crt", argv[1]);
	snprintf(key, sizeof key, "%s/server.key", argv[1]);
	gnutls_certificate_allocate_credentials(&cred);
	if (gnutls_certificate_set_x509_key_file(cred, crt, key, GNUTLS_X509_FMT_PEM) < 0)
		give_up("%s, %s: no certificate and key", crt, key);
	if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 128) || getsockname(listener, (struct sockaddr *)&a, &len))
		give_up("no port to listen on");
	if (!fork())
		take_all(ntohs(a.sin_port), argv[1]);
	takers = calloc(watchers, sizeof *takers);
	for (unsigned i = 0; i < watchers; i++)
		accept_one(listener, cred, &takers[i]);
	cpu = cpu_us();
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, push, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	wait(NULL);
	printf(", pushing %.2f us)\n", (cpu_us() - cpu) / ((double)watchers * events));
	return 0;
}
