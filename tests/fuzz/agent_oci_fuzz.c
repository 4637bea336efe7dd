// SPDX-License-Identifier: Apache-2.0
// Configurations and commands as they come from outside: whatever is accepted must be completed, or refused, in memory.
#include <stdlib.h>
#include <string.h>

#include "agent/oci.h"
#include "agent/user.h"
#include "base/jpath.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct oci_mount mounts[] = {{.source = "/s", .destination = "/a/b", .propagation = ""},
						  {.source = "/s", .destination = "/dev/shm", .propagation = "rslave"}};
	static const struct oci_device device = {.path = "/dev/x", .major = 1, .minor = 2};
	static const struct user user = {.uid = 1, .gid = 2, .groups = {2, 3}, .groups_count = 2};
	struct oci_plan plan = {.rootfs = "/r", .cgroup = "/pod/c", .user = &user, .mounts = mounts, .mounts_count = 2,
				.devices = &device, .devices_count = 1};
	struct err e;
	if (!size)
		return 0;
	char *text = strndup((const char *)data + 1, size - 1), *words[2] = {text, text};
	plan.shared_pids = data[0] & 1;
	plan.pid_namespace = "/proc/2/ns/pid";
	plan.terminal = data[0] & 2;
	json_t *config = oci_parse(text, &e);
	if (config && !oci_complete(config, &plan, &e)) {
		if (strcmp(jpath_str(config, "root.path", ""), "/r") || strcmp(jpath_str(config, "linux.cgroupsPath", ""), "/pod/c") ||
		    json_array_size(jpath_get(config, "linux.namespaces")) != 3)
			abort();
		json_decref(oci_exec_process(config, words, 2, words, data[0] & 4 ? 1 : 0, plan.terminal, &e));
	}
	json_decref(config);
	free(text);
	return 0;
}
