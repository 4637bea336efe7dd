// SPDX-License-Identifier: Apache-2.0
// The files of one container instance's log: names, list, removal of the oldest. For cri_log.c and cri_log_read.c.
#ifndef BH_HOSTD_CRI_LOG_FILES_H
#define BH_HOSTD_CRI_LOG_FILES_H

#include <stddef.h>
#include <stdint.h>

char *cri_log_path(const char *dir, unsigned instance);                              // heap; NULL: no memory
char *cri_log_state_path(const char *dir, unsigned instance);
char *cri_log_rotated_path(const char *dir, unsigned instance, uint64_t real_ns);

/* Paths of all files of the instance, oldest first, the current one last. Free with cri_log_list_free. Returns 0,
 * -ENOENT (no file) or -errno. */
int cri_log_list(const char *dir, unsigned instance, char ***paths, size_t *count);
void cri_log_list_free(char **paths, size_t count);

void cri_log_prune(const char *dir, unsigned instance, unsigned keep);   // best effort

#endif
