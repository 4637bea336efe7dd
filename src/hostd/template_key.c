// SPDX-License-Identifier: Apache-2.0
// The key of a template; see template_key.h.
#include "template_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"
#include "template_build.h"

#define FORMAT 1             // of what is stored: a new one makes all templates anew

void template_key_init(struct template_key *k)
{
	memset(k, 0, sizeof(*k));
	pthread_mutex_init(&k->lock, NULL);
}

static bool unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int file_digest(struct template_key *k, int n, const char *path, struct err *e)
{
	struct stat now;
	if (stat(path, &now))
		return err_sys(e, errno, "look at %s", path);
	if (!strcmp(k->file[n].path, path) && unchanged(&k->file[n].as, &now))
		return 0;
	k->file[n].path[0] = '\0';
	int rc = digest_file(path, k->file[n].digest, e);
	if (rc)
		return rc;
	snprintf(k->file[n].path, sizeof(k->file[n].path), "%s", path);
	k->file[n].as = now;
	return 0;
}

/* Model and abilities of the first processor: a guest goes on with what it has found at boot. */
static int cpu_digest(struct template_key *k, struct err *e)
{
	own_buf struct buf text = BUF_INIT, words = BUF_INIT;
	if (*k->cpu)
		return 0;
	int rc = file_read("/proc/cpuinfo", 4u << 20, &text, e);
	if (rc)
		return rc;
	char *save = NULL;
	for (char *line = strtok_r(text.data, "\n", &save); line && strncmp(line, "power management", 16); line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, "model name", 10) || !strncmp(line, "flags", 5) || !strncmp(line, "vendor_id", 9))
			buf_puts(&words, line);
	return digest_bytes(words.data ? words.data : "", words.len, k->cpu, e);
}

static void engine_program(const struct host *h, char path[4096])
{
	static const char *const folders[] = {"/usr/local/bin", "/usr/bin", "/bin"};   // where vmx looks
	snprintf(path, 4096, "%s", h->vmx_path);
	for (size_t i = 0; i < 3 && !strcmp(h->engine, "qemu"); i++) {
		char candidate[64];
		snprintf(candidate, sizeof(candidate), "%s/qemu-system-x86_64", folders[i]);
		if (!access(candidate, X_OK)) {
			snprintf(path, 4096, "%s", candidate);
			return;
		}
	}
}

static int all_digests(struct template_key *k, const struct host *h, struct err *e)
{
	char path[4096], engine[4096];
	int rc = cpu_digest(k, e);
	snprintf(path, sizeof(path), "%s/vmlinux", h->guest_dir);
	if (!rc)
		rc = file_digest(k, 0, path, e);
	snprintf(path, sizeof(path), "%s/initramfs.cpio", h->guest_dir);
	if (!rc)
		rc = file_digest(k, 1, path, e);
	if (!rc)
		rc = file_digest(k, 2, h->vmx_path, e);
	engine_program(h, engine);
	return rc ? rc : file_digest(k, 3, engine, e);
}

int template_key(struct template_key *k, const struct host *h, unsigned vcpus, unsigned memory_mib, char digest[DIGEST_MAX], struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	pthread_mutex_lock(&k->lock);
	int rc = all_digests(k, h, e);
	if (!rc && buf_printf(&b, "%d %s %s %s %s %s %s %u %u %s", FORMAT, h->engine, k->file[0].digest, k->file[1].digest, k->file[2].digest,
			      k->file[3].digest, k->cpu, vcpus, memory_mib, TEMPLATE_CMDLINE))
		rc = err_set(e, ENOMEM, "no memory");
	pthread_mutex_unlock(&k->lock);
	return rc ? rc : digest_bytes(b.data, b.len, digest, e);
}
