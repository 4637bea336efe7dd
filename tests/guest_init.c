// SPDX-License-Identifier: Apache-2.0
// A tiny guest's init for the tests of bulkhead-vmx: loads the modules of /modules in the order of /modules/order and
// serves vsock ports, a process for each connection:
//   7  echo until the peer shuts down its side, then shut down ours
//   8  one command line: disk SERIAL size|ro | disk SERIAL write OFFSET BYTE LENGTH | disk SERIAL sum OFFSET LENGTH |
//      disk SERIAL discard|zero OFFSET LENGTH | disk SERIAL time COUNT BYTES (microseconds for COUNT direct reads) | cmdline | cpus | net |
//      queues (of eth0 and vda that the kernel uses) |
//      cpuid (a number for all of it) | flag NAME | clock | memory (MiB) | touch MIB | random | load MODULE |
//      poweroff | reboot | halt | panic; answers one line
//   9  discard: reads to the end, then answers the number of bytes
//   10 source: one line with a number, answers as many bytes
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_packet.h>
#include <linux/reboot.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest_machine.h"

static const char *load_module(const char *file)
{
	char path[300];
	snprintf(path, sizeof(path), "/modules/%s", file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *how = fd < 0 || syscall(SYS_finit_module, fd, "", 0) ? strerror(errno) : "ok";
	close(fd);
	return how;
}

static void load_modules(void)
{
	FILE *f = fopen("/modules/order", "r");
	char name[256];
	while (f && fgets(name, sizeof(name), f)) {
		name[strcspn(name, "\n")] = '\0';
		const char *how = load_module(name);
		if (strcmp(how, "ok"))
			fprintf(stderr, "init: %s: %s\n", name, how);
	}
	if (f)
		fclose(f);
}

static int listen_on(unsigned port)
{
	struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 128)) {
		fprintf(stderr, "init: vsock port %u: %s\n", port, strerror(errno));
		exit(1);
	}
	return fd;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static char data[1 << 16] __attribute__((aligned(4096)));

static void echo(int fd)
{
	ssize_t n;
	while ((n = read(fd, data, sizeof(data))) > 0 && !write_all(fd, data, (size_t)n))
		;
	shutdown(fd, SHUT_WR);
}

static void sink(int fd)
{
	unsigned long long total = 0;
	ssize_t n;
	while ((n = read(fd, data, sizeof(data))) > 0)
		total += (unsigned long long)n;
	dprintf(fd, "%llu\n", total);
}

static void get_line(int fd, char *line, size_t max)
{
	size_t n = 0;
	while (n + 1 < max && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
}

static void source(int fd)
{
	char line[64];
	get_line(fd, line, sizeof(line));
	for (unsigned long long left = strtoull(line, NULL, 10); left;) {
		size_t n = left < sizeof(data) ? (size_t)left : sizeof(data);
		if (write_all(fd, data, n))
			return;
		left -= n;
	}
}

// The disk with this serial: /sys/block/vdX/serial.
static int open_disk(const char *serial, int flags)
{
	for (char c = 'a'; c <= 'z'; c++) {
		char path[64], have[32] = "";
		snprintf(path, sizeof(path), "/sys/block/vd%c/serial", c);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		ssize_t n = read(fd, have, sizeof(have) - 1);
		close(fd);
		if (n < 0 || strcmp(have, serial))
			continue;
		snprintf(path, sizeof(path), "/dev/vd%c", c);
		return open(path, flags | O_CLOEXEC);
	}
	errno = ENODEV;
	return -1;
}

static const char *disk_write(int disk, uint64_t off, uint64_t len, int byte)
{
	memset(data, byte, sizeof(data));
	while (len) {
		size_t n = len < sizeof(data) ? (size_t)len : sizeof(data);
		if (pwrite(disk, data, n, (off_t)off) != (ssize_t)n)
			return strerror(errno);
		off += n;
		len -= n;
	}
	return fsync(disk) ? strerror(errno) : "ok";
}

// Sum of the bytes and of their places, past the page cache of this guest.
static void disk_sum(int disk, uint64_t off, uint64_t len, char *out, size_t max)
{
	uint64_t sum = 0, at = 0;
	ioctl(disk, BLKFLSBUF, 0);
	while (at < len) {
		size_t n = len - at < sizeof(data) ? (size_t)(len - at) : sizeof(data);
		if (pread(disk, data, n, (off_t)(off + at)) != (ssize_t)n) {
			snprintf(out, max, "%s", strerror(errno));
			return;
		}
		for (size_t i = 0; i < n; i++)
			sum = sum * 31 + (unsigned char)data[i];
		at += n;
	}
	snprintf(out, max, "%llx", (unsigned long long)sum);
}

// Microseconds for count reads of len bytes at random places, past the page cache, one after another.
static void disk_time(int disk, uint64_t count, uint64_t len, char *out, size_t max)
{
	uint64_t size = 0, seed = 1;
	struct timespec a, b;
	ioctl(disk, BLKGETSIZE64, &size);
	if (!len || len > sizeof(data) || size < len) {
		snprintf(out, max, "what?");
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint64_t i = 0; i < count; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		if (pread(disk, data, len, (off_t)((seed >> 20) % (size / len) * len)) != (ssize_t)len) {
			snprintf(out, max, "%s", strerror(errno));
			return;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	snprintf(out, max, "%lld", (b.tv_sec - a.tv_sec) * 1000000ll + (b.tv_nsec - a.tv_nsec) / 1000);
}

static void disk_command(const char *serial, const char *what, uint64_t a, uint64_t b, uint64_t c, char *out, size_t max)
{
	bool writes = !strcmp(what, "write") || !strcmp(what, "discard") || !strcmp(what, "zero");
	int disk = open_disk(serial, (writes ? O_RDWR : O_RDONLY) | (strcmp(what, "time") ? 0 : O_DIRECT));
	uint64_t size = 0, range[2] = {a, b};
	int ro = 0;
	if (disk < 0) {
		snprintf(out, max, "%s", strerror(errno));
	} else if (!strcmp(what, "size")) {
		ioctl(disk, BLKGETSIZE64, &size);
		snprintf(out, max, "%llu", (unsigned long long)size);
	} else if (!strcmp(what, "ro")) {
		ioctl(disk, BLKROGET, &ro);
		snprintf(out, max, "%d", ro);
	} else if (!strcmp(what, "write")) {
		snprintf(out, max, "%s", disk_write(disk, a, c, (int)b));
	} else if (!strcmp(what, "sum")) {
		disk_sum(disk, a, b, out, max);
	} else if (!strcmp(what, "time")) {
		disk_time(disk, a, b, out, max);
	} else if (!strcmp(what, "discard")) {
		snprintf(out, max, "%s", ioctl(disk, BLKDISCARD, range) ? strerror(errno) : "ok");
	} else if (!strcmp(what, "zero")) {
		snprintf(out, max, "%s", ioctl(disk, BLKZEROOUT, range) ? strerror(errno) : "ok");
	} else {
		snprintf(out, max, "what?");
	}
}

// Bring eth0 up (the kernel then sends its IPv6 greetings); its address.
static void net_up(char *out, size_t max)
{
	struct ifreq r = {.ifr_name = "eth0"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (ioctl(fd, SIOCGIFHWADDR, &r)) {
		snprintf(out, max, "%s", strerror(errno));
		return;
	}
	const unsigned char *m = (const unsigned char *)r.ifr_hwaddr.sa_data;
	snprintf(out, max, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	r.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		snprintf(out, max, "%s", strerror(errno));
}

// Entries of a folder whose names begin so.
static unsigned entries(const char *folder, const char *begin)
{
	DIR *d = opendir(folder);
	unsigned n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += *e->d_name != '.' && !strncmp(e->d_name, begin, strlen(begin));
	if (d)
		closedir(d);
	return n;
}

static void command(int fd)
{
	char line[256], out[256] = "what?", serial[32], what[32];
	unsigned long long a = 0, b = 0, c = 0;
	get_line(fd, line, sizeof(line));
	if (sscanf(line, "disk %31s %31s %llu %llu %llu", serial, what, &a, &b, &c) >= 2) {
		disk_command(serial, what, a, b, c, out, sizeof(out));
	} else if (!strcmp(line, "cmdline")) {
		FILE *f = fopen("/proc/cmdline", "r");
		if (f && fgets(out, sizeof(out), f))
			out[strcspn(out, "\n")] = '\0';
	} else if (!strcmp(line, "cpus")) {
		snprintf(out, sizeof(out), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	} else if (!strcmp(line, "net")) {
		net_up(out, sizeof(out));
	} else if (!strcmp(line, "queues")) {
		snprintf(out, sizeof(out), "net %u disk %u", entries("/sys/class/net/eth0/queues", "tx-"), entries("/sys/block/vda/mq", ""));
	} else if (sscanf(line, "load %31s", what) == 1) {
		snprintf(out, sizeof(out), "%s", load_module(what));
	} else if (machine_command(line, out, sizeof(out))) {
		;
	} else if (!strcmp(line, "poweroff")) {
		reboot(LINUX_REBOOT_CMD_POWER_OFF);
	} else if (!strcmp(line, "reboot")) {
		reboot(LINUX_REBOOT_CMD_RESTART);
	} else if (!strcmp(line, "halt")) {
		reboot(LINUX_REBOOT_CMD_HALT);
	} else if (!strcmp(line, "panic")) {
		kill(1, SIGUSR1);
		sleep(5);
	}
	dprintf(fd, "%s\n", out);
}

// With the word "bench" on the command line, before anything is served: reads of the disk "a" and packets sent by eth0. Whoever reads
// the console counts between "begins" and the result; around both nothing happens for a while.
static void bench(void)
{
	char line[2048] = "", out[64];
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(0x88b5), .sll_halen = 6,
				 .sll_addr = {255, 255, 255, 255, 255, 255}};
	struct timespec a, b;
	FILE *f = fopen("/proc/cmdline", "r");
	if (!f || !fgets(line, sizeof(line), f) || !strstr(line, " bench"))
		return;
	fclose(f);
	int disk = open_disk("a", O_RDONLY | O_DIRECT), net = socket(AF_PACKET, SOCK_DGRAM, 0);
	net_up(out, sizeof(out));
	to.sll_ifindex = (int)if_nametoindex("eth0");
	sleep(1);
	dprintf(2, "bench: disk begins\n");
	sleep(2);
	disk_time(disk, 1000, 4096, out, sizeof(out));
	dprintf(2, "bench: disk 1000 in %s us\n", out);
	sleep(1);
	dprintf(2, "bench: net begins\n");
	sleep(2);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 1000; i++) {
		if (sendto(net, data, 1000, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			dprintf(2, "bench: send: %s\n", strerror(errno));
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	dprintf(2, "bench: net 1000 in %lld us\n", (b.tv_sec - a.tv_sec) * 1000000ll + (b.tv_nsec - a.tv_nsec) / 1000);
	sleep(1);
}

static void die(int sig) { _exit(sig); }   // an init that ends makes the kernel panic

int main(void)
{
	static void (*const serve[])(int fd) = {echo, command, sink, source};
	mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	int console = open("/dev/console", O_RDWR);
	dup2(console, 1), dup2(console, 2);
	dprintf(2, "init: reached\n");
	load_modules();
	bench();
	signal(SIGUSR1, die);
	signal(SIGPIPE, SIG_IGN);
	for (unsigned port = 0; port < 4; port++) {
		if (port < 3 && fork())
			continue;
		int l = listen_on(7 + port);
		if (port == 3)
			dprintf(2, "init: serving\n");
		signal(SIGCHLD, SIG_IGN);
		for (;;) {
			int fd = accept(l, NULL, NULL);
			if (fd >= 0 && !fork()) {
				close(l);
				serve[port](fd);
				_exit(0);
			}
			close(fd);
		}
	}
}
