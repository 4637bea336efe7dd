// SPDX-License-Identifier: Apache-2.0
// A TCG plug-in that does one thing: when the first virtual CPU is made, guest RAM is mapped and no guest code has run, and
// the memory is handed to pagerd.
//
//	qemu-system-x86_64 ... -plugin bulkhead-qemu-pager.so,socket=N,memory=N,device=N
//
// Descriptors that QEMU inherits: a socket (proto/engine_msg.h), the memory backend's memfd, an open /dev/userfaultfd
// (left out: QEMU is allowed to make a userfaultfd itself). QEMU blocks until the other side answers. When the memory
// cannot be handed over, QEMU does not start: a guest that should be paged must not run on empty memory.
//
// Declared here is what is used of QEMU's plug-in interface, version 1 (QEMU 4.2 to 8.x understand it).
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "announce.h"

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef void (*qemu_plugin_vcpu_simple_cb_t)(qemu_plugin_id_t id, unsigned vcpu);
extern void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_simple_cb_t cb);

EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

static int sock = -1, memory = -1, device = -1;

static void on_vcpu(qemu_plugin_id_t id, unsigned vcpu)
{
	(void)id;
	if (vcpu)
		return;
	int rc = memory_announce(sock, memory, device);
	if (rc) {
		fprintf(stderr, "bulkhead-qemu-pager: the guest's memory cannot be handed to the pager: %s\n", strerror(-rc));
		_exit(1);
	}
	close(sock);
}

static int number(const char *text, int *fd)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || n > 1 << 20)
		return -EINVAL;
	*fd = (int)n;
	return 0;
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	static const struct { const char *name; int *fd; } options[] = {
		{ "socket=", &sock }, { "memory=", &memory }, { "device=", &device },
	};
	(void)info;
	for (int i = 0; i < argc; i++) {
		int rc = -EINVAL;
		for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++)
			if (!strncmp(argv[i], options[k].name, strlen(options[k].name)))
				rc = number(argv[i] + strlen(options[k].name), options[k].fd);
		if (rc) {
			fprintf(stderr, "bulkhead-qemu-pager: options are socket=N, memory=N and device=N, not '%s'\n", argv[i]);
			return rc;
		}
	}
	if (sock < 0 || memory < 0) {
		fprintf(stderr, "bulkhead-qemu-pager: socket=N and memory=N must be given\n");
		return -EINVAL;
	}
	qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
	return 0;
}
