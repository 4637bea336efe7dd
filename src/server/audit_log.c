// SPDX-License-Identifier: Apache-2.0
#include "server/audit_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/own.h"

#define WAITING_MAX (16u << 20)
#define PIECE_MAX (1u << 20)      // of lines written in one go

struct audit_log {
	char *path;
	uint64_t max_bytes, size;     // size: of the open file
	unsigned keep;
	int fd;                       // -1: to be opened again
	bool cut;                     // the file ends within a line, the rest of which comes next
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct buf waiting;           // under the lock: whole lines
	struct audit_counts counts;   // under the lock
	bool stop;
	bool failing;                 // the thread's: the disk refused the last time
	uint64_t said_lost;           // the thread's
};

/* --- the file --- */

/* A file that a crash or a full disk left within a line: its next line begins anew. Adds what it writes to *size. */
static int end_line(const struct audit_log *l, int fd, uint64_t *size)
{
	own_fd int in = *size ? open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	char last = '\n';

	if (in < 0 || pread(in, &last, 1, (off_t)*size - 1) != 1 || last == '\n')
		return 0;
	if (write(fd, "\n", 1) < 0)
		return -errno;
	++*size;
	return 0;
}

static int open_file(struct audit_log *l)
{
	struct stat st;
	uint64_t size;
	int r = 0;
	own_fd int fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		st = (struct stat){ .st_mode = S_IFREG };
	size = (uint64_t)st.st_size;
	if (S_ISREG(st.st_mode))
		r = end_line(l, fd, &size);
	else
		l->max_bytes = UINT64_MAX;      // a pipe or a device is not turned over
	if (r)
		return r;
	l->fd = take_fd(fd);
	l->size = size;
	return 0;
}

/* FILE.n's name, FILE's for 0. */
static char *numbered(const struct audit_log *l, unsigned n)
{
	char *out = NULL;

	if (!n)
		return strdup(l->path);
	return asprintf(&out, "%s.%u", l->path, n) < 0 ? NULL : out;
}

static int turn_over(struct audit_log *l)
{
	int r = 0;

	close(l->fd);
	l->fd = -1;
	if (!l->keep && unlink(l->path))
		r = -errno;
	for (unsigned n = l->keep; n > 0; n--) {
		char *from = numbered(l, n - 1), *to = numbered(l, n);
		if (!from || !to)
			r = -ENOMEM;
		else if (rename(from, to) && n == 1)   // FILE itself; the others need not be there
			r = -errno;
		free(from);
		free(to);
	}
	return r ? r : open_file(l);
}

/* Whole lines of text, at most so many bytes but at least one line. */
static size_t some_lines(const char *text, size_t len, uint64_t most)
{
	const char *end;

	if (!text || len <= most)
		return len;
	end = most ? memrchr(text, '\n', most) : NULL;
	if (!end)
		end = memchr(text, '\n', len);
	return end ? (size_t)(end - text) + 1 : len;
}

/* Write as much of text as can be written, drop it from there, and say what stopped it. */
static int write_out(struct audit_log *l, struct buf *text)
{
	while (text->len) {
		int r = l->fd < 0 ? open_file(l) : 0;
		if (r)
			return r;
		uint64_t room = l->size < l->max_bytes ? l->max_bytes - l->size : 0;
		size_t n = some_lines(text->data, text->len, room < PIECE_MAX ? room : PIECE_MAX);
		if (l->size && n > room && !l->cut)
			r = turn_over(l);
		if (r)
			return r;
		ssize_t w = write(l->fd, text->data, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		l->size += (uint64_t)w;
		if (w)
			l->cut = text->data[w - 1] != '\n';
		buf_consume(text, (size_t)w);
	}
	return 0;
}

/* --- the thread --- */

static void say(struct audit_log *l, int r)
{
	struct audit_counts c;

	audit_log_counts(l, &c);
	if (r) {
		log_limited(LOG_LEVEL_ERROR, "audit", "%s cannot be written: %s; waiting_bytes=%llu lost=%llu", l->path, strerror(-r),
			    (unsigned long long)c.waiting_bytes, (unsigned long long)c.lost);
	} else if (l->failing || c.lost != l->said_lost) {
		log_warn("audit", "%s is written again lost=%llu", l->path, (unsigned long long)c.lost);
		l->said_lost = c.lost;
	}
	l->failing = r != 0;
}

static void sleep_some(struct audit_log *l)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	while (!l->stop && pthread_cond_timedwait(&l->wake, &l->lock, &until) != ETIMEDOUT)
		;   // each new line signals
}

static void *run(void *arg)
{
	struct audit_log *l = arg;
	struct buf mine = BUF_INIT;
	bool last = false;

	pthread_mutex_lock(&l->lock);
	while (!last) {
		while (!l->stop && !l->waiting.len && !mine.len)
			pthread_cond_wait(&l->wake, &l->lock);
		if (l->failing && !l->stop)
			sleep_some(l);
		last = l->stop;
		if (!mine.len) {
			struct buf t = mine;
			mine = l->waiting;
			l->waiting = t;
		}
		pthread_mutex_unlock(&l->lock);
		int r = write_out(l, &mine);
		pthread_mutex_lock(&l->lock);
		l->counts.waiting_bytes = l->waiting.len + mine.len;
		pthread_mutex_unlock(&l->lock);
		say(l, r);
		pthread_mutex_lock(&l->lock);
		last = last && (r || !l->waiting.len);
	}
	pthread_mutex_unlock(&l->lock);
	buf_fini(&mine);
	return NULL;
}

/* --- everybody's --- */

void audit_log_line(struct audit_log *l, const char *line, size_t len)
{
	pthread_mutex_lock(&l->lock);
	bool kept = l->counts.waiting_bytes + len <= WAITING_MAX && !buf_append(&l->waiting, line, len);
	l->counts.lines += kept;
	l->counts.lost += !kept;
	if (kept) {
		l->counts.waiting_bytes += len;
		pthread_cond_signal(&l->wake);
	}
	pthread_mutex_unlock(&l->lock);
}

void audit_log_counts(struct audit_log *l, struct audit_counts *c)
{
	pthread_mutex_lock(&l->lock);
	*c = l->counts;
	pthread_mutex_unlock(&l->lock);
}

static void free_log(struct audit_log *l)
{
	if (l->fd >= 0)
		close(l->fd);
	buf_fini(&l->waiting);
	free(l->path);
	free(l);
}

int audit_log_open(const char *path, uint64_t max_bytes, unsigned keep, struct audit_log **out, struct err *e)
{
	struct audit_log *l = calloc(1, sizeof *l);
	int r;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	*l = (struct audit_log){ .fd = -1, .max_bytes = max_bytes, .keep = keep, .path = strdup(path) };
	r = l->path ? open_file(l) : -ENOMEM;
	if (r && r != -ENOSPC && r != -EDQUOT) {      // on a full disk it is tried again with the first line
		free_log(l);
		return err_sys(e, -r, "audit log %s", path);
	}
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->wake, NULL);
	r = pthread_create(&l->thread, NULL, run, l);
	if (r) {
		free_log(l);
		return err_sys(e, r, "audit log");
	}
	*out = l;
	return 0;
}

void audit_log_close(struct audit_log *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	free_log(l);
}
