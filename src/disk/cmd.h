// SPDX-License-Identifier: Apache-2.0
// The command "bulkhead disk ...". argv[0] is the name it was called by. Returns the exit code: 0, 1 failed, 2 usage.
#ifndef BH_DISK_CMD_H
#define BH_DISK_CMD_H

int disk_command(int argc, char **argv);

#endif
