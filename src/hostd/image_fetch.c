// SPDX-License-Identifier: Apache-2.0
// Images from registries; see image_fetch.h. skopeo speaks to the registry; what it brings is checked against the
// digests here, and manifests are read here, because skopeo's copy turns Docker's into OCI's with another digest.
#include "image_fetch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "base/proc.h"
#include "image_disk.h"

#define ASK_TIMEOUT_MS 60000
#define STALL_NS (90 * NS_PER_S)   // a copy that brings no byte for so long is given up
#define WATCH_MS 100

void image_fetch_fini(struct image_fetch *f)
{
	image_manifest_fini(&f->manifest);
	free(f->config_text);
	f->config_text = NULL;
}

/* Copy the text of msg="..." with its escapes undone. */
static void unquote(const char *p, char *out, size_t size)
{
	size_t n = 0;
	for (; *p && *p != '"' && *p != '\n' && n + 1 < size; p++) {
		if (*p == '\\' && p[1]) {
			p++;
			out[n++] = *p == 'n' || *p == 't' ? ' ' : *p;
		} else {
			out[n++] = *p;
		}
	}
	out[n] = '\0';
}

int image_fetch_reason(const char *output, char *reason, size_t size)
{
	static const struct { const char *words; int code; } known[] = {   // the first that occurs counts
		{"no space left on device", ENOSPC}, {"disk quota exceeded", ENOSPC},
		{"manifest unknown", ENOENT}, {"name unknown", ENOENT}, {"repository name not known", ENOENT},
		{"status code 404", ENOENT}, {"StatusCode: 404", ENOENT}, {"404 (Not Found)", ENOENT},
		{"unauthorized", EACCES}, {"authentication required", EACCES}, {"denied", EACCES},
		{"invalid username/password", EACCES}, {"401 ", EACCES}, {"403 ", EACCES}, {"StatusCode: 401", EACCES},
		{"dial tcp", EHOSTUNREACH}, {"connection refused", EHOSTUNREACH}, {"connection reset", EHOSTUNREACH},
		{"no such host", EHOSTUNREACH}, {"i/o timeout", EHOSTUNREACH}, {"timeout", EHOSTUNREACH}, {"TLS handshake", EHOSTUNREACH},
		{"HTTP response to HTTPS client", EHOSTUNREACH}, {"x509:", EHOSTUNREACH}, {"pinging container registry", EHOSTUNREACH},
		{"unexpected EOF", EHOSTUNREACH}, {": EOF", EHOSTUNREACH}, {"StatusCode: 5", EHOSTUNREACH},
		{"did not match", EBADMSG}, {"does not match", EBADMSG}, {"digest mismatch", EBADMSG}, {"Error verifying", EBADMSG},
	};
	const char *start = NULL;
	for (const char *p = output; (p = strstr(p, "level=fatal msg=\"")); start = p)
		p += strlen("level=fatal msg=\"");
	if (start) {
		const char *inner = !strncmp(start, "Error parsing image name ", 25) ? strstr(start, "\\\": ") : NULL;
		unquote(inner ? inner + 4 : start, reason, size);
	} else {
		snprintf(reason, size, "%s", *output ? output : "no output");
		reason[strcspn(reason, "\n")] = '\0';
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcasestr(reason, known[i].words))
			return known[i].code;
	return EIO;
}

/* "failed to resolve reference" as container runtimes word it. */
static int resolve_error(const struct image_fetch *f, int code, const char *reason, struct err *e)
{
	char ref[IMAGE_REF_MAX];
	image_ref_text(f->ref, ref);
	if (code == ECANCELED)
		return err_set(e, code, "pull of image \"%s\" was cancelled", ref);
	if (code == ENOENT)   // what registries say differs; users know this sentence
		return err_set(e, code, "failed to resolve reference \"%s\": %s%s", ref,
			       strstr(reason, "no match for platform") ? reason : ref,
			       strstr(reason, "no match for platform") ? "" : ": not found");
	if (code == EACCES)
		return err_set(e, code, "failed to resolve reference \"%s\": pull access denied, repository does not exist or may "
			       "require authorization: %s", ref, reason);
	return err_set(e, code, "failed to resolve reference \"%s\": %s%s", ref, code == EHOSTUNREACH ? "failed to do request: " : "", reason);
}

/* skopeo inspect --raw [--config] of the endpoint's repository. suffix: ":tag" or "@digest". Positive errno on failure. */
static int ask(const struct image_fetch *f, const char *suffix, bool config, struct buf *out, char *reason, size_t size)
{
	char name[2 * IMAGE_REF_MAX];
	snprintf(name, sizeof(name), "docker://%s%s", f->endpoint.repository, suffix);
	const char *argv[12] = {"skopeo", "inspect", "--raw", "--no-tags", "--authfile", f->auth_path};
	size_t n = 6;
	if (config)
		argv[n++] = "--config";
	if (f->endpoint.insecure)
		argv[n++] = "--tls-verify=false";
	argv[n] = name;
	struct proc_opts o = {.timeout_ms = ASK_TIMEOUT_MS, .cancel = f->cancel};
	own_buf struct buf errout = BUF_INIT;
	struct err e = ERR_INIT;
	int rc = proc_run(argv, &o, out, &errout, &e);
	if (rc == -ETIMEDOUT) {
		snprintf(reason, size, "%.200s gave no answer within %d s", f->endpoint.repository, ASK_TIMEOUT_MS / 1000);
		return EHOSTUNREACH;
	}
	if (rc < 0) {
		snprintf(reason, size, "%s", e.text);
		return -rc;
	}
	return rc ? image_fetch_reason(errout.data ? errout.data : "", reason, size) : 0;
}

/* Fetch a manifest and check it against want ("" = whatever the tag means). */
static int ask_manifest(const struct image_fetch *f, const char *suffix, const char *want, struct buf *out,
			char digest[IMAGE_DIGEST_MAX], char *reason, size_t size)
{
	int code = ask(f, suffix, false, out, reason, size);
	if (code)
		return code;
	if (out->len > IMAGE_MANIFEST_MAX) {
		snprintf(reason, size, "manifest of %zu bytes, at most %u are allowed", out->len, IMAGE_MANIFEST_MAX);
		return EBADMSG;
	}
	image_digest_of(out->data ? out->data : "", out->len, digest);
	if (*want && strcmp(want, digest)) {
		snprintf(reason, size, "digest mismatch: the registry's manifest has %s instead of %s", digest, want);
		return EBADMSG;
	}
	return 0;
}

/* Resolve at f->endpoint. Positive errno on failure. */
static int resolve_here(struct image_fetch *f, char *reason, size_t size)
{
	own_buf struct buf text = BUF_INIT, inner = BUF_INIT;
	char suffix[200], child[IMAGE_DIGEST_MAX];
	struct err e = ERR_INIT;
	snprintf(suffix, sizeof(suffix), "%s%s", *f->ref->digest ? "@" : ":", *f->ref->digest ? f->ref->digest : f->ref->tag);
	int code = ask_manifest(f, suffix, f->ref->digest, &text, f->digest, reason, size);
	if (code)
		return code;
	memcpy(f->instance, f->digest, sizeof(f->instance));
	int rc = image_manifest_parse(text.data ? text.data : "", text.len, image_arch(), &f->manifest, child, &e);
	if (rc == 1) {
		snprintf(suffix, sizeof(suffix), "@%s", child);
		code = ask_manifest(f, suffix, child, &inner, f->instance, reason, size);
		if (code)
			return code;
		rc = image_manifest_parse(inner.data ? inner.data : "", inner.len, image_arch(), &f->manifest, child, &e);
		if (rc == 1)
			rc = err_set(&e, EINVAL, "an index inside an index");
	}
	if (rc)
		snprintf(reason, size, "%s", e.text);
	return rc == -EINVAL ? EBADMSG : -rc;
}

int image_fetch_resolve(struct image_fetch *f, struct err *e)
{
	struct image_endpoint places[IMAGE_ENDPOINTS_MAX];
	char reason[ERR_TEXT_MAX] = "";
	int n = image_endpoints(f->config, f->ref, places, e), code = 0;
	if (n < 0)
		return n;
	if (f->flight)
		flight_report(f->flight, "resolve", 0, 0);
	for (int i = 0; i < n; i++) {
		f->endpoint = places[i];
		code = resolve_here(f, reason, sizeof(reason));
		if (!code || code == ECANCELED)
			break;
	}
	return code ? resolve_error(f, code, reason, e) : 0;
}

/* Watches a copy: reports bytes, passes a cancel on, notices when nothing moves any more. */
struct watch {
	struct image_fetch *f;
	const char *work;
	uint64_t total;
	volatile int stop;      // read by proc_run: end the copy
	bool stalled;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool finished;          // the copy has ended
};

static uint64_t bytes_in(const char *folder)
{
	own_dir DIR *d = opendir(folder);
	uint64_t sum = 0;
	struct stat st;
	for (struct dirent *f; d && (f = readdir(d)); )
		if (!fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	return sum;
}

/* Sleep a while, or until the copy has ended. */
static bool watch_on(struct watch *w)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += WATCH_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L)
		until.tv_sec++, until.tv_nsec -= 1000000000L;
	pthread_mutex_lock(&w->lock);
	if (!w->finished)
		pthread_cond_timedwait(&w->ended, &w->lock, &until);
	bool on = !w->finished;
	pthread_mutex_unlock(&w->lock);
	return on;
}

static void *watch_copy(void *arg)
{
	struct watch *w = arg;
	own_free char *blobs = NULL;
	uint64_t last = 0, moved = clock_mono_ns();
	if (asprintf(&blobs, "%s/blobs/sha256", w->work) < 0)
		return NULL;
	while (watch_on(w)) {
		if (w->f->cancel && *w->f->cancel)
			w->stop = 1;
		uint64_t now = bytes_in(w->work) + bytes_in(blobs), ns = clock_mono_ns();
		if (now != last) {
			last = now, moved = ns;
			if (w->f->flight)
				flight_report(w->f->flight, "copy", now < w->total ? now : w->total, w->total);
		} else if (ns - moved > STALL_NS) {
			w->stalled = true;
			w->stop = 1;
		}
	}
	return NULL;
}

static void watch_end(struct watch *w, pthread_t watcher)
{
	pthread_mutex_lock(&w->lock);
	w->finished = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
	pthread_join(watcher, NULL);
}

/* Positive errno on failure. */
static int copy_layers(struct image_fetch *f, const char *work, char *reason, size_t size)
{
	char source[2 * IMAGE_REF_MAX];
	own_free char *target = NULL;
	snprintf(source, sizeof(source), "docker://%s@%s", f->endpoint.repository, f->instance);
	if (asprintf(&target, "oci:%s:x", work) < 0)
		return ENOMEM;
	const char *argv[] = {"skopeo", "--insecure-policy", "copy", "--quiet", "--src-authfile", f->auth_path,
			      f->endpoint.insecure ? "--src-tls-verify=false" : "--src-tls-verify=true", source, target, NULL};
	struct watch w = {.f = f, .work = work, .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
	for (size_t i = 0; i < f->manifest.layers_count; i++)
		w.total += f->manifest.layers[i].size_bytes;
	pthread_t watcher;
	int started = pthread_create(&watcher, NULL, watch_copy, &w);
	if (started)
		return started;
	struct proc_opts o = {.cancel = &w.stop};
	own_buf struct buf errout = BUF_INIT;
	struct err e = ERR_INIT;
	int rc = proc_run(argv, &o, NULL, &errout, &e);
	watch_end(&w, watcher);
	if (rc == -ECANCELED && w.stalled) {
		snprintf(reason, size, "no data from %.200s for %d s", f->endpoint.repository, (int)(STALL_NS / NS_PER_S));
		return EHOSTUNREACH;
	}
	if (rc < 0) {
		snprintf(reason, size, "%s", e.text);
		return -rc;
	}
	return rc ? image_fetch_reason(errout.data ? errout.data : "", reason, size) : 0;
}

/* For OCI images the configuration came with the copy; Docker's was rewritten by it and is asked for again. */
static int read_config(struct image_fetch *f, const char *work, char *reason, size_t size)
{
	own_buf struct buf text = BUF_INIT;
	own_free char *path = image_work_blob(work, f->manifest.config_digest);
	char suffix[IMAGE_DIGEST_MAX + 1], digest[IMAGE_DIGEST_MAX];
	snprintf(suffix, sizeof(suffix), "@%s", f->instance);
	if (!path)
		return ENOMEM;
	if (file_read(path, IMAGE_MANIFEST_MAX, &text, NULL)) {
		buf_fini(&text);
		int code = ask(f, suffix, true, &text, reason, size);
		if (code)
			return code;
	}
	image_digest_of(text.data ? text.data : "", text.len, digest);
	if (strcmp(digest, f->manifest.config_digest)) {
		snprintf(reason, size, "digest mismatch: the image configuration has %s instead of %s", digest, f->manifest.config_digest);
		return EBADMSG;
	}
	f->config_text = buf_take(&text);
	return f->config_text ? 0 : ENOMEM;
}

int image_fetch_layers(struct image_fetch *f, const char *work, struct err *e)
{
	char reason[ERR_TEXT_MAX] = "", ref[IMAGE_REF_MAX];
	int code = copy_layers(f, work, reason, sizeof(reason));
	if (!code)
		code = read_config(f, work, reason, sizeof(reason));
	if (!code)
		return 0;
	if (code == ECANCELED)
		return err_set(e, code, "pull of image \"%s\" was cancelled", image_ref_text(f->ref, ref));
	return err_set(e, code, "failed to copy: %.400s", *reason ? reason : strerror(code));
}
