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
#include "boot.h"

#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif

int quota_limit_dir(const char *dir, uint64_t bytes, struct err *e)
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
	next_project++;
	return 0;
}
