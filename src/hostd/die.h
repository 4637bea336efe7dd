// SPDX-License-Identifier: Apache-2.0
// SIGKILL at a chosen stage. Tests name one in the file that BULKHEAD_DIE_FILE names; the process that reaches the stage
// removes the file and kills itself, so that the next one goes on. It is in every build: what is tested is what runs, and
// without the variable, which only who starts the daemon can set, a stage costs one comparison.
#ifndef BH_HOSTD_DIE_H
#define BH_HOSTD_DIE_H

void die_at(const char *stage);

#endif
