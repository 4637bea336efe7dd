// SPDX-License-Identifier: Apache-2.0
// `bulkhead disk`: hands over to the disk library's own command.
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "disk/cmd.h"

int cmd_disk(struct cli *c)
{
	char **argv = calloc((size_t)c->argc + 2, sizeof(*argv));
	if (!argv)
		return 1;
	argv[0] = "bulkhead disk";
	memcpy(argv + 1, c->argv, (size_t)c->argc * sizeof(*argv));
	int rc = disk_command(c->argc + 1, argv);
	free(argv);
	return rc;
}
