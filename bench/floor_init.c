// SPDX-License-Identifier: Apache-2.0
// The least that can be between a guest kernel and a container: PID 1 of the floor measurement of bench/pod-start. Mounts,
// loads the boot modules, EROFS from the first disk with a tmpfs overlay, crun run, power off. No error handling beyond
// a line on the console: what fails here shows as a missing figure.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char config[] =
	"{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/bin/sh\",\"-c\",\"echo FLOOR-OUTPUT\"],\"cwd\":\"/\",\"env\":[\"PATH=/bin\"],"
	"\"user\":{\"uid\":0,\"gid\":0}},\"root\":{\"path\":\"rootfs\"},\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"mode=755\"]}],"
	"\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"}]}}";

static void check(const char *what, int rc)
{
	if (rc)
		printf("floor: %s: %m\n", what);
}

static void load_modules(void)
{
	FILE *f = fopen("/modules/boot", "r");
	char name[64], path[96];
	while (f && fscanf(f, "%63s", name) == 1) {
		snprintf(path, sizeof(path), "/modules/%s.ko", name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			check(name, (int)syscall(SYS_finit_module, fd, "", 0));
		close(fd);
	}
}

int main(void)
{
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	int tty = open("/dev/console", O_RDWR);
	for (int i = 0; i < 3; i++)
		dup2(tty, i);
	setvbuf(stdout, NULL, _IONBF, 0);
	check("bind root", mount("/", "/n", NULL, MS_BIND, NULL));
	check("move root", chdir("/n") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"));
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	check("proc", mount("proc", "/proc", "proc", 0, NULL));
	check("sys", mount("sysfs", "/sys", "sysfs", 0, NULL));
	check("cgroup2", mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL));
	check("run", mount("run", "/run", "tmpfs", 0, NULL));
	load_modules();
	mkdir("/run/image", 0755), mkdir("/run/up", 0755), mkdir("/run/work", 0755), mkdir("/run/c", 0755), mkdir("/run/c/rootfs", 0755);
	check("erofs", mount("/dev/vda", "/run/image", "erofs", MS_RDONLY, NULL));
	check("overlay", mount("overlay", "/run/c/rootfs", "overlay", 0, "lowerdir=/run/image,upperdir=/run/up,workdir=/run/work"));
	FILE *f = fopen("/run/c/config.json", "w");
	fputs(config, f);
	fclose(f);
	pid_t pid = fork();
	if (!pid) {
		execl("/usr/bin/crun", "crun", "--cgroup-manager=disabled", "run", "--bundle", "/run/c", "floor", (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	reboot(RB_AUTOBOOT);
}
