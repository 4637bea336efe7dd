// SPDX-License-Identifier: Apache-2.0
// bulkhead-disk: the disk commands as a program of their own.
#include "base/log.h"
#include "disk/cmd.h"

int main(int argc, char **argv)
{
	log_init("bulkhead-disk");
	return disk_command(argc, argv);
}
