// SPDX-License-Identifier: Apache-2.0
// Bundles; see bundle.h. The root is an overlay: the image's disk, mounted once for all containers that use it, below,
// and the container's own folder on the scratch disk above.
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "container.h"
#include "control.h"
#include "devices.h"
#include "machine.h"
#include "oci.h"
#include "pod.h"
#include "rootfs.h"
#include "user.h"
#include "volume.h"

#define MOUNTS_MAX 256
#define POD_MOUNTS 5        // resolv.conf, hosts, hostname, termination message, /dev/shm

/* Everything a plan points to. */
struct parts {
	struct oci_plan plan;
	struct user user;
	char rootfs[PATH_MAX], pid_namespace[64], cgroup[128];
	struct oci_mount mounts[MOUNTS_MAX + POD_MOUNTS];
	struct oci_device devices[MOUNTS_MAX];
	char *strings[2 * MOUNTS_MAX + POD_MOUNTS];
	size_t strings_count;
};

static void parts_free(struct parts **p)
{
	for (size_t i = 0; *p && i < (*p)->strings_count; i++)
		free((*p)->strings[i]);
	free(*p);
}

static const char *keep(struct parts *p, const char *text)
{
	char *copy = strdup(text);
	if (copy)
		p->strings[p->strings_count++] = copy;
	return copy;
}

static int check_destination(const char *d, struct err *e)
{
	if (*d != '/' || strlen(d) >= PATH_MAX || !d[strspn(d, "/")])
		return err_set(e, EINVAL, "mount destination '%s' must be an absolute path other than '/'", d);
	for (const char *p = d; *p; p += strspn(p, "/")) {
		size_t len = strcspn(p, "/");
		if (len == 2 && !memcmp(p, "..", 2))
			return err_set(e, EINVAL, "mount destination '%s' must not contain '..'", d);
		p += len;
	}
	return 0;
}

/* A sub path is resolved now, and what was found is bound to a place that no container can change. */
static int bind_sub_path(struct container *c, const struct volume_place *v, const char *sub_path, char out[PATH_MAX],
			 struct err *e)
{
	own_fd int fd = rootfs_open_beneath(v->path, sub_path, e);
	struct stat st;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return err_sys(e, errno, "look at subPath '%s'", sub_path);
	if (snprintf(out, PATH_MAX, "%s/m/%u", c->dir, c->binds) >= PATH_MAX)
		return err_set(e, ENAMETOOLONG, "path is too long");
	if (S_ISDIR(st.st_mode) ? mkdir(out, 0755) : mknod(out, S_IFREG | 0644, 0))
		return err_sys(e, errno, "make %s", out);
	int rc = c->agent->machine->bind(fd, out, e);
	if (!rc)
		c->binds++;
	return rc;
}

static int add_mount(struct container *c, struct parts *p, const Bulkhead__Agent__Mount *m, uint32_t fs_group,
		     struct err *e)
{
	struct volume_place v;
	char sub[PATH_MAX];
	const char *source = v.path;
	int rc = check_destination(m->destination, e);
	if (!rc && *m->propagation && strcmp(m->propagation, "rslave") && strcmp(m->propagation, "rshared"))
		rc = err_set(e, EINVAL, "mount propagation '%s' is unknown", m->propagation);
	if (!rc)
		rc = volume_prepare(c->agent, m, fs_group, &v, e);
	if (rc)
		return rc;
	if (v.block) {
		p->devices[p->plan.devices_count++] = (struct oci_device){.path = m->destination, .major = v.major,
									  .minor = v.minor, .read_only = m->read_only};
		return 0;
	}
	if (*m->propagation)
		rc = c->agent->machine->share_mounts(v.path, e);
	if (!rc && *m->sub_path) {
		rc = bind_sub_path(c, &v, m->sub_path, sub, e);
		source = sub;
	}
	if (rc)
		return rc;
	source = keep(p, source);
	if (!source)
		return err_set(e, ENOMEM, "no memory");
	p->mounts[p->plan.mounts_count++] = (struct oci_mount){.source = source, .destination = m->destination,
							       .propagation = m->propagation, .read_only = m->read_only};
	return 0;
}

static int add_file(struct parts *p, const char *dir, const char *name, const char *destination, bool read_only,
		    struct err *e)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	const char *source = keep(p, path);
	if (!source)
		return err_set(e, ENOMEM, "no memory");
	for (size_t i = 0; i < p->plan.mounts_count; i++)
		if (!strcmp(p->mounts[i].destination, destination))
			return 0;   // the pod mounts something of its own there
	p->mounts[p->plan.mounts_count++] = (struct oci_mount){.source = source, .destination = destination,
							       .propagation = "", .read_only = read_only};
	return 0;
}

static int add_pod_files(struct container *c, struct parts *p, const Bulkhead__Agent__CreateContainer *rq, struct err *e)
{
	char pod[PATH_MAX], log[PATH_MAX];
	const char *message = *rq->termination_message_path ? rq->termination_message_path : "/dev/termination-log";
	snprintf(pod, sizeof(pod), "%s/pod", c->agent->run_dir);
	snprintf(log, sizeof(log), "%s/" BUNDLE_TERMINATION_LOG, c->dir);
	own_fd int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || fchmod(fd, 0666))
		return err_sys(e, errno, "make %s", log);
	int rc = check_destination(message, e);
	if (!rc)
		rc = add_file(p, pod, POD_FILE_RESOLV_CONF, "/etc/resolv.conf", false, e);
	if (!rc)
		rc = add_file(p, pod, POD_FILE_HOSTS, "/etc/hosts", false, e);
	if (!rc)
		rc = add_file(p, pod, POD_FILE_HOSTNAME, "/etc/hostname", false, e);
	if (!rc)
		rc = add_file(p, c->dir, BUNDLE_TERMINATION_LOG, message, false, e);
	if (!rc)   // containers of a pod share memory segments, as they share all of IPC
		rc = add_file(p, "/dev", "shm", "/dev/shm", false, e);
	return rc;
}

static int find_user(const struct parts *p, const Bulkhead__Agent__CreateContainer *rq, json_t *config, struct user *u,
		     struct err *e)
{
	if (*rq->user) {
		int rc = user_find(p->rootfs, rq->user, !rq->strict_groups, u, e);
		if (rc)
			return rc;
	} else {
		u->uid = (uint32_t)jpath_int(config, "process.user.uid", 0);
		u->gid = (uint32_t)jpath_int(config, "process.user.gid", 0);
		size_t i;
		json_t *g;
		json_array_foreach(jpath_get(config, "process.user.additionalGids"), i, g)
			user_add_group(u, (uint32_t)json_integer_value(g));
	}
	/* With gid among the supplementary groups a process cannot gain by dropping it (as container engines do since
	 * CVE-2022-23471). */
	user_add_group(u, u->gid);
	for (size_t i = 0; i < rq->n_supplemental_groups; i++)
		user_add_group(u, rq->supplemental_groups[i]);
	if (rq->fs_group)
		user_add_group(u, rq->fs_group);
	if (rq->run_as_non_root && u->uid == 0)
		return err_set(e, EKEYREJECTED, "container has runAsNonRoot and image will run as root");
	return 0;
}

/* Mount options separate by commas and layers by colons; our own paths have neither. */
static int mount_root(struct container *c, const Bulkhead__Agent__CreateContainer *rq, struct parts *p, struct err *e)
{
	struct agent *a = c->agent;
	char image[PATH_MAX];
	own_buf struct buf options = BUF_INIT, upper = BUF_INIT, work = BUF_INIT;
	snprintf(p->rootfs, PATH_MAX, "%s/rootfs", c->dir);
	if (buf_printf(&upper, "%s/upper", c->scratch) || buf_printf(&work, "%s/work", c->scratch))
		return err_set(e, ENOMEM, "no memory");
	int rc = volume_mount_disk(a, rq->image_serial, "erofs", true, image, e);
	if (!rc)
		rc = dir_make(p->rootfs, 0755, e);
	if (!rc)
		rc = dir_make(c->scratch, 0700, e);
	if (rc)
		return rc;
	rc = a->machine->limit_space(c->scratch, rq->writable_bytes, &c->project, e);
	if (rc == -ENOTSUP && rq->writable_bytes)
		control_warn(a->control, "container %s: its writable layer has no limit: %s", c->id, e->text);
	if (rc && rc != -ENOTSUP)
		return rc;
	rc = dir_make(upper.data, 0755, e);
	if (!rc)
		rc = dir_make(work.data, 0700, e);
	/* volatile: what a container writes to its own layer ends with it, so fsync there need not reach the disk. */
	if (!rc && buf_printf(&options, "lowerdir=%s,upperdir=%s,workdir=%s,volatile", image, upper.data, work.data))
		rc = err_set(e, ENOMEM, "no memory");
	return rc ? rc : a->machine->mount("overlay", p->rootfs, "overlay", 0, options.data, e);
}

static int write_config(struct container *c, struct err *e)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/config.json", c->dir);
	own_free char *text = json_dumps(c->config, JSON_COMPACT);
	own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = !text ? -ENOMEM : fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	return rc ? err_sys(e, -rc, "write %s", path) : 0;
}

int bundle_make(struct container *c, const Bulkhead__Agent__CreateContainer *rq, struct err *e)
{
	__attribute__((cleanup(parts_free))) struct parts *p = calloc(1, sizeof(*p));
	char binds[PATH_MAX];
	if (!p)
		return err_set(e, ENOMEM, "no memory");
	if (rq->n_mounts > MOUNTS_MAX)
		return err_set(e, EINVAL, "a container may have %d mounts, not %zu", MOUNTS_MAX, rq->n_mounts);
	c->config = oci_parse(rq->oci_config, e);
	if (!c->config)
		return -e->code;
	snprintf(binds, sizeof(binds), "%s/m", c->dir);
	int rc = dir_make(binds, 0700, e);
	if (!rc)
		rc = mount_root(c, rq, p, e);
	if (!rc)
		rc = find_user(p, rq, c->config, &p->user, e);
	p->plan = (struct oci_plan){.rootfs = p->rootfs, .cgroup = p->cgroup, .user = &p->user, .terminal = rq->tty,
				    .shared_pids = pod_pause_pid(c->agent->pod) != 0, .pid_namespace = p->pid_namespace,
				    .mounts = p->mounts, .devices = p->devices};
	pid_t pause = pod_pause_pid(c->agent->pod);
	if (*rq->process_namespace_of && !pause) {
		struct container *target = container_find(c->agent, rq->process_namespace_of, e);
		if (!target)
			return -e->code;
		if (target->state != BULKHEAD__AGENT__CONTAINER_STATE__RUNNING)
			return err_set(e, ESRCH, "container '%s', whose processes this one shall see, does not run", target->id);
		pause = target->pid;
		p->plan.shared_pids = true;
	}
	snprintf(p->cgroup, sizeof(p->cgroup), "/pod/%s", c->id);
	snprintf(p->pid_namespace, sizeof(p->pid_namespace), "/proc/%d/ns/pid", (int)pause);
	for (size_t i = 0; !rc && i < rq->n_mounts; i++)
		rc = add_mount(c, p, rq->mounts[i], rq->fs_group, e);
	if (!rc)
		rc = add_pod_files(c, p, rq, e);
	if (!rc)
		rc = oci_complete(c->config, &p->plan, e);
	if (!rc && devices_wanted(c->config))
		rc = devices_add_all(c->config, "/dev", e);
	return rc ? rc : write_config(c, e);
}

int bundle_remove(struct container *c, struct err *e)
{
	char path[PATH_MAX + 32];
	snprintf(path, sizeof(path), "%s/rootfs", c->dir);
	int rc = c->agent->machine->unmount(path);
	for (unsigned i = 0; i < c->binds; i++) {
		snprintf(path, sizeof(path), "%s/m/%u", c->dir, i);
		int one = c->agent->machine->unmount(path);
		rc = one ? one : rc;
	}
	if (rc)
		return err_sys(e, -rc, "unmount the root of container %s", c->id);
	rc = dir_remove(c->dir, e);
	int scratch = dir_remove(c->scratch, rc ? NULL : e);
	return rc ? rc : scratch;
}
