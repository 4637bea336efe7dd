// SPDX-License-Identifier: Apache-2.0
// What the subcommands share: options, output, progress.
#ifndef BH_DISK_CMD_INTERNAL_H
#define BH_DISK_CMD_INTERNAL_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CMD_ARGS_MAX 8
#define CMD_OPTIONS_MAX 64

struct cmd_option {
	const char *name;       // "--size"
	const char *value;      // its name in the help; NULL: takes none
	const char *help;
};

struct cmd_args {
	int n;
	const char *arg[CMD_ARGS_MAX];
	int nopts;
	struct { const struct cmd_option *o; const char *value; } opt[CMD_OPTIONS_MAX];
	bool json;
	int exit_code;          // what the command answers besides failing (check: 3 faults found)
};

struct cmd {
	const char *name, *args, *summary;
	int min_args, max_args;
	const struct cmd_option *options;   // ends with name NULL; may be NULL
	int (*run)(struct cmd_args *a, struct err *e);   // 0 or -errno, text in e
};

const char *cmd_opt(const struct cmd_args *a, const char *name);            // last value; NULL: not given
bool cmd_flag(const struct cmd_args *a, const char *name);
int cmd_size(const struct cmd_args *a, const char *name, uint64_t fallback, uint64_t *v, struct err *e);

/* "TYPE[:KEY=VALUE[,KEY=VALUE...]]" -> {"type":..., "name":..., "settings":{...}}; "name" is taken out of the settings. */
json_t *cmd_filter_parse(const char *text, struct err *e);
json_t *cmd_filters(const struct cmd_args *a, struct err *e);               // of all --filter; NULL: error

void cmd_print_json(json_t *j);                                             // steals j

struct cmd_progress { const char *what; uint64_t total, shown_ns; bool tty, json; };
void cmd_progress_start(struct cmd_progress *p, const struct cmd_args *a, const char *what, uint64_t total);
void cmd_progress_at(void *p, uint64_t done);
void cmd_progress_end(struct cmd_progress *p);

extern const struct cmd cmd_check, cmd_clone, cmd_commit, cmd_create, cmd_diff, cmd_export, cmd_filter, cmd_flatten, cmd_import, cmd_info,
	cmd_map, cmd_rebase, cmd_remove, cmd_resize, cmd_serve, cmd_stats;

#endif
