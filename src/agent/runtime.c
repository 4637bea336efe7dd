// SPDX-License-Identifier: Apache-2.0
// crun; see runtime.h. Two things make it four to eight times faster under QEMU's software engine:
//   - crun protects its own program file from containers by re-executing itself from a sealed copy, each time. It
//     finds that done when it is started from a sealed memory file: one is made here, once.
//   - The engine keeps translated code by virtual address. With address randomisation every start of crun is
//     translated anew; so crun runs without. Each container's configuration asks for the personality "LINUX", which
//     turns randomisation on again before the container's own program is executed (oci.c).
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base/file.h"
#include "base/own.h"
#include "child.h"
#include "reaper.h"

struct job {
	struct agent *agent;
	unsigned number;
	bool wants_pid;
	runtime_done_fn *done;
	void *user;
};

int runtime_prepare(struct agent *a, struct err *e)
{
	static char path[32];
	own_fd int from = open(a->crun, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (from < 0 || fstat(from, &st))
		return err_sys(e, errno, "open %s", a->crun);
	own_fd int sealed = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (sealed < 0)
		return err_sys(e, errno, "make a memory file");
	for (off_t done = 0; done < st.st_size;) {
		ssize_t n = sendfile(sealed, from, NULL, (size_t)(st.st_size - done));
		if (n <= 0)
			return err_sys(e, n ? errno : EIO, "copy %s", a->crun);
		done += n;
	}
	if (fcntl(sealed, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		return err_sys(e, errno, "seal a memory file");
	unlink(a->crun);   // the initramfs is memory, and it has its copy
	personality(ADDR_NO_RANDOMIZE);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", take_fd(sealed));
	a->crun = path;
	return 0;
}

static void job_path(const struct job *j, const char *kind, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/jobs/%u.%s", j->agent->run_dir, j->number, kind);
}

/* The last line that crun logged. */
static void read_log(const char *path, struct err *e)
{
	own_buf struct buf log = BUF_INIT;
	if (file_read(path, 65536, &log, NULL) || !log.len) {
		err_set(e, EIO, "crun failed without a message");
		return;
	}
	while (log.len && log.data[log.len - 1] == '\n')
		log.data[--log.len] = '\0';
	const char *line = strrchr(log.data, '\n');
	line = line ? line + 1 : log.data;
	int code = EIO;
	if (strstr(line, "executable"))
		code = strstr(line, "No such file") || strstr(line, "not found") ? ENOENT : EACCES;
	err_set(e, code, "%s", line);
}

static int read_pid(const char *path, pid_t *pid, struct err *e)
{
	own_buf struct buf text = BUF_INIT;
	int rc = file_read(path, 64, &text, e);
	if (rc)
		return rc;
	long v = text.data ? strtol(text.data, NULL, 10) : 0;
	if (v <= 1 || v > INT_MAX)
		return err_set(e, EIO, "crun wrote no process number");
	*pid = (pid_t)v;
	return 0;
}

static void on_end(void *user, pid_t crun, int status)
{
	own_free struct job *j = user;
	char log[PATH_MAX], pid_file[PATH_MAX];
	struct err e = ERR_INIT;
	pid_t pid = 0;
	(void)crun;
	job_path(j, "log", log);
	job_path(j, "pid", pid_file);
	int rc = 0;
	if (WIFSIGNALED(status))
		rc = err_set(&e, EIO, "crun was killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		read_log(log, &e), rc = -e.code;
	else if (j->wants_pid)
		rc = read_pid(pid_file, &pid, &e);
	unlink(log);
	unlink(pid_file);
	j->done(j->user, rc, pid, &e);
	reaper_expected(j->agent->reaper);
}

int runtime_run(struct agent *a, const struct runtime_call *call, struct err *e)
{
	static unsigned next;
	char dir[PATH_MAX], log[PATH_MAX + 16], log_path[PATH_MAX], pid_file[PATH_MAX], root[PATH_MAX];
	own_free struct job *j = calloc(1, sizeof(*j));
	if (!j)
		return err_set(e, ENOMEM, "no memory");
	*j = (struct job){.agent = a, .number = ++next, .done = call->done, .user = call->user,
			  .wants_pid = !strcmp(call->args[0], "run") || !strcmp(call->args[0], "exec")};
	snprintf(dir, sizeof(dir), "%s/jobs", a->run_dir);
	snprintf(root, sizeof(root), "--root=%s/crun", a->run_dir);
	job_path(j, "log", log_path);
	job_path(j, "pid", pid_file);
	snprintf(log, sizeof(log), "--log=file:%s", log_path);
	int rc = dir_make(dir, 0700, e);
	if (rc)
		return rc;

	const char *argv[24] = {"crun", root, "--cgroup-manager=cgroupfs", log};
	size_t n = 4;
	argv[n++] = call->args[0];
	if (j->wants_pid) {
		argv[n++] = "--detach";
		argv[n++] = "--pid-file";
		argv[n++] = pid_file;
	}
	for (size_t i = 1; call->args[i]; i++)
		argv[n++] = call->args[i];
	reaper_expect(a->reaper);
	pid_t pid = child_spawn(a->crun, argv, call->stdio, e);
	if (pid < 0 || reaper_watch(a->reaper, pid, on_end, j)) {
		reaper_expected(a->reaper);
		return pid < 0 ? pid : err_set(e, ENOMEM, "no memory");
	}
	(void)take(j);
	return 0;
}

void runtime_explain(struct err *e, const char *argv0, const char *context)
{
	char crun[ERR_TEXT_MAX];
	snprintf(crun, sizeof(crun), "%s", e->text);
	if (e->code == ENOENT && !strchr(argv0, '/'))
		err_set(e, ENOENT, "%s: exec: \"%s\": executable file not found in $PATH", context, argv0);
	else if (e->code == ENOENT)
		err_set(e, ENOENT, "%s: exec: \"%s\": stat %s: no such file or directory", context, argv0, argv0);
	else if (e->code == EACCES)
		err_set(e, EACCES, "%s: exec: \"%s\": permission denied", context, argv0);
	else
		err_set(e, e->code, "%s: %s", context, crun);
}
