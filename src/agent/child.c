// SPDX-License-Identifier: Apache-2.0
// posix_spawn; see child.h. It shares the parent's memory until exec, so its cost does not grow with the agent.
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

static int set_stdio(posix_spawn_file_actions_t *fa, const int stdio[3])
{
	int rc = 0;
	for (int i = 0; !rc && i < 3; i++)
		rc = stdio[i] >= 0 ? posix_spawn_file_actions_adddup2(fa, stdio[i], i)
				   : posix_spawn_file_actions_addopen(fa, i, "/dev/null", i ? O_WRONLY : O_RDONLY, 0);
	return rc;
}

pid_t child_spawn(const char *program, const char *const argv[], const int stdio[3], struct err *e)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	pid_t pid = -1;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	int rc = set_stdio(&fa, stdio);
	if (!rc)
		rc = posix_spawnp(&pid, program, &fa, &attr, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return rc ? err_sys(e, rc, "run %s", argv[0]) : pid;
}
