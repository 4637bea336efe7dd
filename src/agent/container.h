// SPDX-License-Identifier: Apache-2.0
// The pod's containers: made, started, signalled, ended, removed.
//
//   CREATED  root, mounts and configuration are ready (bundle.c); no process
//   RUNNING  crun has started the process
//   EXITED   the process has ended, or could not be started (exit code 128, as container engines report it)
#ifndef BH_AGENT_CONTAINER_H
#define BH_AGENT_CONTAINER_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"

struct agent;
struct container_io;
struct exec;

#define CONTAINER_ID_MAX 64
#define CONTAINER_DIR_MAX 256
#define TERMINATION_MESSAGE_MAX 4096

struct container {
	struct agent *agent;
	struct container *next;
	char id[CONTAINER_ID_MAX + 1];
	char *name;
	Bulkhead__Agent__ContainerState state;
	bool tty, stdin_open, stdin_once;
	json_t *config;              // completed
	char dir[CONTAINER_DIR_MAX]; // RUN/c/ID: config.json, rootfs, m/N, termination-log
	char scratch[CONTAINER_DIR_MAX];   // SCRATCH/c/ID: upper, work
	char cgroup[CONTAINER_DIR_MAX];    // folder
	uint32_t project;            // quota number of scratch; 0: none
	unsigned binds;              // m/0 .. m/binds-1 are mounted

	struct call *starting;       // StartContainer in progress
	struct call *removing;
	pid_t pid;
	uint64_t started_real_ns, finished_real_ns;
	int exit_code, signal;
	bool oom_killed;
	char *termination_message;
	struct container_io *io;
	struct exec *execs;
};

struct containers;
struct containers *containers_new(struct agent *a);   // NULL: no memory
void containers_free(struct containers *cs);          // NULL allowed; processes are not touched

struct container *container_find(struct agent *a, const char *id, struct err *e);   // NULL: -ENOENT in e
struct container *container_next(struct agent *a, const struct container *after);   // NULL: first

control_fn container_create, container_start, container_signal, container_remove, container_list, container_update;

#endif
