// SPDX-License-Identifier: Apache-2.0
// The privileged steps that the agent takes on its machine, behind one table: machine_guest does them in the VM,
// machine_folder plays them inside a folder, so that everything else is tested on any machine without root.
// All may block for the time the kernel needs. 0 or -errno with a sentence in e.
#ifndef BH_AGENT_MACHINE_H
#define BH_AGENT_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "agent.pb-c.h"
#include "base/err.h"

#define MACHINE_DISK_PATH_MAX 256

struct machine_ops {
	int (*set_names)(const char *hostname, const char *domainname, struct err *e);
	int (*set_clock)(uint64_t real_ns, struct err *e);
	int (*add_entropy)(const void *data, size_t len, struct err *e);
	int (*set_interface)(const Bulkhead__Agent__Interface *i, struct err *e);
	int (*set_sysctl)(const char *name, const char *value, struct err *e);

	/* Path of the block device (or what stands for it) with this virtio serial number. -ENODEV: none (yet). */
	int (*find_disk)(const struct machine_ops *m, const char *serial, char path[MACHINE_DISK_PATH_MAX], struct err *e);
	/* target: existing folder. options may be NULL; flags: MS_*. */
	int (*mount)(const char *source, const char *target, const char *type, unsigned long flags, const char *options,
		     struct err *e);
	/* Make what fd (O_PATH) refers to appear at target, which exists and is of the same kind. */
	int (*bind)(int fd, const char *target, struct err *e);
	/* What is mounted below dir from now on is seen wherever dir is bound with propagation. Repeatable. */
	int (*share_mounts)(const char *dir, struct err *e);
	int (*unmount)(const char *target);                    // absent is fine; detaches what is busy
	/* Count, and with bytes not 0 limit, what will be made in dir (empty). *project: its number, for used_space.
	 * -ENOTSUP: this file system cannot. */
	int (*limit_space)(const char *dir, uint64_t bytes, uint32_t *project, struct err *e);
	uint64_t (*used_space)(const char *dir, uint32_t project);   // 0 when unknown
	int (*load_module)(const char *name, struct err *e);   // and those it needs; loaded before is fine
	void (*power_off)(void);                               // does not return in the guest

	const char *dir;               // machine_folder: its folder
};

extern const struct machine_ops machine_guest;
struct machine_ops machine_folder(const char *dir);            // dir: borrowed for the machine's life

#endif
