// SPDX-License-Identifier: Apache-2.0
// `bulkhead vm console`: what a pod's guest has written to its serial console, and what it writes.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"

#define LOOK_US 200000

/* The row of the pod's VM: borrowed from vms. NAME alone is of the namespace default. */
static const json_t *find(const json_t *vms, const char *name)
{
	const char *slash = strchr(name, '/');
	const json_t *vm;
	size_t i;
	json_array_foreach(jpath_get(vms, "vms"), i, vm) {
		const char *ns = jpath_str(vm, "namespace", "");
		size_t len = slash ? (size_t)(slash - name) : strlen("default");
		if (strlen(ns) == len && !strncmp(ns, slash ? name : "default", len) && !strcmp(jpath_str(vm, "pod", ""), slash ? slash + 1 : name))
			return vm;
	}
	return NULL;
}

/* What there is from where we are. Returns bytes, or -errno. */
static ssize_t copy(int fd)
{
	char data[65536];
	ssize_t n, all = 0;
	while ((n = read(fd, data, sizeof(data))) > 0) {
		int rc = fd_write_all(STDOUT_FILENO, data, (size_t)n);
		if (rc)
			return rc;
		all += n;
	}
	return n < 0 ? -errno : all;
}

/* Until it is removed with its pod's VM. One that is started again begins the file anew. */
static int follow(int fd)
{
	struct stat st;
	for (;;) {
		ssize_t n = copy(fd);
		if (n < 0)
			return (int)n;
		if (n)
			continue;
		if (fstat(fd, &st) || !st.st_nlink)
			return 0;
		if (st.st_size < lseek(fd, 0, SEEK_CUR))
			lseek(fd, 0, SEEK_SET);
		else
			usleep(LOOK_US);
	}
}

int vm_console(struct cli *c, const char *name, bool follows)
{
	struct err e = ERR_INIT;
	own_json json_t *vms = NULL;
	if (hostd_call(c->root, "GET", "/v1/vms", NULL, NULL, &vms, &e))
		return cli_fail(&e);
	const json_t *vm = find(vms, name);
	if (!vm)
		return err_set(&e, ENOENT, "no VM of a pod \"%s\" on this host: bulkhead vm ls shows those that there are, as NAMESPACE/POD", name), cli_fail(&e);
	const char *path = jpath_str(vm, "console", "");
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(&e, errno, "open the console of %s, %s", name, path), cli_fail(&e);
	ssize_t rc = follows ? follow(fd) : copy(fd);
	return rc < 0 ? (err_sys(&e, (int)-rc, "console of %s", name), cli_fail(&e)) : 0;
}
