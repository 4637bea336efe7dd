// SPDX-License-Identifier: Apache-2.0
// The writer of container logs; see cri_log.h.
//
// The state file is what makes a SIGKILL harmless. It holds the number of the last record taken in, the file (inode) and
// length up to which that is on disk, and the text of lines not yet complete. It is written after the log's bytes, in
// turn into one of two slots, each with a count and a checksum, so that at any moment one slot is whole. Whoever takes
// up again cuts the log to the recorded length and asks the agent for the records after the recorded one.
// No fsync: the page cache outlives the process.
#include "cri_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "cri_log_files.h"

#define SLOT_SIZE 65536
#define STATE_MAGIC 0x30474c4bu   // "KLG0"

struct state_head {               // on disk, little-endian machines only, fixed widths
	uint32_t magic;
	uint32_t crc;                 // of everything behind this field, pending text included
	uint64_t count;               // the slot with the higher one is the newer
	uint64_t seq;
	uint64_t inode;
	uint64_t length;
	uint64_t rotated_ns;          // time in the name of the file put aside last
	uint32_t ended;
	uint32_t pending_len[2];      // stdout, stderr; their bytes follow
	uint32_t unused;
};
#define CRC_FROM offsetof(struct state_head, count)

struct cri_log {
	char *dir;
	unsigned instance;
	int fd, state_fd;
	struct state_head state;      // as of the last commit, but seq and ended: of the last add
	struct buf pending[2];        // lines not yet complete
	struct buf lines;             // complete, not yet written
	bool changed;
};

/* State. */

static uint32_t state_crc(const struct state_head *h, const void *text, size_t len)
{
	uLong crc = crc32(0, (const unsigned char *)h + CRC_FROM, sizeof(*h) - CRC_FROM);
	return (uint32_t)crc32(crc, text, (uInt)len);
}

static int slot_read(int fd, int slot, struct state_head *h, struct buf *text)
{
	struct state_head got;
	ssize_t n = pread(fd, &got, sizeof(got), (off_t)slot * SLOT_SIZE);
	if (n != (ssize_t)sizeof(got) || got.magic != STATE_MAGIC)
		return -ENODATA;
	if (got.pending_len[0] > CRI_LOG_LINE_MAX || got.pending_len[1] > CRI_LOG_LINE_MAX)
		return -ENODATA;
	size_t len = (size_t)got.pending_len[0] + got.pending_len[1];
	text->len = 0;
	if (buf_reserve(text, len))
		return -ENOMEM;
	if (pread(fd, text->data, len, (off_t)slot * SLOT_SIZE + (off_t)sizeof(got)) != (ssize_t)len)
		return -ENODATA;
	text->len = len;
	if (state_crc(&got, text->data, len) != got.crc)
		return -ENODATA;
	*h = got;
	return 0;
}

/* The newer whole slot. -ENODATA: there is none. */
static int state_read(int fd, struct state_head *h, struct buf *text)
{
	struct state_head got[2];
	own_buf struct buf other = BUF_INIT;
	int rc0 = slot_read(fd, 0, &got[0], text);
	int rc1 = slot_read(fd, 1, &got[1], &other);
	if (rc0 == -ENOMEM || rc1 == -ENOMEM)
		return -ENOMEM;
	if (rc0 && rc1)
		return -ENODATA;
	if (rc0 || (!rc1 && got[1].count > got[0].count)) {
		text->len = 0;
		if (buf_append(text, other.data, other.len))
			return -ENOMEM;
		*h = got[1];
	} else {
		*h = got[0];
	}
	return 0;
}

static int state_write(struct cri_log *l)
{
	struct state_head h = l->state;
	own_buf struct buf raw = BUF_INIT;
	h.magic = STATE_MAGIC;
	h.count++;
	for (int i = 0; i < 2; i++)
		h.pending_len[i] = (uint32_t)l->pending[i].len;
	if (buf_append(&raw, &h, sizeof(h)) || buf_append(&raw, l->pending[0].data, l->pending[0].len) ||
	    buf_append(&raw, l->pending[1].data, l->pending[1].len))
		return -ENOMEM;
	h.crc = state_crc(&h, raw.data + sizeof(h), raw.len - sizeof(h));
	memcpy(raw.data, &h, sizeof(h));
	ssize_t n = pwrite(l->state_fd, raw.data, raw.len, (off_t)(h.count % 2) * SLOT_SIZE);
	if (n != (ssize_t)raw.len)
		return n < 0 ? -errno : -ENOSPC;
	l->state = h;
	return 0;
}

/* Opening. */

static int open_log_file(struct cri_log *l, struct err *e)
{
	own_free char *path = cri_log_path(l->dir, l->instance);
	if (!path)
		return err_set(e, ENOMEM, "no memory");
	own_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return err_sys(e, errno, "open log '%s'", path);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = take_fd(fd);
	l->state.inode = st.st_ino;
	l->state.length = (uint64_t)st.st_size;
	return 0;
}

/* Cut off what was written after the last commit, and take over the rest of the recorded state. */
static int recover(struct cri_log *l, struct err *e)
{
	struct state_head h;
	own_buf struct buf text = BUF_INIT;
	int rc = state_read(l->state_fd, &h, &text);
	if (rc == -ENOMEM)
		return err_set(e, ENOMEM, "no memory");
	if (rc) {
		/* Never committed: nothing in the log was acknowledged. */
		h = (struct state_head){.inode = l->state.inode};
		text.len = 0;
	}
	/* Another inode: killed between putting the file aside (after a commit) and the first commit to the new one. */
	uint64_t keep = h.inode == l->state.inode ? h.length : 0;
	if (keep > l->state.length)
		keep = l->state.length;   // someone cut the file
	if (ftruncate(l->fd, (off_t)keep))
		return err_sys(e, errno, "cut log in '%s'", l->dir);
	h.inode = l->state.inode;
	h.length = keep;
	l->state = h;
	if (buf_append(&l->pending[0], text.data, h.pending_len[0]) ||
	    buf_append(&l->pending[1], text.data + h.pending_len[0], h.pending_len[1]))
		return err_set(e, ENOMEM, "no memory");
	return 0;
}

int cri_log_open(const char *dir, unsigned instance, struct cri_log **out, struct err *e)
{
	struct cri_log *l = calloc(1, sizeof(*l));
	own_free char *state_path = cri_log_state_path(dir, instance);
	if (!l || !state_path) {
		free(l);
		return err_set(e, ENOMEM, "no memory");
	}
	l->instance = instance;
	l->fd = l->state_fd = -1;
	l->dir = strdup(dir);
	if (!l->dir) {
		cri_log_close(l);
		return err_set(e, ENOMEM, "no memory");
	}
	int rc = dir_make(dir, 0750, e);
	if (!rc) {
		l->state_fd = open(state_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
		if (l->state_fd < 0)
			rc = err_sys(e, errno, "open '%s'", state_path);
	}
	if (!rc)
		rc = open_log_file(l, e);
	if (!rc)
		rc = recover(l, e);
	if (rc) {
		cri_log_close(l);
		return rc;
	}
	*out = l;
	return 0;
}

void cri_log_close(struct cri_log *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	if (l->state_fd >= 0)
		close(l->state_fd);
	for (int i = 0; i < 2; i++)
		buf_fini(&l->pending[i]);
	buf_fini(&l->lines);
	free(l->dir);
	free(l);
}

uint64_t cri_log_seq(const struct cri_log *l) { return l->state.seq; }
bool cri_log_ended(const struct cri_log *l) { return l->state.ended && !l->changed; }
size_t cri_log_dirty(const struct cri_log *l) { return l->lines.len; }

/* Adding. */

#define HEAD_MAX (CLOCK_TEXT_MAX + 16)

static int put_line(struct cri_log *l, uint64_t real_ns, int i, char tag, const void *more, size_t len)
{
	char head[HEAD_MAX], time[CLOCK_TEXT_MAX];
	struct buf *pending = &l->pending[i];
	int n = snprintf(head, sizeof(head), "%s %s %c ", clock_text(real_ns, 9, time), i ? "stderr" : "stdout", tag);
	if (buf_reserve(&l->lines, (size_t)n + pending->len + len + 1))
		return -ENOMEM;
	buf_append(&l->lines, head, (size_t)n);
	buf_append(&l->lines, pending->data, pending->len);
	buf_append(&l->lines, more, len);
	buf_append(&l->lines, "\n", 1);
	pending->len = 0;
	return 0;
}

/* All memory that the lines of these bytes can need, so that a record is taken in whole or not at all. */
static int reserve_lines(struct cri_log *l, int i, const char *p, size_t len)
{
	size_t lines = len / CRI_LOG_LINE_MAX + 2;
	for (const char *end = p + len; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
		lines++;
	return buf_reserve(&l->lines, l->pending[i].len + len + lines * (HEAD_MAX + 1)) ||
	       buf_reserve(&l->pending[i], len < CRI_LOG_LINE_MAX ? len : CRI_LOG_LINE_MAX) ? -ENOMEM : 0;
}

static int add_bytes(struct cri_log *l, uint64_t real_ns, int i, const char *p, size_t len)
{
	struct buf *pending = &l->pending[i];
	if (reserve_lines(l, i, p, len))
		return -ENOMEM;
	while (len) {
		const char *newline = memchr(p, '\n', len);
		size_t n = newline ? (size_t)(newline - p) : len;
		size_t room = CRI_LOG_LINE_MAX - pending->len;
		int rc;
		if (n > room) {
			n = room;
			rc = put_line(l, real_ns, i, 'P', p, n);
		} else if (newline) {
			rc = put_line(l, real_ns, i, 'F', p, n);
			n++;
		} else {
			rc = buf_append(pending, p, n);
		}
		if (rc)
			return rc;
		p += n;
		len -= n;
	}
	return 0;
}

int cri_log_add(struct cri_log *l, uint64_t seq, uint64_t real_ns, enum cri_stream stream, const void *data, size_t len)
{
	if (stream != CRI_STDOUT && stream != CRI_STDERR)
		return -EINVAL;
	if (seq <= l->state.seq)
		return 0;
	int rc = add_bytes(l, real_ns, stream - 1, data, len);
	if (rc)
		return rc;
	l->state.seq = seq;
	l->changed = true;
	return 0;
}

int cri_log_end(struct cri_log *l, uint64_t seq, uint64_t real_ns)
{
	for (int i = 0; i < 2; i++) {
		int rc = l->pending[i].len ? put_line(l, real_ns, i, 'P', NULL, 0) : 0;
		if (rc)
			return rc;
	}
	if (seq > l->state.seq)
		l->state.seq = seq;
	l->state.ended = 1;
	l->changed = true;
	return 0;
}

/* Writing. */

/* Put the current file aside. Everything in it is committed. */
static int rotate(struct cri_log *l, struct err *e)
{
	uint64_t now = clock_real_ns();
	if (now <= l->state.rotated_ns)
		now = l->state.rotated_ns + 1;   // names must sort even when the clock goes back
	own_free char *from = cri_log_path(l->dir, l->instance), *to = cri_log_rotated_path(l->dir, l->instance, now);
	if (!from || !to)
		return err_set(e, ENOMEM, "no memory");
	if (rename(from, to))
		return err_sys(e, errno, "put log aside as '%s'", to);
	l->state.rotated_ns = now;
	int rc = open_log_file(l, e);
	if (rc)
		return rc;
	cri_log_prune(l->dir, l->instance, CRI_LOG_KEEP);
	return 0;
}

int cri_log_commit(struct cri_log *l, struct err *e)
{
	if (!l->changed)
		return 0;
	size_t at = 0;
	while (at < l->lines.len) {
		ssize_t n = pwrite(l->fd, l->lines.data + at, l->lines.len - at, (off_t)(l->state.length + at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, n ? errno : ENOSPC, "write log in '%s'", l->dir);   // the next commit writes over it
		at += (size_t)n;
	}
	l->state.length += at;
	int rc = state_write(l);
	if (rc) {
		l->state.length -= at;
		return err_sys(e, -rc, "write the state of the log in '%s'", l->dir);
	}
	l->lines.len = 0;
	l->changed = false;
	if (l->lines.cap > 4 * SLOT_SIZE)
		buf_fini(&l->lines);
	return l->state.length >= CRI_LOG_FILE_MAX && !l->state.ended ? rotate(l, e) : 0;
}

int cri_log_is_ended(const char *dir, unsigned instance)
{
	own_free char *path = cri_log_state_path(dir, instance);
	if (!path)
		return -ENOMEM;
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	struct state_head h;
	own_buf struct buf text = BUF_INIT;
	int rc = state_read(fd, &h, &text);
	return rc ? rc : h.ended != 0;
}
