// SPDX-License-Identifier: Apache-2.0
// Seccomp profiles; see oci_seccomp.h. RuntimeDefault refuses what a container has no business with unless it has the
// capability that the call is for: modules, mounts and namespaces, the clock, keys, tracing of the whole system. The kernel
// behind it is the pod's own, so this guards the containers of a pod from each other, not the host.
#include "oci_seccomp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"

#define PROFILE_MAX (1u << 20)
#define CLONE_NEW_FLAGS 0x7e020000   // all of CLONE_NEW*

static const struct { const char *cap; const char *const calls[24]; } closed[] = {
	{"", {"add_key", "get_kernel_syms", "keyctl", "kexec_file_load", "lookup_dcookie", "move_pages", "nfsservctl", "query_module",
	      "request_key", "uselib", "userfaultfd", "ustat", "vm86", "vm86old", "_sysctl", "create_module", "io_uring_setup",
	      "io_uring_enter", "io_uring_register", "sysfs", NULL}},
	{"CAP_SYS_ADMIN", {"bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
			   "open_tree", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setdomainname", "sethostname",
			   "setns", "swapon", "swapoff", "umount", "umount2", "unshare", NULL}},
	{"CAP_SYS_MODULE", {"delete_module", "finit_module", "init_module", NULL}},
	{"CAP_SYS_BOOT", {"reboot", "kexec_load", NULL}},
	{"CAP_SYS_TIME", {"adjtimex", "clock_adjtime", "clock_settime", "settimeofday", "stime", NULL}},
	{"CAP_SYS_RAWIO", {"ioperm", "iopl", NULL}},
	{"CAP_SYS_PACCT", {"acct", NULL}},
	{"CAP_DAC_READ_SEARCH", {"open_by_handle_at", NULL}},
	{"CAP_SYS_NICE", {"get_mempolicy", "mbind", "set_mempolicy", NULL}},
	{"CAP_SYS_TTY_CONFIG", {"vhangup", NULL}},
};

static bool has(const json_t *caps, const char *cap)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)caps, i, v)
		if (json_is_string(v) && !strcmp(json_string_value(v), cap))
			return true;
	return false;
}

static json_t *runtime_default(const json_t *caps)
{
	json_t *names = json_array(), *rules = json_array();
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		for (const char *const *call = closed[i].calls; *call && !has(caps, closed[i].cap); call++)
			json_array_append_new(names, json_string(*call));
	json_array_append_new(rules, json_pack("{s:o, s:s, s:i}", "names", names, "action", "SCMP_ACT_ERRNO", "errnoRet", EPERM));
	if (!has(caps, "CAP_SYS_ADMIN")) {
		/* New namespaces: by clone's flags; clone3 hides its flags from a filter, and callers know how to do without it. */
		for (int bit = 0; bit < 32; bit++)
			if (CLONE_NEW_FLAGS >> bit & 1)
				json_array_append_new(rules, json_pack("{s:[s], s:s, s:i, s:[{s:i, s:I, s:I, s:s}]}", "names", "clone", "action",
					"SCMP_ACT_ERRNO", "errnoRet", EPERM, "args", "index", 0, "value", (json_int_t)1 << bit, "valueTwo",
					(json_int_t)1 << bit, "op", "SCMP_CMP_MASKED_EQ"));
		json_array_append_new(rules, json_pack("{s:[s], s:s, s:i}", "names", "clone3", "action", "SCMP_ACT_ERRNO", "errnoRet", ENOSYS));
	}
	return json_pack("{s:s, s:[s, s, s], s:o}", "defaultAction", "SCMP_ACT_ALLOW", "architectures", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
			 "SCMP_ARCH_X32", "syscalls", rules);
}

/* A profile is a file of the node's administrator, in the runtime's own form. */
static int localhost(const char *root, const char *name, json_t **out, struct err *e)
{
	static const char *const keep[] = {"defaultAction", "defaultErrnoRet", "architectures", "flags", "syscalls"};
	char path[4096];
	own_buf struct buf text = BUF_INIT;
	json_error_t je;
	if (!*name || *name == '/' || strstr(name, ".."))
		return err_set(e, EINVAL, "localhostProfile '%s' is not a path below the node's folder of profiles", name);
	if (snprintf(path, sizeof(path), "%s/seccomp/%s", root, name) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "localhostProfile '%s' is too long", name);
	int rc = file_read(path, PROFILE_MAX, &text, e);
	if (rc)
		return rc == -ENOENT ? err_set(e, ENOENT, "cannot load seccomp profile \"%s\": there is no such file on the node", path) : rc;
	own_json json_t *file = json_loadb(text.data ? text.data : "", text.len, 0, &je);
	if (!file || !*jpath_str(file, "defaultAction", ""))
		return err_set(e, EINVAL, "seccomp profile \"%s\": %s", path, file ? "it has no defaultAction" : je.text);
	*out = json_object();
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		if (json_object_get(file, keep[i]))
			json_object_set(*out, keep[i], json_object_get(file, keep[i]));
	return 0;
}

int oci_seccomp(const json_t *profile, const char *root, const json_t *caps, json_t **out, struct err *e)
{
	const char *type = jpath_str(profile, "type", "Unconfined");
	*out = NULL;
	if (!strcmp(type, "RuntimeDefault"))
		*out = runtime_default(caps);
	else if (!strcmp(type, "Localhost"))
		return localhost(root, jpath_str(profile, "localhostProfile", ""), out, e);
	else if (strcmp(type, "Unconfined"))
		return err_set(e, EINVAL, "seccompProfile of type '%s' is unknown", type);
	return 0;
}
