// SPDX-License-Identifier: Apache-2.0
// Memory images that are in use; see template_link.h.
#include "template_link.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "template_image.h"

#define LINK "template-memory"
#define ABOUT "template.json"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory { char digest[DIGEST_MAX]; int fd; struct memory *next; } *known;   // by lock

static struct memory *find(const char *digest)
{
	struct memory *m = known;
	while (m && strcmp(m->digest, digest))
		m = m->next;
	return m;
}

int template_memory(const char *path, const char *digest, uint64_t bytes, struct err *e)
{
	pthread_mutex_lock(&lock);
	struct memory *m = find(digest);
	if (!m && (m = calloc(1, sizeof(*m)))) {
		snprintf(m->digest, sizeof(m->digest), "%s", digest);
		m->fd = template_image_read(path, digest, bytes, e);
		if (m->fd >= 0) {
			m->next = known;
			known = m;
		}
	}
	int fd = m ? m->fd : -ENOMEM;
	if (m && m->fd < 0)
		free(m);
	else if (m && (fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 3)) < 0)
		fd = err_sys(e, errno, "hand out a template's memory");
	pthread_mutex_unlock(&lock);
	return fd;
}

void template_memory_forget(const char *digest)
{
	pthread_mutex_lock(&lock);
	for (struct memory **p = &known; *p;) {
		struct memory *m = *p;
		if (strcmp(m->digest, digest)) {
			p = &m->next;
			continue;
		}
		*p = m->next;
		close(m->fd);
		free(m);
	}
	pthread_mutex_unlock(&lock);
}

static char *in(const char *dir, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

void template_unlink(const char *vm_dir)
{
	own_free char *memory = in(vm_dir, LINK), *about = in(vm_dir, ABOUT);
	if (about)
		unlink(about);
	if (memory)
		unlink(memory);
}

int template_link(const char *vm_dir, const char *image, const char *digest, uint64_t bytes, struct err *e)
{
	own_free char *memory = in(vm_dir, LINK), *about = in(vm_dir, ABOUT);
	own_json json_t *o = json_pack("{s:s, s:I}", "memorySHA256", digest, "bytes", (json_int_t)bytes);
	own_free char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (!memory || !about || !text)
		return err_sys(e, ENOMEM, "link a template");
	int rc = dir_make(vm_dir, 0700, e);
	if (rc)
		return rc;
	template_unlink(vm_dir);
	if (link(image, memory))
		return err_sys(e, errno, "link %s", image);
	return file_replace(about, text, strlen(text), 0600, e);
}

int template_linked(const char *vm_dir, uint64_t *bytes, struct err *e)
{
	own_free char *memory = in(vm_dir, LINK), *about = in(vm_dir, ABOUT);
	own_buf struct buf text = BUF_INIT;
	if (!memory || !about)
		return err_sys(e, ENOMEM, "find a template's memory");
	int rc = file_read(about, 4096, &text, e);
	if (rc)
		return rc;
	own_json json_t *o = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
	*bytes = (uint64_t)jpath_int(o, "bytes", 0);
	return template_memory(memory, jpath_str(o, "memorySHA256", ""), *bytes, e);
}
