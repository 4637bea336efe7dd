// SPDX-License-Identifier: Apache-2.0
// The descriptor of a disk (NAME.bhd): readable JSON beside the data file. docs/disk-format.md.
#ifndef BH_DISK_DESCRIPTOR_H
#define BH_DISK_DESCRIPTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DESCRIPTOR_VERSION 1
#define DESCRIPTOR_SUFFIX ".bhd"
#define DISK_SIZE_MAX (64ull << 40)
#define DISK_BLOCK_MIN 4096u
#define DISK_BLOCK_MAX (1u << 20)
#define DISK_FILTERS_MAX 24

struct descriptor_parent {
	char id[40];             // "" for a raw file
	char *path;              // as written; relative to the descriptor's folder
	uint64_t generation;     // of the parent's descriptor when the clone was made
	int64_t mtime_ns;        // of the parent's data file
	uint64_t limit;          // bytes of the parent that can be seen
};

struct iof_settings {            // of one filter; one JSON object of strings, numbers and booleans
	json_t *json;            // owned
	char scratch[4][64];     // texts of numbers
	unsigned next;
};

struct descriptor_filter {
	char *name;              // unique in the disk; the type's name unless several
	char *type;
	struct iof_settings settings;
};

struct descriptor {
	char *path;              // where it was read from
	char id[40];
	uint64_t size;
	uint32_t block;
	uint64_t generation;     // goes up each time the disk is opened for writing
	bool has_children;       // never opened for writing again
	char *data;              // data file, relative to the descriptor's folder
	bool has_parent;
	struct descriptor_parent parent;
	unsigned nfilters;
	struct descriptor_filter filters[DISK_FILTERS_MAX];   // top first
};

struct descriptor *descriptor_new(const char *path, uint64_t size, uint32_t block, struct err *e);   // fresh id, no filters
void descriptor_free(struct descriptor *d);                                                     // NULL allowed

int descriptor_read(const char *path, struct descriptor **d, struct err *e);
int descriptor_parse(const char *text, size_t len, const char *path, struct descriptor **d, struct err *e);
int descriptor_write(const struct descriptor *d, struct err *e);      // atomic and durable
char *descriptor_text(const struct descriptor *d);                    // NULL: no memory

bool descriptor_is(const char *path);                                 // by name
char *descriptor_file(const struct descriptor *d, const char *relative);   // path of a file named in it; NULL: no memory
char *descriptor_side(const char *descriptor_path, const char *suffix);    // NAME.bhd, "map" -> NAME.map

/* at: position from the top; settings: borrowed, may be NULL. */
int descriptor_filter_add(struct descriptor *d, unsigned at, const char *name, const char *type, const json_t *settings, struct err *e);
void descriptor_filter_remove(struct descriptor *d, unsigned i);
int descriptor_filter_find(const struct descriptor *d, const char *name);   // index, or -1

const char *settings_get(const struct iof_settings *s, const char *key);
int settings_set(struct iof_settings *s, const char *key, const char *value);
int settings_size(const struct iof_settings *s, const char *key, uint64_t fallback, uint64_t *v, struct err *e);
int settings_ns(const struct iof_settings *s, const char *key, uint64_t fallback, uint64_t *v, struct err *e);
int size_parse(const char *text, uint64_t *v);                        // "64M", "1.5T", "4096"; -EINVAL

void uuid_make(char out[40]);

#endif
