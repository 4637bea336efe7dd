// SPDX-License-Identifier: Apache-2.0
// The reader of container logs; see cri_log.h. It goes through the files of an instance from old to new, and on into
// the file that takes the place of the one it stands in when that is put aside.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "cri_log.h"
#include "cri_log_files.h"

#define BLOCK 32768
#define RAW_LINE_MAX (CRI_LOG_LINE_MAX + 256)   // a line longer than any we write is damage and is passed over
#define HEAD_MAX 128                            // time, stream and tag of a line fit

struct cri_log_reader {
	char *dir;
	unsigned instance;
	struct cri_log_query query;
	int fd;
	off_t at;              // next byte to read
	struct buf in;         // read, not parsed
	struct buf out;        // to be given to the caller
	size_t out_taken;
	bool mid_line;         // the last line given was partial
	bool limited;          // limit_bytes is used up
};

static int reader_enter(struct cri_log_reader *r, const char *path, off_t at)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = fd;
	r->at = at;
	r->in.len = 0;
	return 0;
}

/* Is the file we stand in no longer the current one? */
static bool put_aside(const struct cri_log_reader *r)
{
	own_free char *path = cri_log_path(r->dir, r->instance);
	struct stat here, current;
	return path && !fstat(r->fd, &here) && !stat(path, &current) && here.st_ino != current.st_ino;
}

/* Go to the file that follows ours, or to the oldest when ours has been removed. -ENOENT: there is none. */
static int reader_advance(struct cri_log_reader *r)
{
	char **paths;
	size_t count, next = 0;
	struct stat here, st;
	int rc = cri_log_list(r->dir, r->instance, &paths, &count);
	if (rc)
		return rc;
	if (!fstat(r->fd, &here))
		for (size_t i = 0; i < count; i++)
			if (!stat(paths[i], &st) && st.st_ino == here.st_ino)
				next = i + 1;
	rc = next < count ? reader_enter(r, paths[next], 0) : -ENOENT;
	cri_log_list_free(paths, count);
	return rc;
}

/* Where to begin. */

struct tail { int64_t want, ends; bool last_seen; };

/* A line that begins at head (of which len bytes are at hand) has been passed, going backwards. True: enough. */
static bool tail_line(struct tail *t, const char *head, size_t len)
{
	struct cri_line l;
	bool last = !t->last_seen;
	t->last_seen = true;
	if (!cri_line_parse(head, len, &l) && (!l.partial || last))
		t->ends++;
	return t->ends > t->want;
}

/* Look through one file from its end. Returns 1 and *start when enough lines lie behind it, 0 when all of it is wanted. */
static int tail_in_file(int fd, struct tail *t, off_t *start)
{
	struct stat st;
	own_free char *block = malloc(BLOCK + HEAD_MAX);
	if (!block)
		return -ENOMEM;
	if (fstat(fd, &st))
		return -errno;
	off_t line_end = -1;          // of the line whose beginning is looked for; -1: no newline seen yet
	size_t over = 0;              // bytes of the block behind this one, kept at this one's end
	for (off_t base = st.st_size; base > 0;) {
		size_t n = base < BLOCK ? (size_t)base : BLOCK;
		memmove(block + n, block, over);
		base -= (off_t)n;
		if (pread(fd, block, n, base) != (ssize_t)n)
			return -EIO;
		size_t have = n + over;
		for (size_t i = n; i-- > 0;) {
			if (block[i] != '\n')
				continue;
			size_t head = have - i - 1 < HEAD_MAX ? have - i - 1 : HEAD_MAX;
			if (line_end >= 0 && tail_line(t, block + i + 1, head)) {
				*start = line_end;
				return 1;
			}
			line_end = base + (off_t)i + 1;
		}
		over = have < HEAD_MAX ? have : HEAD_MAX;
	}
	if (line_end >= 0 && tail_line(t, block, over)) {
		*start = line_end;
		return 1;
	}
	return 0;
}

static int reader_start(struct cri_log_reader *r, char **paths, size_t count)
{
	size_t first = 0;
	off_t at = 0;
	struct stat st;
	if (r->query.tail_lines >= 0) {
		struct tail t = {.want = r->query.tail_lines};
		for (first = count; first-- > 0;) {
			own_fd int fd = open(paths[first], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
			int rc = fd < 0 ? -errno : tail_in_file(fd, &t, &at);
			if (rc < 0 && rc != -ENOENT)
				return rc;
			if (rc == 1 || first == 0)
				break;
		}
	}
	while (first + 1 < count && !stat(paths[first], &st) && (uint64_t)st.st_mtime + 1 < r->query.since_ns / NS_PER_S) {
		first++;
		at = 0;
	}
	return reader_enter(r, paths[first], at);
}

int cri_log_reader_open(const char *dir, unsigned instance, const struct cri_log_query *q, struct cri_log_reader **out,
			struct err *e)
{
	char **paths;
	size_t count;
	int rc = cri_log_list(dir, instance, &paths, &count);
	if (rc)
		return err_sys(e, -rc, "log %u in '%s'", instance, dir);
	struct cri_log_reader *r = calloc(1, sizeof(*r));
	if (r) {
		r->fd = -1;
		r->instance = instance;
		r->query = *q;
		r->dir = strdup(dir);
	}
	rc = r && r->dir ? reader_start(r, paths, count) : -ENOMEM;
	cri_log_list_free(paths, count);
	if (rc) {
		cri_log_reader_close(r);
		return err_sys(e, -rc, "log %u in '%s'", instance, dir);
	}
	*out = r;
	return 0;
}

void cri_log_reader_close(struct cri_log_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	buf_fini(&r->in);
	buf_fini(&r->out);
	free(r->dir);
	free(r);
}

/* Reading on. */

static int put_line(struct cri_log_reader *r, const char *line, size_t len)
{
	struct cri_line l;
	if (cri_line_parse(line, len, &l) || l.real_ns < r->query.since_ns || (r->query.only && l.stream != r->query.only))
		return 0;
	int rc = 0;
	if (r->query.timestamps && !r->mid_line)
		rc = buf_append(&r->out, l.time, l.time_len) || buf_append(&r->out, " ", 1) ? -ENOMEM : 0;
	if (!rc)
		rc = buf_append(&r->out, l.text, l.text_len);
	if (!rc && !l.partial)
		rc = buf_append(&r->out, "\n", 1);
	r->mid_line = l.partial;
	return rc;
}

/* Move whole lines from in to out. */
static int parse(struct cri_log_reader *r)
{
	size_t at = 0;
	for (char *newline; r->in.len > at && (newline = memchr(r->in.data + at, '\n', r->in.len - at));) {
		size_t len = (size_t)(newline - r->in.data) - at;
		int rc = put_line(r, r->in.data + at, len);
		if (rc)
			return rc;
		at += len + 1;
	}
	buf_consume(&r->in, at);
	if (r->in.len > RAW_LINE_MAX)
		r->in.len = 0;
	return 0;
}

/* Read a block into in. Returns bytes, 0 at the end, -errno. */
static long fill(struct cri_log_reader *r)
{
	if (buf_reserve(&r->in, BLOCK))
		return -ENOMEM;
	ssize_t n = pread(r->fd, r->in.data + r->in.len, BLOCK, r->at);
	if (n < 0)
		return -errno;
	r->at += n;
	r->in.len += (size_t)n;
	return n;
}

static long take_out(struct cri_log_reader *r, void *to, size_t room)
{
	size_t n = r->out.len - r->out_taken < room ? r->out.len - r->out_taken : room;
	if (r->query.limit_bytes >= 0 && n >= (size_t)r->query.limit_bytes) {
		n = (size_t)r->query.limit_bytes;
		r->limited = true;
	}
	if (r->query.limit_bytes >= 0)
		r->query.limit_bytes -= (int64_t)n;
	memcpy(to, r->out.data + r->out_taken, n);
	r->out_taken += n;
	if (r->out_taken == r->out.len)
		r->out.len = r->out_taken = 0;
	return (long)n;
}

long cri_log_reader_read(struct cri_log_reader *r, void *to, size_t room)
{
	for (;;) {
		if (r->limited || (r->query.limit_bytes == 0))
			return -ENODATA;
		if (r->out.len > r->out_taken)
			return take_out(r, to, room);
		long n = fill(r);
		if (n == 0 && put_aside(r)) {
			n = fill(r);   // what came between the end and the renaming
			if (n == 0 && reader_advance(r))
				return 0;
		} else if (n == 0) {
			return 0;
		}
		if (n < 0)
			return n;
		int rc = parse(r);
		if (rc)
			return rc;
	}
}
