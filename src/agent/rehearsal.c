// SPDX-License-Identifier: Apache-2.0
// A container for nobody; see rehearsal.h. It is made of what pods' containers are made of: an overlay on the scratch disk, the same
// mounts, namespaces, capabilities and cgroup, run by the same crun.
#include "rehearsal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"
#include "child.h"
#include "machine.h"
#include "pod.h"

#define NAME "rehearsal"

#define CAPS(set) "\"" set "\":[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FSETID\",\"CAP_FOWNER\",\"CAP_MKNOD\",\"CAP_NET_RAW\",\"CAP_SETGID\"," \
	"\"CAP_SETUID\",\"CAP_SETFCAP\",\"CAP_SETPCAP\",\"CAP_NET_BIND_SERVICE\",\"CAP_SYS_CHROOT\",\"CAP_KILL\",\"CAP_AUDIT_WRITE\"]"
#define MOUNT(to, type, from, options) \
	"{\"destination\":\"" to "\",\"type\":\"" type "\",\"source\":\"" from "\",\"options\":[" options "]}"

static const char config[] =
	"{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0,\"additionalGids\":[0]},"
	"\"args\":[\"/init\",\"" REHEARSAL_WORD "\"],\"env\":[\"PATH=/usr/sbin:/usr/bin:/sbin:/bin\",\"HOSTNAME=" NAME "\"],\"cwd\":\"/\","
	"\"noNewPrivileges\":false,\"capabilities\":{" CAPS("bounding") "," CAPS("effective") "," CAPS("permitted") "}},"
	"\"root\":{\"path\":\"rootfs\",\"readonly\":false},\"mounts\":["
	MOUNT("/proc", "proc", "proc", "\"nosuid\",\"noexec\",\"nodev\"") ","
	MOUNT("/dev", "tmpfs", "tmpfs", "\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"") ","
	MOUNT("/dev/pts", "devpts", "devpts", "\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"") ","
	MOUNT("/dev/mqueue", "mqueue", "mqueue", "\"nosuid\",\"noexec\",\"nodev\"") ","
	MOUNT("/sys", "sysfs", "sysfs", "\"nosuid\",\"noexec\",\"nodev\",\"ro\"") ","
	MOUNT("/sys/fs/cgroup", "cgroup", "cgroup", "\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"") ","
	MOUNT("/dev/shm", "bind", "/dev/shm", "\"rbind\",\"rw\",\"rprivate\"") ","
	MOUNT("/init", "bind", "/init", "\"rbind\",\"ro\",\"rprivate\"") "],"
	"\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"cgroup\"},{\"type\":\"pid\"}],\"cgroupsPath\":\"/" NAME "\","
	"\"resources\":{\"cpu\":{\"shares\":2},\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},\"personality\":{\"domain\":\"LINUX\"},"
	"\"maskedPaths\":[\"/proc/asound\",\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\",\"/proc/timer_list\",\"/sys/firmware\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]}}";

struct places { char bundle[256], scratch[256], root[280], config[280], log[280], pid[280]; };

static void places_of(const struct agent *a, struct places *p)
{
	snprintf(p->bundle, sizeof(p->bundle), "%s/" NAME, a->run_dir);
	snprintf(p->scratch, sizeof(p->scratch), "%s/" NAME, a->scratch_dir);
	snprintf(p->root, sizeof(p->root), "%s/rootfs", p->bundle);
	snprintf(p->config, sizeof(p->config), "%s/config.json", p->bundle);
	snprintf(p->log, sizeof(p->log), "--log=file:%s/log", p->bundle);
	snprintf(p->pid, sizeof(p->pid), "%s/pid", p->bundle);
}

static int make_bundle(const struct agent *a, const struct places *p, struct err *e)
{
	char lower[300], upper[300], work[300], options[1024];
	uint32_t project;
	snprintf(lower, sizeof(lower), "%s/lower", p->bundle);
	snprintf(upper, sizeof(upper), "%s/upper", p->scratch);
	snprintf(work, sizeof(work), "%s/work", p->scratch);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s,volatile", lower, upper, work);
	int rc = dir_make(p->root, 0755, e);
	if (!rc)
		rc = dir_make(lower, 0755, e);
	if (!rc)
		rc = dir_make(p->scratch, 0700, e);
	if (!rc && (rc = a->machine->limit_space(p->scratch, 0, &project, e)) == -ENOTSUP)
		rc = 0;
	if (!rc)
		rc = dir_make(upper, 0755, e);
	if (!rc)
		rc = dir_make(work, 0700, e);
	if (!rc)
		rc = a->machine->mount("overlay", p->root, "overlay", 0, options, e);
	own_fd int fd = rc ? -1 : open(p->config, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (!rc && (fd < 0 || fd_write_all(fd, config, strlen(config))))
		rc = err_sys(e, errno, "write %s", p->config);
	return rc;
}

/* There is no reaper yet: whatever ends meanwhile is waited for here. */
static int run(const struct agent *a, const char *const argv[], const char *what, struct err *e)
{
	static const int nothing[3] = {-1, -1, -1};
	pid_t pid = child_spawn(a->crun, argv, nothing, e), one;
	int status = 0, ended;
	if (pid < 0)
		return pid;
	while ((one = waitpid(-1, &ended, 0)) > 0 || errno == EINTR)
		if (one == pid)
			status = ended;
	return status ? err_set(e, EIO, "the rehearsal of a container: %s ended with status %d", what, status) : 0;
}

int rehearse(struct agent *a, struct err *e)
{
	struct places p;
	char state[280];
	places_of(a, &p);
	snprintf(state, sizeof(state), "--root=%s/crun", a->run_dir);
	int rc = pod_mount_scratch(a, REHEARSAL_DISK, e);
	if (rc)
		return rc;
	rc = make_bundle(a, &p, e);
	const char *start[] = {"crun", state, "--cgroup-manager=cgroupfs", p.log, "run", "--detach", "--pid-file", p.pid, "--bundle", p.bundle, NAME, NULL};
	const char *end[] = {"crun", state, "--cgroup-manager=cgroupfs", p.log, "delete", "--force", NAME, NULL};
	if (!rc)
		rc = run(a, start, "crun run", e);
	if (!rc)
		rc = run(a, end, "crun delete", e);
	a->machine->unmount(p.root);
	dir_remove(p.bundle, NULL);
	dir_remove(p.scratch, NULL);
	return rc;
}
