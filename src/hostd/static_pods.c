// SPDX-License-Identifier: Apache-2.0
// The manifest folder; see static_pods.h. Every look reads all of it: files are few. A file that cannot be understood is
// told once for each content, and the pod it was before goes on until the file is right or gone.
#include "static_pods.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "events.h"
#include "pods.h"
#include "static_manifest.h"

#define FILE_MAX_BYTES (1 << 20)
#define FILES_MAX 500
#define LOOK_MS 20000        // changes that inotify does not tell
#define PENDING_MS 500       // a pod waits for the one it replaces
#define SETTLE_MS 100        // several changes at once

struct static_pods {
	const struct host *host;
	char *dir;
	pthread_t thread;
	int stop_fd, watch_fd;
	json_t *bad;             // file -> what was said about it
};

static void complain(struct static_pods *s, const char *file, const char *why)
{
	const char *said = json_string_value(json_object_get(s->bad, file));
	if (said && !strcmp(said, why))
		return;
	json_object_set_new(s->bad, file, json_string(why));
	log_warn("static", "%s/%s: %s", s->dir, file, why);
	own_json json_t *node = json_pack("{s:s, s:s, s:{s:s, s:s}}", "kind", "Node", "apiVersion", "v1", "metadata", "name", s->host->node_name,
					  "uid", s->host->node_name);
	events_emit(s->host->events, node, NULL, "Warning", "FailedStaticPod", "%s/%s: %s", s->dir, file, why);
}

/* 1: not a file for us. */
static int read_one(struct static_pods *s, const char *file, json_t **pod, struct err *e)
{
	own_free char *path = NULL;
	own_buf struct buf text = BUF_INIT;
	struct stat st;
	if (asprintf(&path, "%s/%s", s->dir, file) < 0)
		return err_sys(e, ENOMEM, "read %s", file);
	if (stat(path, &st))
		return errno == ENOENT ? 1 : err_sys(e, errno, "read it");
	if (S_ISDIR(st.st_mode))
		return 1;
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "neither a file nor a folder");
	int rc = file_read(path, FILE_MAX_BYTES, &text, e);
	return rc ? rc : static_manifest_read(text.data ? text.data : "", text.len, file, s->host->node_name, pod, e);
}

static bool name_is_taken(const json_t *pods, const json_t *pod)
{
	size_t i;
	json_t *other;
	json_array_foreach((json_t *)pods, i, other)
		if (!strcmp(jpath_str(other, "metadata.name", ""), jpath_str(pod, "metadata.name", "")) &&
		    !strcmp(jpath_str(other, "metadata.namespace", ""), jpath_str(pod, "metadata.namespace", "")))
			return true;
	return false;
}

/* All files of the folder: pods, and the names of those that cannot be understood now. */
static void read_all(struct static_pods *s, json_t *pods, json_t *unclear)
{
	struct dirent **all = NULL;
	int n = scandir(s->dir, &all, NULL, alphasort);
	if (n < 0)
		log_limited(LOG_LEVEL_WARN, "static", "folder %s: %s", s->dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *file = all[i]->d_name;
		json_t *pod = NULL;
		struct err e = ERR_INIT;
		int rc = *file == '.' ? 1 : json_array_size(pods) >= FILES_MAX ?
			 err_set(&e, E2BIG, "one file too many: %d pods at most are taken from a folder", FILES_MAX) : read_one(s, file, &pod, &e);
		if (!rc && name_is_taken(pods, pod))
			rc = err_set(&e, EEXIST, "pod %s/%s is in another file already", jpath_str(pod, "metadata.namespace", ""),
				     jpath_str(pod, "metadata.name", ""));
		if (!rc) {
			json_array_append(pods, pod);
			json_object_del(s->bad, file);
		} else if (rc < 0) {
			complain(s, file, e.text);
			json_array_append_new(unclear, json_string(file));
		}
		json_decref(pod);
		free(all[i]);
	}
	free(all);
}

/* True: look again soon. */
static bool look(struct static_pods *s)
{
	own_json json_t *pods = json_array(), *unclear = json_array();
	read_all(s, pods, unclear);
	return pods_static_set(s->host->pods, pods, unclear);
}

static void drain(int fd)
{
	char events[4096] __attribute__((aligned(8)));
	while (read(fd, events, sizeof(events)) > 0)
		;
}

static void *run(void *arg)
{
	struct static_pods *s = arg;
	bool soon = true;
	for (;;) {
		struct pollfd fds[] = {{.fd = s->stop_fd, .events = POLLIN}, {.fd = s->watch_fd, .events = POLLIN}};
		int n = poll(fds, 2, soon ? PENDING_MS : LOOK_MS);
		if (n > 0 && fds[0].revents)
			return NULL;
		if (n > 0) {
			struct timespec settle = {.tv_nsec = SETTLE_MS * 1000000L};
			nanosleep(&settle, NULL);
			drain(s->watch_fd);
		}
		soon = look(s);
	}
}

static void release(struct static_pods *s)
{
	if (s->stop_fd >= 0)
		close(s->stop_fd);
	if (s->watch_fd >= 0)
		close(s->watch_fd);
	json_decref(s->bad);
	free(s->dir);
	free(s);
}

int static_pods_start(const struct host *h, const char *dir, struct static_pods **out, struct err *e)
{
	struct static_pods *s = calloc(1, sizeof(*s));
	int rc = dir_make(dir, 0700, e);
	if (rc || !s) {
		free(s);
		return rc ? rc : err_sys(e, ENOMEM, "follow %s", dir);
	}
	*s = (struct static_pods){.host = h, .dir = strdup(dir), .bad = json_object(), .stop_fd = eventfd(0, EFD_CLOEXEC),
				  .watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
	rc = !s->dir || !s->bad ? ENOMEM : s->stop_fd < 0 || s->watch_fd < 0 ? errno : 0;
	if (!rc && inotify_add_watch(s->watch_fd, dir, IN_CREATE | IN_CLOSE_WRITE | IN_MOVE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR) < 0)
		rc = errno;
	if (!rc) {
		look(s);
		rc = pthread_create(&s->thread, NULL, run, s);
	}
	if (rc) {
		release(s);
		return err_sys(e, rc, "follow %s", dir);
	}
	*out = s;
	return 0;
}

void static_pods_stop(struct static_pods *s)
{
	if (!s)
		return;
	eventfd_write(s->stop_fd, 1);
	pthread_join(s->thread, NULL);
	release(s);
}
