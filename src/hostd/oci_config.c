// SPDX-License-Identifier: Apache-2.0
// The OCI runtime configuration of a container, from the pod's spec and the image's configuration. The agent adds what
// only the guest knows: root, user look-up, the pod's files and volumes, cgroup path (agent.proto, CreateContainer).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "env_expand.h"
#include "k8s/quantity.h"
#include "oci_seccomp.h"
#include "pod.h"

static const char *const default_caps[] = {"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
	"SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE", NULL};
static const char *const all_caps[] = {"AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE",
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
	"LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW",
	"PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE",
	"SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM", NULL};

static bool listed(const json_t *list, const char *name)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)list, i, v) {
		const char *s = json_string_value(v);
		if (s && !strncmp(s, "CAP_", 4))
			s += 4;
		if (s && !strcmp(s, name))
			return true;
	}
	return false;
}

static json_t *capabilities(const json_t *sc, bool privileged)
{
	const json_t *add = jpath_get(sc, "capabilities.add"), *drop = jpath_get(sc, "capabilities.drop");
	json_t *set = json_array();
	for (const char *const *cap = all_caps; *cap; cap++) {
		bool by_default = privileged;
		for (const char *const *d = default_caps; *d && !by_default; d++)
			by_default = !strcmp(*d, *cap);
		bool want = listed(add, *cap) || listed(add, "ALL") ||
			    (by_default && !listed(drop, "ALL"));
		if (listed(drop, *cap))
			want = false;
		char name[40];
		snprintf(name, sizeof(name), "CAP_%s", *cap);
		if (want)
			json_array_append_new(set, json_string(name));
	}
	json_t *caps = json_pack("{s:O, s:O, s:O}", "bounding", set, "effective", set, "permitted", set);
	json_decref(set);
	return caps;
}

static int append_words(json_t *args, const json_t *words, const json_t *env, bool expand)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)words, i, v) {
		own_free char *text = !json_is_string(v) ? NULL : expand ? env_expand(json_string_value(v), env) : strdup(json_string_value(v));
		if (!text || json_array_append_new(args, json_string(text)))
			return -ENOMEM;
	}
	return 0;
}

/* The image's entry point and arguments as the spec's command and args replace them. */
static int arguments(const struct container *c, const json_t *spec, const json_t *env, json_t **out, struct err *e)
{
	const json_t *command = json_object_get(spec, "command"), *args = json_object_get(spec, "args");
	const json_t *entry = jpath_get(c->image_config, "config.Entrypoint"), *cmd = jpath_get(c->image_config, "config.Cmd");
	own_json json_t *list = json_array();
	bool own_command = json_array_size(command) > 0;
	int rc = append_words(list, own_command ? command : entry, env, own_command);
	if (!rc && json_array_size(args))
		rc = append_words(list, args, env, true);
	else if (!rc && !own_command)
		rc = append_words(list, cmd, env, false);
	if (rc)
		return err_sys(e, -rc, "arguments of container %s", c->name);
	if (!json_array_size(list))
		return err_set(e, EINVAL, "failed to generate container \"%s\" spec: no command specified", c->name);
	*out = json_incref(list);
	return 0;
}

static json_t *mount(const char *destination, const char *type, const char *source, const char *options)
{
	json_t *list = json_array();
	while (*options) {
		size_t n = strcspn(options, ",");
		json_array_append_new(list, json_stringn(options, n));
		options += n + (options[n] == ',');
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", destination, "type", type, "source", source, "options", list);
}

static json_t *standard_mounts(bool privileged)
{
	const char *ro = privileged ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro";
	json_t *all = json_array();
	json_array_append_new(all, mount("/proc", "proc", "proc", "nosuid,noexec,nodev"));
	json_array_append_new(all, mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"));
	json_array_append_new(all, mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"));
	json_array_append_new(all, mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"));
	json_array_append_new(all, mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"));
	json_array_append_new(all, mount("/sys", "sysfs", "sysfs", ro));
	json_array_append_new(all, mount("/sys/fs/cgroup", "cgroup", "cgroup", privileged ? "nosuid,noexec,nodev,relatime,rw" :
					 "nosuid,noexec,nodev,relatime,ro"));
	return all;
}

static json_t *string_list(const char *const *items)
{
	json_t *list = json_array();
	for (; *items; items++)
		json_array_append_new(list, json_string(*items));
	return list;
}

/* Of the container; that of the pod as a whole limits one that has none. */
static const json_t *limit_of(const struct pod *p, const json_t *spec, const char *name)
{
	const json_t *own = json_object_get(jpath_get(spec, "resources.limits"), name);
	return own && k8s_quantity_milli(own, 0) > 0 ? own : json_object_get(jpath_get(p->seen, "spec.resources.limits"), name);
}

json_t *oci_resources(const struct pod *p, const json_t *spec)
{
	int64_t memory = k8s_quantity_value(limit_of(p, spec, "memory"), 0);
	int64_t cpu_limit = k8s_quantity_milli(limit_of(p, spec, "cpu"), 0);
	int64_t cpu_request = k8s_quantity_milli(jpath_get(spec, "resources.requests.cpu"), cpu_limit);
	int64_t shares = cpu_request * 1024 / 1000;
	json_t *cpu = json_pack("{s:I}", "shares", (json_int_t)(shares < 2 ? 2 : shares > 262144 ? 262144 : shares));
	if (cpu_limit > 0) {
		int64_t quota = cpu_limit * 100;   // of a period of 100 ms, in µs
		json_object_set_new(cpu, "quota", json_integer(quota < 1000 ? 1000 : quota));
		json_object_set_new(cpu, "period", json_integer(100000));
	}
	json_t *r = json_pack("{s:o}", "cpu", cpu);
	if (memory > 0)
		json_object_set_new(r, "memory", json_pack("{s:I}", "limit", (json_int_t)memory));
	return r;
}

static json_t *linux_section(const struct pod *p, const json_t *spec, bool privileged)
{
	static const char *const masked[] = {"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
		"/sys/devices/virtual/powercap", NULL};
	static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};
	json_t *ns = json_pack("[{s:s}, {s:s}]", "type", "mount", "type", "cgroup");
	if (!jpath_bool(p->seen, "spec.shareProcessNamespace", false))
		json_array_append_new(ns, json_pack("{s:s}", "type", "pid"));
	json_t *lx = json_pack("{s:o, s:o}", "namespaces", ns, "resources", oci_resources(p, spec));
	/* The VM's disks hold the other containers' files as well: nodes of them may be made, not opened. crun allows those that
	 * every container has (null, terminals...); the agent adds the pod's own block volumes. */
	jpath_set(lx, "resources.devices", json_pack("[{s:b, s:s}]", "allow", privileged, "access", "rwm"));
	if (!privileged && strcmp(jpath_str(spec, "securityContext.procMount", "Default"), "Unmasked")) {
		json_object_set_new(lx, "maskedPaths", string_list(masked));
		json_object_set_new(lx, "readonlyPaths", string_list(read_only));
	}
	return lx;
}

int oci_config(struct pod *p, const struct container *c, const json_t *spec, json_t **out, struct err *e)
{
	own_json json_t *own = NULL, *env = NULL, *args = NULL;
	const json_t *sc = json_object_get(spec, "securityContext");
	bool privileged = jpath_bool(sc, "privileged", false);
	int rc = pod_env(p, spec, &own, e);
	if (!rc)
		rc = pod_env_all(p, c, spec, own, &env, e);
	if (!rc)
		rc = arguments(c, spec, own, &args, e);
	if (rc)
		return rc;
	const char *cwd = jpath_str(spec, "workingDir", jpath_str(c->image_config, "config.WorkingDir", "/"));
	json_t *process = json_pack("{s:b, s:O, s:O, s:s, s:o, s:b, s:{s:i, s:i}}", "terminal", jpath_bool(spec, "tty", false), "args",
				    args, "env", env, "cwd", *cwd ? cwd : "/", "capabilities", capabilities(sc, privileged),
				    "noNewPrivileges", !jpath_bool(sc, "allowPrivilegeEscalation", true), "user", "uid", 0, "gid", 0);
	json_t *lx = linux_section(p, spec, privileged), *filter = NULL;
	const json_t *profile = json_object_get(sc, "seccompProfile");
	if (!profile)
		profile = jpath_get(p->seen, "spec.securityContext.seccompProfile");
	rc = privileged ? 0 : oci_seccomp(profile, p->host->root, jpath_get(process, "capabilities.bounding"), &filter, e);
	if (rc) {
		json_decref(process);
		json_decref(lx);
		return rc;
	}
	if (filter)
		json_object_set_new(lx, "seccomp", filter);
	*out = json_pack("{s:s, s:o, s:{s:s, s:b}, s:o, s:o}", "ociVersion", "1.0.2", "process", process, "root", "path", "rootfs",
			 "readonly", jpath_bool(sc, "readOnlyRootFilesystem", false), "mounts", standard_mounts(privileged),
			 "linux", lx);
	return *out ? 0 : err_sys(e, ENOMEM, "container %s", c->name);
}
