// SPDX-License-Identifier: Apache-2.0
// The pod; see pod.h. ConfigurePod may be repeated with the same uid: a restarted hostd does, and the files, the clock
// and the generator are brought up to date. A different uid is refused: a VM serves one pod in its life.
#include "pod.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base/file.h"
#include "base/own.h"
#include "machine.h"
#include "quota.h"
#include "template.h"

#define ENTROPY_MIN 32
#define ENTROPY_MAX 4096
#define NAME_MAX_HOST 64
#define FILE_MAX_BYTES (1u << 20)

struct pod {
	char *uid;               // NULL: not configured
	bool share_processes;
	pid_t pause_pid;
	char **addresses;
	size_t addresses_count;
};

struct pod *pod_new(void) { return calloc(1, sizeof(struct pod)); }

static void free_addresses(struct pod *p)
{
	for (size_t i = 0; i < p->addresses_count; i++)
		free(p->addresses[i]);
	free(p->addresses);
	p->addresses = NULL;
	p->addresses_count = 0;
}

void pod_free(struct pod *p)
{
	if (!p)
		return;
	if (p->pause_pid)
		kill(p->pause_pid, SIGKILL);
	free_addresses(p);
	free(p->uid);
	free(p);
}

const char *pod_uid(const struct pod *p) { return p->uid; }
bool pod_shares_processes(const struct pod *p) { return p->share_processes; }
pid_t pod_pause_pid(const struct pod *p) { return p->pause_pid; }

size_t pod_addresses(const struct pod *p, const char *const **addresses)
{
	*addresses = (const char *const *)p->addresses;
	return p->addresses_count;
}

static bool is_host_name(const char *s)
{
	if (!*s || strlen(s) > NAME_MAX_HOST)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '.')
			return false;
	return true;
}

/* "net.core.somaxconn" or "net/ipv4/conf/eth0.1/forwarding": as sysctl(8), the first separator decides. */
static int sysctl_path(const char *name, char path[256], struct err *e)
{
	size_t len = strlen(name);
	bool dots = strcspn(name, ".") < strcspn(name, "/");
	if (!len || len > 255 || *name == '/' || *name == '.' || strstr(name, "..") || strstr(name, "//"))
		return err_set(e, EINVAL, "'%s' is not a sysctl name", name);
	for (size_t i = 0; i <= len; i++) {
		if (name[i] && !isalnum((unsigned char)name[i]) && !strchr("._-/*", name[i]))
			return err_set(e, EINVAL, "'%s' is not a sysctl name", name);
		path[i] = !dots ? name[i] : name[i] == '.' ? '/' : name[i] == '/' ? '.' : name[i];
	}
	return 0;
}

static int check(const struct pod *p, const Bulkhead__Agent__ConfigurePod *c, struct err *e)
{
	char path[256];
	if (!*c->pod_uid || strlen(c->pod_uid) > 64)
		return err_set(e, EINVAL, "pod_uid must have 1 to 64 characters");
	if (p->uid && strcmp(p->uid, c->pod_uid))
		return err_set(e, EBUSY, "this VM belongs to pod %s", p->uid);
	if (!is_host_name(c->hostname))
		return err_set(e, EINVAL, "'%s' is not a host name: 1 to 64 letters, digits, '-' and '.'", c->hostname);
	if (*c->domainname && !is_host_name(c->domainname))
		return err_set(e, EINVAL, "'%s' is not a domain name", c->domainname);
	if (c->entropy.len < ENTROPY_MIN || c->entropy.len > ENTROPY_MAX)
		return err_set(e, EINVAL, "entropy must have %d to %d bytes, not %zu", ENTROPY_MIN, ENTROPY_MAX,
			       c->entropy.len);
	if (strlen(c->resolv_conf) > FILE_MAX_BYTES || strlen(c->hosts) > FILE_MAX_BYTES)
		return err_set(e, EFBIG, "resolv_conf and hosts may have 1 MiB each");
	for (size_t i = 0; i < c->n_sysctls; i++) {
		int rc = sysctl_path(c->sysctls[i]->name, path, e);
		if (rc)
			return rc;
	}
	return 0;
}

/* In place, so that bind mounts of the file in running containers see it too. */
static int write_file(const struct agent *a, const char *name, const char *text, struct err *e)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/pod/%s", a->run_dir, name);
	own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int rc = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	return rc ? err_sys(e, -rc, "write %s", path) : 0;
}

static int refresh(struct agent *a, const Bulkhead__Agent__ConfigurePod *c, struct err *e)
{
	own_buf struct buf hostname = BUF_INIT;
	char dir[PATH_MAX];
	snprintf(dir, sizeof(dir), "%s/pod", a->run_dir);
	if (buf_printf(&hostname, "%s\n", c->hostname))
		return err_set(e, ENOMEM, "no memory");
	int rc = a->machine->add_entropy(c->entropy.data, c->entropy.len, e);   // before anything else: a clone has had its template's
	if (!rc)
		rc = dir_make(dir, 0755, e);
	if (!rc)
		rc = write_file(a, POD_FILE_RESOLV_CONF, c->resolv_conf, e);
	if (!rc)
		rc = write_file(a, POD_FILE_HOSTS, c->hosts, e);
	if (!rc)
		rc = write_file(a, POD_FILE_HOSTNAME, hostname.data, e);
	if (!rc && c->clock_real_ns)
		rc = a->machine->set_clock(c->clock_real_ns, e);
	return rc;
}

int pod_mount_scratch(struct agent *a, const char *serial, struct err *e)
{
	char device[MACHINE_DISK_PATH_MAX];
	if (a->scratch_mounted)
		return 0;
	if (!*serial)
		return a->machine->mount("scratch", a->scratch_dir, "tmpfs", MS_NODEV, "mode=0755", e);
	int rc = a->machine->find_disk(a->machine, serial, device, e);
	if (rc)
		return rc;
	bool quota = quota_on_device(device);
	if (quota)
		rc = a->machine->load_module("quota_v2", e);
	if (!rc)
		rc = a->machine->mount(device, a->scratch_dir, "ext4", MS_NOATIME | MS_NODEV, quota ? "discard,prjquota" : "discard", e);
	a->scratch_mounted = !rc;
	return rc;
}

/* The first process of the shared process namespace: it reaps what its containers leave, and does nothing else. */
static _Noreturn void pause_main(void)
{
	sigset_t all;
	int sig;
	prctl(PR_SET_NAME, "pause");
	close_range(3, ~0u, 0);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		sigwait(&all, &sig);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static int start_pause(struct pod *p, struct err *e)
{
	long pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		pause_main();
	if (pid < 0)
		return err_sys(e, errno, "make the pod's process namespace");
	p->pause_pid = (pid_t)pid;
	return 0;
}

static int remember_addresses(struct pod *p, const Bulkhead__Agent__ConfigurePod *c)
{
	size_t count = 0;
	for (size_t i = 0; i < c->n_interfaces; i++)
		count += c->interfaces[i]->n_addresses;
	free_addresses(p);
	p->addresses = calloc(count + 1, sizeof(*p->addresses));
	if (!p->addresses)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_interfaces; i++)
		for (size_t n = 0; n < c->interfaces[i]->n_addresses; n++) {
			char *text = strdup(c->interfaces[i]->addresses[n]->address);
			if (!text)
				return -ENOMEM;
			p->addresses[p->addresses_count++] = text;
		}
	return 0;
}

static int configure_once(struct agent *a, const Bulkhead__Agent__ConfigurePod *c, struct err *e)
{
	struct pod *p = a->pod;
	char path[256];
	int rc = a->machine->set_names(c->hostname, c->domainname, e);
	for (size_t i = 0; !rc && i < c->n_interfaces; i++)
		rc = a->machine->set_interface(c->interfaces[i], e);
	for (size_t i = 0; !rc && i < c->n_sysctls; i++) {
		sysctl_path(c->sysctls[i]->name, path, e);
		rc = a->machine->set_sysctl(path, c->sysctls[i]->value, e);
	}
	if (!rc)
		rc = pod_mount_scratch(a, c->scratch_serial, e);
	if (!rc && remember_addresses(p, c))
		rc = err_set(e, ENOMEM, "no memory");
	if (!rc && c->share_process_namespace)
		rc = start_pause(p, e);
	if (rc)
		return rc;
	p->share_processes = c->share_process_namespace;
	p->uid = strdup(c->pod_uid);
	return p->uid ? 0 : err_set(e, ENOMEM, "no memory");
}

void pod_configure(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__ConfigurePod *c = rq->configure_pod;
	struct err e = ERR_INIT;
	int rc = check(a->pod, c, &e);
	if (!rc)
		rc = refresh(a, c, &e);
	if (!rc && a->slots)
		template_plug(take(a->slots));
	if (!rc && !a->pod->uid)
		rc = configure_once(a, c, &e);
	call_end(call, rc, &e);
}
