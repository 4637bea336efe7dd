// SPDX-License-Identifier: Apache-2.0
// The query parameters of the kubelet API, as the kubelet and the API server name them.
#ifndef BH_HOSTD_STREAMING_PARAMS_H
#define BH_HOSTD_STREAMING_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cri_log.h"

#define PARAMS_PORTS_MAX 128         // channel numbers are one byte, two to a port
#define PARAMS_COMMAND_MAX 4096      // words

struct streaming_params {
	char **command;              // words, NULL-terminated once there is one
	size_t command_count;
	bool in, out, err, tty;
	char *run;                   // cmd= of /run
	struct cri_log_query log;
	bool previous;
	uint16_t ports[PARAMS_PORTS_MAX];
	size_t ports_count;
};

void streaming_params_init(struct streaming_params *p);
void streaming_params_fini(struct streaming_params *p);

/* Take in one parameter; names that mean nothing here are passed over. Returns 0, or -EINVAL with a sentence, -ENOMEM. */
int streaming_params_add(struct streaming_params *p, const char *name, const char *value, struct err *e);

/* What must hold of several together. -EINVAL with the kubelet's sentence. */
int streaming_params_check_exec(struct streaming_params *p, struct err *e);
int streaming_params_check_log(const struct streaming_params *p, struct err *e);

#endif
