// SPDX-License-Identifier: Apache-2.0
// Runs a program on a host that forbids something: deny_tool userfaultfd PROGRAM [ARGUMENT]...
//	userfaultfd   neither the system call nor /dev/userfaultfd gives one: EPERM
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define USERFAULTFD_IOC_NEW 0xaa00

static int deny_userfaultfd(scmp_filter_ctx f)
{
	int rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(1), SCMP_SYS(userfaultfd), 0);
	return rc ? rc : seccomp_rule_add(f, SCMP_ACT_ERRNO(1), SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, USERFAULTFD_IOC_NEW, 0));
}

int main(int argc, char **argv)
{
	if (argc < 3 || strcmp(argv[1], "userfaultfd")) {
		fprintf(stderr, "usage: deny_tool userfaultfd PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	if (!f || seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0) || deny_userfaultfd(f) || seccomp_load(f)) {
		fprintf(stderr, "deny_tool: the filter cannot be loaded\n");
		return 1;
	}
	seccomp_release(f);
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
