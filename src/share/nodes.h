// SPDX-License-Identifier: Apache-2.0
// Files of the share that the guest knows, by number, and files it has open. Numbers come from the guest: each is looked up,
// none is trusted.
#ifndef BH_SHARE_NODES_H
#define BH_SHARE_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define NODES_MAX 65536      // descriptors are the limit: the guest is told -ENFILE above
#define FILES_MAX 16384

struct nodes;

struct nodes *nodes_new(int root_fd);      // root_fd (O_PATH): taken; it is number 1. NULL: no memory
void nodes_free(struct nodes *n);

/* The node of what fd (O_PATH, taken in any case) refers to, one reference more. 0 and *id; -ENFILE, -ENOMEM, -errno. */
int nodes_get(struct nodes *n, int fd, const struct stat *st, uint64_t *id);
int nodes_fd(const struct nodes *n, uint64_t id);            // borrowed; -1: no such node
void nodes_forget(struct nodes *n, uint64_t id, uint64_t references);

/* Open files and folders. file_add takes fd; the number or 0 (then fd is closed). */
uint64_t files_add(struct nodes *n, int fd);
int files_fd(const struct nodes *n, uint64_t handle);        // borrowed; -1: no such file
void files_close(struct nodes *n, uint64_t handle);

#endif
