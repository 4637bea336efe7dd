// SPDX-License-Identifier: Apache-2.0
// Project quotas; see quota.h. Project numbers count up and are never used twice: the disk lives as long as the pod.
#include "quota.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"

#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif

#define EXT4_SUPER_OFFSET 1024
#define EXT4_SUPER_MAGIC_AT 0x38
#define EXT4_SUPER_RO_COMPAT_AT 0x64
#define EXT4_RO_COMPAT_QUOTA 0x100
#define EXT4_RO_COMPAT_PROJECT 0x2000

int quota_limit_dir(const char *dir, uint64_t bytes, uint32_t *project, struct err *e)
{
	static uint32_t next_project = 1000;
	own_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", dir);
	struct fsxattr x;
	struct if_dqblk limit = {.dqb_bhardlimit = (bytes + QIF_DQBLKSIZE - 1) / QIF_DQBLKSIZE, .dqb_valid = QIF_BLIMITS};
	if (ioctl(fd, FS_IOC_FSGETXATTR, &x))
		return err_set(e, ENOTSUP, "the file system of %s has no project quotas", dir);
	x.fsx_projid = next_project;
	x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	if (syscall(SYS_quotactl_fd, fd, QCMD(Q_SETQUOTA, PRJQUOTA), next_project, &limit) ||
	    ioctl(fd, FS_IOC_FSSETXATTR, &x)) {
		if (errno == ESRCH || errno == ENOSYS || errno == EOPNOTSUPP)
			return err_set(e, ENOTSUP, "the file system of %s has no project quotas", dir);
		return err_sys(e, errno, "limit %s to %llu bytes", dir, (unsigned long long)bytes);
	}
	*project = next_project++;
	return 0;
}

uint64_t quota_used(const char *dir, uint32_t project)
{
	struct if_dqblk q;
	own_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !project || syscall(SYS_quotactl_fd, fd, QCMD(Q_GETQUOTA, PRJQUOTA), project, &q))
		return 0;
	return q.dqb_curspace;
}

bool quota_on_device(const char *device)
{
	uint8_t super[256];
	uint32_t features;
	uint16_t magic;
	own_fd int fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, super, sizeof(super), EXT4_SUPER_OFFSET) != sizeof(super))
		return false;
	memcpy(&magic, super + EXT4_SUPER_MAGIC_AT, sizeof(magic));
	memcpy(&features, super + EXT4_SUPER_RO_COMPAT_AT, sizeof(features));
	return magic == 0xef53 && (features & (EXT4_RO_COMPAT_QUOTA | EXT4_RO_COMPAT_PROJECT));
}
