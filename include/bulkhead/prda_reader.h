// SPDX-License-Identifier: Apache-2.0
// Reading another process's PRDA region: what variables it has, and what they come to, without a system call for each
// and without the other process noticing. Everything read is checked: a writer cannot harm a reader.
#ifndef BULKHEAD_PRDA_READER_H
#define BULKHEAD_PRDA_READER_H

#include "bulkhead/prda.h"

struct prda_reader;

struct prda_reader_info {
	char name[32];             // options.name of the region
	uint32_t pid;              // of its maker, in the maker's PID namespace
	uint32_t cpus, slots;
	enum prda_form form;
	uint64_t start_ns;         // CLOCK_REALTIME when it was made
};

struct prda_variable {
	enum prda_kind kind;
	uint32_t offset, size;
	char name[PRDA_NAME_MAX], labels[PRDA_LABELS_MAX], help[PRDA_HELP_MAX + 8];   // NUL-terminated
};

/* Map a region, read-only. path: options.path of its maker, or /proc/PID/fd/N of a memfd. fd: borrowed.
 * Returns 0; -EINVAL not a region, damaged, or of another version; -EPERM it could be cut short under the reader: it is
 * neither a sealed memfd nor a file that only this user or root can write; -errno. */
int prda_reader_open(const char *path, struct prda_reader **r, struct err *e);
int prda_reader_open_fd(int fd, struct prda_reader **r, struct err *e);
void prda_reader_close(struct prda_reader *r);   // NULL: nothing

void prda_reader_info(const struct prda_reader *r, struct prda_reader_info *info);
void prda_reader_stats(const struct prda_reader *r, struct prda_stats *s);

/* Is some process attached? Regions in files outlive a process that was killed. A system call. */
bool prda_reader_alive(const struct prda_reader *r);

/* The next named variable. cursor: 0 at first. Returns false at the end. */
bool prda_reader_next(const struct prda_reader *r, uint32_t *cursor, struct prda_variable *v);

/* 64-bit word number word of a variable: in one slot, and in all of them. 0 outside of the variable. */
uint64_t prda_reader_word(const struct prda_reader *r, const struct prda_variable *v, uint32_t word, uint32_t slot);
uint64_t prda_reader_sum(const struct prda_reader *r, const struct prda_variable *v, uint32_t word);

#endif
