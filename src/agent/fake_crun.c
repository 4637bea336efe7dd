// SPDX-License-Identifier: Apache-2.0
// Stands for crun in tests on any machine: runs the process of a configuration as an ordinary child, without isolation,
// and reports as crun 1.8 does (log file, pid file, console socket, exit code).
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base/usock.h"

static const char *root, *log_path, *pid_file, *bundle, *process_file, *console, *id;

static int fail(const char *text)
{
	own_file FILE *f = log_path ? fopen(log_path, "we") : NULL;
	fprintf(f ? f : stderr, "%s\n", text);
	return 1;
}

static json_t *load_process(void)
{
	char path[4096];
	if (process_file)
		return json_load_file(process_file, 0, NULL);
	snprintf(path, sizeof(path), "%s/config.json", bundle);
	json_t *config = json_load_file(path, 0, NULL);
	json_t *process = json_incref(json_object_get(config, "process"));
	json_decref(config);
	return process;
}

static void take_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) || unlockpt(master))
		_exit(1);
	setsid();
	int slave = open(ptsname(master), O_RDWR);
	for (int i = 0; i < 3; i++)
		dup2(slave, i);
	ioctl(0, TIOCSCTTY, 0);
	int sock = usock_connect(console, SOCK_STREAM, NULL);
	usock_send(sock, "t", 1, &master, 1);
}

static void become(const json_t *process)
{
	char *argv[64] = {NULL};
	size_t i;
	json_t *v;
	clearenv();
	json_array_foreach(json_object_get(process, "env"), i, v)
		putenv(strdup(json_string_value(v)));
	json_array_foreach(json_object_get(process, "args"), i, v)
		argv[i] = (char *)json_string_value(v);
	execvp(argv[0], argv);
}

/* ROOT/ID lists the process groups of a container. */
static FILE *open_groups(const char *mode)
{
	char path[4096];
	dir_make(root, 0700, NULL);
	snprintf(path, sizeof(path), "%s/%s", root, id);
	return fopen(path, mode);
}

static int delete(void)
{
	own_file FILE *f = open_groups("re");
	int pid;
	while (f && fscanf(f, "%d", &pid) == 1)
		kill(-pid, SIGKILL);
	return 0;
}

static int run(void)
{
	own_json json_t *process = load_process();
	int p[2], error = 0;
	char number[32];
	if (!process || pipe2(p, O_CLOEXEC))
		return fail("cannot read the configuration");
	pid_t pid = fork();
	if (!pid) {
		if (console)
			take_terminal();
		else
			setsid();
		become(process);
		error = errno;
		fd_write_all(p[1], &error, sizeof(error));
		_exit(1);
	}
	close(p[1]);
	if (read(p[0], &error, sizeof(error)) == sizeof(error))
		return fail(error == ENOENT ? "executable file `x` not found in $PATH: No such file or directory"
					    : "open executable: Permission denied");
	snprintf(number, sizeof(number), "%d", (int)pid);
	own_file FILE *groups = open_groups("ae");
	if (groups)
		fprintf(groups, "%s\n", number);
	return file_write_atomic(pid_file, number, strlen(number), 0600, NULL) ? fail("pid file") : 0;
}

int main(int argc, char **argv)
{
	const char *what = "";
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--root=", 7))
			root = argv[i] + 7;
		else if (!strncmp(argv[i], "--log=file:", 11))
			log_path = argv[i] + 11;
		else if (!strcmp(argv[i], "--pid-file"))
			pid_file = argv[++i];
		else if (!strcmp(argv[i], "--bundle"))
			bundle = argv[++i];
		else if (!strcmp(argv[i], "--process"))
			process_file = argv[++i];
		else if (!strcmp(argv[i], "--console-socket"))
			console = argv[++i];
		else if (*argv[i] != '-' && !*what)
			what = argv[i];
		else if (*argv[i] != '-')
			id = argv[i];
	}
	if (!root || !id)
		return fail("no --root or no container");
	if (!strcmp(what, "run") || !strcmp(what, "exec"))
		return run();
	return !strcmp(what, "delete") ? delete() : 0;   // update: nothing to do
}
