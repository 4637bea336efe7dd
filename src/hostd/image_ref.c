// SPDX-License-Identifier: Apache-2.0
// Image references; see image_ref.h. The grammar is the one of the distribution specification: the first component is
// a registry when it has a dot, a colon or is "localhost".
#include "image_ref.h"

#include <ctype.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool alnum(char c)
{
	return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

/* One path component: lower-case words joined by ".", "_", "__" or any number of "-". */
static bool component_valid(const char *s, size_t len)
{
	if (!len || !lower_or_digit(s[0]) || !lower_or_digit(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; ) {
		size_t sep = i;
		while (sep < len && !lower_or_digit(s[sep]))
			sep++;
		size_t n = sep - i;
		bool dashes = n && strspn(s + i, "-") >= n;
		if (n && !dashes && !(n == 1 && (s[i] == '.' || s[i] == '_')) && !(n == 2 && !strncmp(s + i, "__", 2)))
			return false;
		i = sep + 1;
	}
	return true;
}

static bool path_valid(const char *path)
{
	for (;;) {
		size_t len = strcspn(path, "/");
		if (!component_valid(path, len))
			return false;
		if (!path[len])
			return true;
		path += len + 1;
	}
}

static bool port_valid(const char *s)
{
	size_t n = strspn(s, "0123456789");
	return n && n <= 5 && !s[n];
}

static bool registry_valid(const char *r)
{
	if (*r == '[') {   // [IPv6]:port
		size_t n = strspn(r + 1, "0123456789abcdefABCDEF:.");
		const char *end = r + 1 + n;
		return n && *end == ']' && (!end[1] || (end[1] == ':' && port_valid(end + 2)));
	}
	size_t len = strcspn(r, ":");
	if (r[len] && !port_valid(r + len + 1))
		return false;
	for (size_t i = 0; i < len; i++) {
		bool edge = i == 0 || i + 1 == len || r[i - 1] == '.' || r[i + 1] == '.';
		if (!alnum(r[i]) && (edge || (r[i] != '-' && r[i] != '.')))
			return false;
	}
	return len > 0;
}

static bool tag_valid(const char *t)
{
	if (!alnum(*t) && *t != '_')
		return false;
	size_t n = 0;
	while (alnum(t[n]) || (t[n] && strchr("_.-", t[n])))
		n++;
	return !t[n] && n <= 128;
}

bool image_digest_valid(const char *text)
{
	return !strncmp(text, "sha256:", 7) && strspn(text + 7, "0123456789abcdef") == 64 && !text[71];
}

const char *image_digest_hex(const char *digest)
{
	return digest + 7;
}

static void digest_text(const unsigned char sum[32], char out[IMAGE_DIGEST_MAX])
{
	memcpy(out, "sha256:", 7);
	for (int i = 0; i < 32; i++)
		sprintf(out + 7 + 2 * i, "%02x", sum[i]);
}

void image_digest_of(const void *data, size_t len, char out[IMAGE_DIGEST_MAX])
{
	unsigned char sum[32] = {0};
	gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, sum);
	digest_text(sum, out);
}

int image_digest_fd(int fd, char out[IMAGE_DIGEST_MAX])
{
	gnutls_hash_hd_t h;
	if (gnutls_hash_init(&h, GNUTLS_DIG_SHA256))
		return -ENOMEM;
	unsigned char chunk[65536], sum[32];
	ssize_t n;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			gnutls_hash(h, chunk, (size_t)n);
	int rc = n < 0 ? -errno : 0;
	gnutls_hash_deinit(h, sum);
	if (!rc)
		digest_text(sum, out);
	return rc;
}

static int bad(struct err *e, const char *text, const char *why)
{
	return err_set(e, EINVAL, "couldn't parse image name \"%.200s\": invalid reference format%s", text, why);
}

/* Split "@digest" and ":tag" off work; the rest of work is the name. 0, or the reason. */
static const char *split_suffix(char *work, struct image_ref *r)
{
	char *at = strchr(work, '@');
	if (at) {
		*at = '\0';
		if (!image_digest_valid(at + 1))
			return ": after '@' comes \"sha256:\" and 64 lower-case hexadecimal digits";
		memcpy(r->digest, at + 1, IMAGE_DIGEST_MAX);
	}
	char *slash = strrchr(work, '/'), *colon = strchr(slash ? slash : work, ':');
	if (colon) {
		*colon = '\0';
		if (!tag_valid(colon + 1))
			return ": a tag has at most 128 letters, digits, '_', '.' and '-' and does not begin with '.' or '-'";
		if (!at)
			memcpy(r->tag, colon + 1, strlen(colon + 1) + 1);
	} else if (!at) {
		memcpy(r->tag, "latest", 7);
	}
	return NULL;
}

/* Is the part before the first slash a registry? */
static bool names_registry(const char *first, size_t len)
{
	bool upper = false;
	for (size_t i = 0; i < len; i++)
		upper |= isupper((unsigned char)first[i]) != 0;
	return memchr(first, '.', len) || memchr(first, ':', len) || (len == 9 && !memcmp(first, "localhost", 9)) || upper;
}

int image_ref_parse(const char *text, struct image_ref *out, struct err *e)
{
	char work[IMAGE_REF_MAX];
	struct image_ref r = {.registry = "docker.io"};
	if (snprintf(work, sizeof(work), "%s", text) >= (int)sizeof(work))
		return bad(e, text, ": it is longer than 703 characters");
	const char *why = split_suffix(work, &r);
	if (why)
		return bad(e, text, why);
	char *path = work, *slash = strchr(work, '/');
	if (slash && names_registry(work, (size_t)(slash - work))) {
		*slash = '\0';
		if (!registry_valid(work) || strlen(work) >= sizeof(r.registry))
			return bad(e, text, ": the registry is no host name");
		if (strcmp(work, "index.docker.io"))
			memcpy(r.registry, work, strlen(work) + 1);
		path = slash + 1;
	}
	bool official = !strcmp(r.registry, "docker.io") && !strchr(path, '/');
	if (snprintf(r.path, sizeof(r.path), "%s%s", official ? "library/" : "", path) >= (int)sizeof(r.path) ||
	    strlen(r.registry) + strlen(r.path) + 1 > 255)
		return bad(e, text, ": repository name must not be more than 255 characters");
	if (!path_valid(r.path)) {
		for (const char *p = path; *p; p++)
			if (isupper((unsigned char)*p))
				return bad(e, text, ": repository name must be lowercase");
		return bad(e, text, "");
	}
	if (strlen(path) == 64 && strspn(path, "0123456789abcdef") == 64 && official)
		return bad(e, text, ": a repository cannot be named by 64 hexadecimal digits");
	*out = r;
	return 0;
}

char *image_ref_repository(const struct image_ref *r, char out[IMAGE_REF_MAX])
{
	snprintf(out, IMAGE_REF_MAX, "%s/%s", r->registry, r->path);
	return out;
}

char *image_ref_text(const struct image_ref *r, char out[IMAGE_REF_MAX])
{
	snprintf(out, IMAGE_REF_MAX, "%s/%s%s%s", r->registry, r->path, *r->digest ? "@" : ":", *r->digest ? r->digest : r->tag);
	return out;
}
