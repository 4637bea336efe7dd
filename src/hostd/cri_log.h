// SPDX-License-Identifier: Apache-2.0
// Container logs on disk, in the CRI's form: one line "RFC3339Nano stdout|stderr F|P text" each; P: the text goes on in
// the next line of the same stream. One instance of a container (restart count N) has
//   DIR/N.log              being written
//   DIR/N.log.YYYYMMDD-HHMMSS.NNNNNNNNN   older, at most CRI_LOG_KEEP of them; names sort by age
//   DIR/.N.state           where the writer stands, so that nothing is lost or doubled when it is killed
#ifndef BH_HOSTD_CRI_LOG_H
#define BH_HOSTD_CRI_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CRI_LOG_LINE_MAX 16384           // text bytes of one line; more becomes P lines
#define CRI_LOG_FILE_MAX (10u << 20)     // bytes at which a file is put aside
#define CRI_LOG_KEEP 4                   // files put aside that stay, beside the current one

enum cri_stream { CRI_STDOUT = 1, CRI_STDERR = 2 };

/* Writing. One writer per instance. Not thread-safe. */

struct cri_log;

/* Open or take up again. dir is made when missing. Returns 0 or -errno. */
int cri_log_open(const char *dir, unsigned instance, struct cri_log **out, struct err *e);

/* Number of the last record that is on disk (or in its pending line); 0: none. A writer that takes up again asks for
 * records after this one. */
uint64_t cri_log_seq(const struct cri_log *l);
bool cri_log_ended(const struct cri_log *l);   // cri_log_end has been called for this instance, and committed

/* Add one record: bytes as they were read, any length, any place in a line. Records up to cri_log_seq are passed over.
 * Nothing is written yet. Returns 0, -EINVAL (stream) or -ENOMEM; after an error nothing of it is added. */
int cri_log_add(struct cri_log *l, uint64_t seq, uint64_t real_ns, enum cri_stream stream, const void *data, size_t len);

/* The container's output is complete: what is left of a last line without newline is written as P. */
int cri_log_end(struct cri_log *l, uint64_t seq, uint64_t real_ns);

/* Write what was added, then the writer's state; after it cri_log_seq may be acknowledged. Returns 0 or -errno; after
 * an error the same bytes are tried again by the next call. */
int cri_log_commit(struct cri_log *l, struct err *e);

/* Bytes that are added and not yet written. */
size_t cri_log_dirty(const struct cri_log *l);

/* Closes without writing what is not committed. NULL allowed. */
void cri_log_close(struct cri_log *l);

/* Reading. */

struct cri_log_query {
	int64_t tail_lines;     // -1: all
	uint64_t since_ns;      // lines before it are passed over; 0: none are
	int64_t limit_bytes;    // of output; -1: no limit
	bool timestamps;        // put the time before each line
	bool follow;            // kept for the caller; reading itself never waits
	enum cri_stream only;   // 0: both streams
};
#define CRI_LOG_QUERY_INIT { .tail_lines = -1, .limit_bytes = -1 }

struct cri_log_reader;

/* Returns 0, or -ENOENT when the instance has no log. */
int cri_log_reader_open(const char *dir, unsigned instance, const struct cri_log_query *q, struct cri_log_reader **out,
			struct err *e);
void cri_log_reader_close(struct cri_log_reader *r);   // NULL allowed

/* Copy output to buf. Returns bytes; 0: nothing more at present; -ENODATA: the limit is reached; -errno. */
long cri_log_reader_read(struct cri_log_reader *r, void *buf, size_t room);

/* 1: the writer has written the last line of this instance; 0: not yet; -ENOENT: nothing is known. */
int cri_log_is_ended(const char *dir, unsigned instance);

/* One parsed line of a file. Parts point into the line. */
struct cri_line {
	uint64_t real_ns;
	const char *time;
	size_t time_len;
	enum cri_stream stream;
	bool partial;
	const char *text;
	size_t text_len;
};

/* line: without its newline. Returns 0 or -EINVAL. */
int cri_line_parse(const char *line, size_t len, struct cri_line *out);

#endif
