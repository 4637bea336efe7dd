// SPDX-License-Identifier: Apache-2.0
// Locals that own something, freed by scope. Initialise on the line that declares; hand over with take()/take_fd().
// Do not mix with goto in one function. Cleanup does not run on _exit or longjmp, and runs in both processes after fork.
#ifndef BH_OWN_H
#define BH_OWN_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void own_free_(void *p) { free(*(void **)p); }
static inline void own_fd_(int *fd) { if (*fd >= 0) close(*fd); }
static inline void own_file_(FILE **f) { if (*f) fclose(*f); }
static inline void own_dir_(DIR **d) { if (*d) closedir(*d); }

#define own_free __attribute__((cleanup(own_free_)))   // char *, or any heap pointer
#define own_fd   __attribute__((cleanup(own_fd_)))     // int, -1 when empty
#define own_file __attribute__((cleanup(own_file_)))   // FILE *
#define own_dir  __attribute__((cleanup(own_dir_)))    // DIR *

#define take(p) ({ __typeof__(p) taken_ = (p); (p) = NULL; taken_; })
#define take_fd(fd) ({ int taken_ = (fd); (fd) = -1; taken_; })

#endif
