// SPDX-License-Identifier: Apache-2.0
// The OCI runtime configuration; see oci.h (runtime-spec 1.0, config.md and config-linux.md).
#include "oci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "user.h"

static int no_memory(struct err *e) { return err_set(e, ENOMEM, "no memory"); }

static bool all_strings(const json_t *array)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
		if (!json_is_string(v))
			return false;
	return json_is_array(array);
}

static int check_process(const json_t *config, struct err *e)
{
	const json_t *process = json_object_get(config, "process");
	const json_t *args = json_object_get(process, "args"), *env = json_object_get(process, "env");
	const char *cwd = jpath_str(process, "cwd", "");
	if (!json_is_object(process))
		return err_set(e, EINVAL, "oci_config has no process");
	if (!all_strings(args) || !json_array_size(args))
		return err_set(e, EINVAL, "oci_config: process.args must be an array of strings, at least one");
	if (!*json_string_value(json_array_get(args, 0)))
		return err_set(e, EINVAL, "oci_config: process.args starts with an empty string");
	if (env && !all_strings(env))
		return err_set(e, EINVAL, "oci_config: process.env must be an array of strings");
	if (*cwd != '/')
		return err_set(e, EINVAL, "oci_config: process.cwd must be an absolute path, not '%s'", cwd);
	return 0;
}

static int check_sections(const json_t *config, struct err *e)
{
	static const struct { const char *path; json_type type; const char *word; } wanted[] = {
		{"mounts", JSON_ARRAY, "an array"}, {"linux", JSON_OBJECT, "an object"},
		{"root", JSON_OBJECT, "an object"}, {"linux.devices", JSON_ARRAY, "an array"},
		{"linux.resources", JSON_OBJECT, "an object"}, {"linux.resources.devices", JSON_ARRAY, "an array"},
		{"linux.resources.unified", JSON_OBJECT, "an object"}, {"process.user", JSON_OBJECT, "an object"},
	};
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		const json_t *v = jpath_get(config, wanted[i].path);
		if (v && json_typeof(v) != wanted[i].type)
			return err_set(e, EINVAL, "oci_config: %s must be %s", wanted[i].path, wanted[i].word);
	}
	return 0;
}

json_t *oci_parse(const char *text, struct err *e)
{
	json_error_t je;
	own_json json_t *config = json_loads(text, JSON_REJECT_DUPLICATES, &je);
	if (!config) {
		err_set(e, EINVAL, "oci_config is not JSON: line %d: %s", je.line, je.text);
		return NULL;
	}
	if (!json_is_object(config)) {
		err_set(e, EINVAL, "oci_config is not an object");
		return NULL;
	}
	if (check_process(config, e) || check_sections(config, e))
		return NULL;
	return take(config);
}

/* jpath_set that takes a failed allocation of its value, too. */
static int set(json_t *root, const char *path, json_t *value, struct err *e)
{
	if (!value)
		return no_memory(e);
	int rc = jpath_set(root, path, value);
	return rc ? err_set(e, -rc, "oci_config: cannot set %s", path) : 0;
}

static int set_user(json_t *config, const struct user *u, struct err *e)
{
	own_json json_t *groups = json_array();
	int rc = groups ? 0 : -ENOMEM;
	for (size_t i = 0; !rc && i < u->groups_count; i++)
		rc = json_array_append_new(groups, json_integer(u->groups[i]));
	if (rc)
		return no_memory(e);
	rc = set(config, "process.user.uid", json_integer(u->uid), e);
	if (!rc)
		rc = set(config, "process.user.gid", json_integer(u->gid), e);
	if (!rc)
		rc = set(config, "process.user.additionalGids", json_incref(groups), e);
	return rc;
}

/* Network, host name and IPC are the VM's own: its pod has them to itself. */
static int set_namespaces(json_t *config, const struct oci_plan *p, struct err *e)
{
	json_t *list = p->shared_pids ? json_pack("[{s:s,s:s},{s:s},{s:s}]", "type", "pid", "path", p->pid_namespace,
						  "type", "mount", "type", "cgroup")
				      : json_pack("[{s:s},{s:s},{s:s}]", "type", "pid", "type", "mount", "type", "cgroup");
	json_object_del(config, "hostname");
	json_object_del(config, "domainname");
	return set(config, "linux.namespaces", list, e);
}

static int remove_mount(json_t *mounts, const char *destination)
{
	for (size_t i = json_array_size(mounts); i-- > 0;)
		if (!strcmp(jpath_str(json_array_get(mounts, i), "destination", ""), destination))
			json_array_remove(mounts, i);
	return 0;
}

static size_t depth(const char *path)
{
	size_t n = 0;
	for (; *path; path++)
		n += path[0] == '/' && path[1] && path[1] != '/';
	return n;
}

static int add_mount(json_t *mounts, const struct oci_mount *m, struct err *e)
{
	json_t *options = json_pack("[s,s,s]", "rbind", m->read_only ? "ro" : "rw",
				    *m->propagation ? m->propagation : "rprivate");
	json_t *mount = json_pack("{s:s,s:s,s:s,s:o}", "destination", m->destination, "source", m->source, "type", "bind",
				  "options", options);
	if (!mount)   // json_pack has dropped options
		return err_set(e, EINVAL, "mount destination is not UTF-8");
	return json_array_append_new(mounts, mount) ? no_memory(e) : 0;
}

/* Without it the runtime cuts every mount off from the guest's before it looks at the mounts' own options. */
static int set_propagation(json_t *config, const struct oci_plan *p, struct err *e)
{
	const char *all = NULL;
	for (size_t i = 0; i < p->mounts_count; i++)
		if (*p->mounts[i].propagation && (!all || strcmp(all, "rshared")))
			all = p->mounts[i].propagation;
	return all ? set(config, "linux.rootfsPropagation", json_string(all), e) : 0;
}

/* Outer ones first, whatever their order in the request; an equal destination replaces what the configuration had. */
static int add_mounts(json_t *config, const struct oci_plan *p, struct err *e)
{
	json_t *mounts = json_object_get(config, "mounts");
	size_t done = 0;
	if (!mounts) {
		int rc = set(config, "mounts", json_array(), e);
		if (rc)
			return rc;
		mounts = json_object_get(config, "mounts");
	}
	for (size_t i = 0; i < p->mounts_count; i++)
		remove_mount(mounts, p->mounts[i].destination);
	for (size_t level = 0; done < p->mounts_count && level < 4096; level++)
		for (size_t i = 0; i < p->mounts_count; i++) {
			if (depth(p->mounts[i].destination) != level)
				continue;
			int rc = add_mount(mounts, &p->mounts[i], e);
			if (rc)
				return rc;
			done++;
		}
	return 0;
}

static int append_to(json_t *config, const char *path, json_t *value, struct err *e)
{
	json_t *array = jpath_get(config, path);
	if (!value || (!array && set(config, path, json_array(), e))) {
		json_decref(value);
		return no_memory(e);
	}
	return json_array_append_new(jpath_get(config, path), value) ? no_memory(e) : 0;
}

static int add_devices(json_t *config, const struct oci_plan *p, struct err *e)
{
	for (size_t i = 0; i < p->devices_count; i++) {
		const struct oci_device *d = &p->devices[i];
		int uid = (int)jpath_int(config, "process.user.uid", 0), gid = (int)jpath_int(config, "process.user.gid", 0);
		int rc = append_to(config, "linux.devices", json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i}", "path", d->path, "type",
				   "b", "major", (int)d->major, "minor", (int)d->minor, "fileMode",
				   d->read_only ? 0440 : 0660, "uid", uid, "gid", gid), e);
		if (!rc)
			rc = append_to(config, "linux.resources.devices", json_pack("{s:b,s:s,s:i,s:i,s:s}", "allow", 1, "type",
				       "b", "major", (int)d->major, "minor", (int)d->minor, "access",
				       d->read_only ? "r" : "rw"), e);
		if (rc)
			return rc;
	}
	return 0;
}

int oci_complete(json_t *config, const struct oci_plan *p, struct err *e)
{
	int rc = set(config, "root.path", json_string(p->rootfs), e);
	if (!rc)
		rc = set(config, "process.terminal", json_boolean(p->terminal), e);
	if (!rc)
		rc = set(config, "linux.cgroupsPath", json_string(p->cgroup), e);
	/* The runtime runs without address randomisation (runtime.c); this gives it back to the container. */
	if (!rc)
		rc = set(config, "linux.personality", json_pack("{s:s}", "domain", "LINUX"), e);
	/* The agent's own adjustment must not be inherited. */
	if (!rc && !jpath_get(config, "process.oomScoreAdj"))
		rc = set(config, "process.oomScoreAdj", json_integer(0), e);
	/* A container without memory is ended as a whole, as the kubelet wants it since 1.28. Its key has a dot. */
	if (!rc && !jpath_get(config, "linux.resources.unified"))
		rc = set(config, "linux.resources.unified", json_object(), e);
	json_t *unified = jpath_get(config, "linux.resources.unified");
	if (!rc && !json_object_get(unified, "memory.oom.group"))
		rc = json_object_set_new(unified, "memory.oom.group", json_string("1")) ? no_memory(e) : 0;
	if (!rc)
		rc = set_namespaces(config, p, e);
	if (!rc && p->user)
		rc = set_user(config, p->user, e);
	if (!rc)
		rc = add_mounts(config, p, e);
	if (!rc)
		rc = set_propagation(config, p, e);
	if (!rc)
		rc = add_devices(config, p, e);
	return rc;
}

/* NAME=VALUE into the environment, in place of an older value. */
static int put_env(json_t *environment, const char *entry)
{
	size_t name = strcspn(entry, "=") + 1;
	for (size_t i = json_array_size(environment); i-- > 0;)
		if (!strncmp(json_string_value(json_array_get(environment, i)), entry, name))
			json_array_remove(environment, i);
	return json_array_append_new(environment, json_string(entry));
}

static int set_term(json_t *environment)
{
	size_t i;
	json_t *v;
	json_array_foreach(environment, i, v)
		if (!strncmp(json_string_value(v), "TERM=", 5))
			return 0;
	return put_env(environment, "TERM=xterm");
}

json_t *oci_exec_process(const json_t *config, char *const *argv, size_t argc, char *const *env, size_t envc,
			 bool terminal, struct err *e)
{
	own_json json_t *process = json_deep_copy(json_object_get(config, "process"));
	json_t *args = json_array(), *environment = json_object_get(process, "env");
	if (process && !environment && !json_object_set_new(process, "env", json_array()))
		environment = json_object_get(process, "env");
	if (!process || !args || !environment || json_object_set_new(process, "args", args) ||
	    json_object_set_new(process, "terminal", json_boolean(terminal))) {
		no_memory(e);
		return NULL;
	}
	json_object_del(process, "consoleSize");
	for (size_t i = 0; i < argc; i++)
		if (json_array_append_new(args, json_string(argv[i]))) {
			err_set(e, EINVAL, "argument %zu of the command is not UTF-8", i);
			return NULL;
		}
	for (size_t i = 0; i < envc; i++)
		if (!strchr(env[i], '=') || put_env(environment, env[i])) {
			err_set(e, EINVAL, "environment entry %zu is not NAME=VALUE in UTF-8", i);
			return NULL;
		}
	if (terminal && set_term(environment)) {
		no_memory(e);
		return NULL;
	}
	return take(process);
}
