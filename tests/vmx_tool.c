// SPDX-License-Identifier: Apache-2.0
// Drives one bulkhead-vmx for tests and benches, as hostd would:
//   vmx_tool run DIR VMX KERNEL INITRD [--vcpus N] [--memory MIB] [--uid N] [--cmdline TEXT] [--console-max N]
//            [--disk SERIAL=PATH[,ro]]... [--tap NAME=MAC[,QUEUES]]   starts it in DIR, prints the ready line and leaves its pid in DIR/pid
//            [--cpu MODEL] [--template yes] [--paged yes] [--restore PREFIX]   from PREFIX.state and PREFIX.memory
//            [--waiting yes]                  a restored one that gets more by plug
//   vmx_tool plug DIR SERIAL=FILE TAP=MAC[,QUEUES]   a disk, of one raw file, and a network card; prints "ok" or the error
//   vmx_tool status|kill|button DIR           prints the status as key=value, or stops it
//   vmx_tool save DIR PREFIX                  saves it to PREFIX.state and PREFIX.memory; prints "ok" or the error
//   vmx_tool page DIR [FILE]                  attaches to the memory of a paged VM and serves its faults, from FILE or with zeros,
//                                             until the VM ends; prints how many
//   vmx_tool resize DIR SERIAL [BYTES]        prints "ok" or the error
//   vmx_tool balloon DIR BYTES                what the guest shall do without; prints "ok" or the error
//   vmx_tool connect DIR PORT [WAIT_MS]       stdin and stdout to a vsock port; retries until WAIT_MS
//                                             DIR may be cid:N, a guest whose vsock device is the kernel's
//   vmx_tool ping DIR PORT COUNT              microseconds of a round trip of one byte: median, 99th percentile
//   vmx_tool echo DIR PORT CONNS BYTES        CONNS connections at once, each sends BYTES, shuts down, reads them back
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/if_tun.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/uffd.h"
#include "base/usock.h"
#include "vmx/proto/vmx_msg.h"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "vmx_tool: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char *path_in(const char *dir, const char *name)
{
	char *p;
	if (asprintf(&p, "%s/%s", dir, name) < 0)
		die("asprintf");
	return p;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags, 0644);
	if (fd < 0)
		die(path);
	return fd;
}

static int open_suffix(const char *prefix, const char *suffix, int flags)
{
	char *path;
	if (asprintf(&path, "%s%s", prefix, suffix) < 0)
		die("asprintf");
	return open_or_die(path, flags);
}

static int listen_in(const char *dir, const char *name, int type)
{
	struct err e = ERR_INIT;
	int fd = usock_listen(path_in(dir, name), type, 0600, &e);
	if (fd < 0)
		die(e.text);
	return fd;
}

static void add_disk(json_t *disks, char *spec)
{
	char *path = strchr(spec, '='), *ro = strstr(spec, ",ro");
	if (!path)
		die("--disk SERIAL=PATH[,ro]");
	*path++ = '\0';
	if (ro)
		*ro = '\0';
	json_array_append_new(disks, json_pack("{s:s, s:s, s:b}", "serial", spec, "path", path, "read_only", ro != NULL));
}

static int open_tap(const char *name, unsigned flags)
{
	struct ifreq r = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
	strcpy(r.ifr_name, name);
	int fd = open_or_die("/dev/net/tun", O_RDWR);
	if (ioctl(fd, TUNSETIFF, &r))
		die("TUNSETIFF");
	return fd;
}

static void add_tap(json_t *nets, char *spec)
{
	char *mac = strchr(spec, '='), *queues = strchr(spec, ',');
	if (!mac || mac - spec >= IFNAMSIZ)
		die("--tap NAME=MAC[,QUEUES]");
	*mac++ = '\0';
	if (queues)
		*queues++ = '\0';
	json_t *more = json_array();
	int fd = open_tap(spec, queues ? IFF_MULTI_QUEUE : 0);
	for (int i = 1; queues && i < atoi(queues); i++)
		json_array_append_new(more, json_integer(open_tap(spec, IFF_MULTI_QUEUE)));
	json_array_append_new(nets, json_pack("{s:i, s:s, s:b, s:o}", "tap_fd", fd, "mac", mac, "vnet_hdr", 1, "queue_fds", more));
}

static int config_fd(const char *dir, char **argv, int *ready, int *console)
{
	int p[2];
	if (pipe(p))
		die("pipe");
	*ready = p[0];
	*console = open_or_die(path_in(dir, "console.log"), O_WRONLY | O_CREAT | O_APPEND | O_TRUNC);
	json_t *disks = json_array(), *nets = json_array();
	json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:i, s:i, s:i, s:i, s:o, s:o}", "version", 1, "id",
			      "test", "name", "test/guest", "engine", "qemu", "vcpus", 1, "memory_mib", 256, "kernel_fd",
			      open_or_die(argv[0], O_RDONLY), "initrd_fd", open_or_die(argv[1], O_RDONLY), "cmdline", "",
			      "control_fd", listen_in(dir, "control.sock", SOCK_SEQPACKET), "vsock_fd",
			      listen_in(dir, "vsock.sock", SOCK_STREAM), "console_fd", *console, "ready_fd", p[1], "disks",
			      disks, "nets", nets);
	for (char **a = argv + 2; a[0] && a[1]; a += 2) {
		if (!strcmp(a[0], "--disk"))
			add_disk(disks, a[1]);
		else if (!strcmp(a[0], "--tap"))
			add_tap(nets, a[1]);
		else if (!strcmp(a[0], "--vcpus"))
			json_object_set_new(o, "vcpus", json_integer(atoi(a[1])));
		else if (!strcmp(a[0], "--memory"))
			json_object_set_new(o, "memory_mib", json_integer(atoi(a[1])));
		else if (!strcmp(a[0], "--console-max"))
			json_object_set_new(o, "console_max_bytes", json_integer(atoi(a[1])));
		else if (!strcmp(a[0], "--engine"))
			json_object_set_new(o, "engine", json_string(a[1]));
		else if (!strcmp(a[0], "--cmdline"))
			json_object_set_new(o, "cmdline", json_string(a[1]));
		else if (!strcmp(a[0], "--cpu"))
			json_object_set_new(o, "cpu_model", json_string(a[1]));
		else if (!strcmp(a[0], "--paged"))
			json_object_set_new(o, "paged", json_boolean(!strcmp(a[1], "yes")));
		else if (!strcmp(a[0], "--template"))
			json_object_set_new(o, "template", json_boolean(!strcmp(a[1], "yes")));
		else if (!strcmp(a[0], "--waiting"))
			json_object_set_new(o, "waiting", json_boolean(!strcmp(a[1], "yes")));
		else if (!strcmp(a[0], "--restore"))
			json_object_set_new(o, "restore_state_fd", json_integer(open_suffix(a[1], ".state", O_RDONLY))),
				json_object_set_new(o, "restore_memory_fd", json_integer(open_suffix(a[1], ".memory", O_RDONLY)));
		else if (!strcmp(a[0], "--uid"))
			json_object_set_new(o, "uid", json_integer(atoi(a[1]))),
				json_object_set_new(o, "gid", json_integer(atoi(a[1])));
		else
			die(a[0]);
	}
	int fd = memfd_create("config", 0);
	if (fd < 0 || json_dumpfd(o, fd, 0))
		die("config");
	json_decref(o);
	return fd;
}

static void run(const char *dir, const char *vmx, char **rest)
{
	int ready, console;
	int config = config_fd(dir, rest, &ready, &console);
	int log = open_or_die(path_in(dir, "vmx.log"), O_WRONLY | O_CREAT | O_TRUNC);
	char number[16], line[2048] = "";
	snprintf(number, sizeof(number), "%d", config);
	bool alone = false;   // as hostd starts a VM with a user of its own
	for (char **a = rest; *a; a++)
		alone |= !strcmp(*a, "--uid");
	pid_t pid = alone ? (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, NULL, NULL, NULL, NULL) : fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		setsid();
		dup2(open_or_die("/dev/null", O_RDWR), 0);
		dup2(log, 1), dup2(log, 2);
		for (int fd = 3; fd < 64; fd++)
			fcntl(fd, F_SETFD, fd == ready ? FD_CLOEXEC : 0);
		execl(vmx, "bulkhead-vmx", "--config-fd", number, NULL);
		die(vmx);
	}
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)pid);
	int f = open_or_die(path_in(dir, "pid"), O_WRONLY | O_CREAT | O_TRUNC);
	fd_write_all(f, text, (size_t)n);
	for (int fd = 3; fd < 64; fd++) {
		if (fd != ready)
			close(fd);
	}
	for (size_t len = 0; len + 1 < sizeof(line) && read(ready, line + len, 1) == 1; len++)
		;
	fputs(line, stdout);
	exit(strstr(line, "running") ? 0 : 1);
}

static void control_fds(const char *dir, const void *request, size_t len, const int *fds, size_t nfds, void *reply, size_t max)
{
	struct err e = ERR_INIT;
	int fd = usock_connect(path_in(dir, "control.sock"), SOCK_SEQPACKET, &e);
	if (fd < 0)
		die(e.text);
	ssize_t n = usock_send(fd, request, len, fds, nfds) ? -1 : usock_recv(fd, reply, max, NULL, NULL);
	struct vmx_error *error = reply;
	if (n < (ssize_t)sizeof(struct vmx_msg))
		die("no reply");
	if (error->head.type == VMX_MSG_ERROR) {
		printf("error %d: %s\n", error->code, error->text);
		exit(1);
	}
}

static void control(const char *dir, const void *request, size_t len, void *reply, size_t max)
{
	control_fds(dir, request, len, NULL, 0, reply, max);
}

static void save(const char *dir, const char *prefix)
{
	struct vmx_msg m = {VMX_MSG_VERSION, VMX_MSG_SAVE, 10};
	char r[VMX_MSG_MAX];
	int fds[] = {open_suffix(prefix, ".state", O_RDWR | O_CREAT), open_suffix(prefix, ".memory", O_RDWR | O_CREAT)};
	control_fds(dir, &m, sizeof(m), fds, 2, r, sizeof(r));
	puts("ok");
}

// Every descriptor of the list goes into fds, and its place there into the list.
static json_t *place(json_t *fd, int *fds, size_t *n)
{
	fds[*n] = (int)json_integer_value(fd);
	return json_integer((json_int_t)(*n)++);
}

static void plug(const char *dir, char *disk, char *tap)
{
	struct vmx_msg m = {VMX_MSG_VERSION, VMX_MSG_PLUG, 13};
	char r[VMX_MSG_MAX];
	int fds[USOCK_FDS_MAX] = {memfd_create("plug", 0)};
	size_t n = 1, i;
	json_t *disks = json_array(), *nets = json_array(), *fd;
	add_disk(disks, disk);
	add_tap(nets, tap);
	json_t *net = json_array_get(nets, 0), *more = json_object_get(net, "queue_fds");
	const char *path = json_string_value(json_object_get(json_array_get(disks, 0), "path"));
	json_object_set_new(net, "tap_fd", place(json_object_get(net, "tap_fd"), fds, &n));
	json_array_foreach(more, i, fd)
		json_array_set_new(more, i, place(fd, fds, &n));
	fds[n++] = open_or_die(path, O_RDWR);
	json_t *o = json_pack("{s:s, s:O, s:O, s:[{s:s, s:i}]}", "name", "test/plugged", "disks", disks, "nets", nets, "files", "path", path,
			      "fd", (int)n - 1);
	if (fds[0] < 0 || json_dumpfd(o, fds[0], 0))
		die("plug");
	control_fds(dir, &m, sizeof(m), fds, n, r, sizeof(r));
	puts("ok");
}

// What pagerd does, as simply as can be: one page for each fault.
static void page(const char *dir, const char *file)
{
	struct err e = ERR_INIT;
	struct vmx_msg m = {VMX_MSG_VERSION, VMX_MSG_MEMORY, 11};
	union { struct vmx_memory m; char room[VMX_MSG_MAX]; } r;
	int fds[USOCK_FDS_MAX], from = file ? open_or_die(file, O_RDONLY) : -1;
	size_t nfds = USOCK_FDS_MAX;
	unsigned long long faults = 0;
	int c = usock_connect(path_in(dir, "control.sock"), SOCK_SEQPACKET, &e);
	if (c < 0 || usock_send(c, &m, sizeof(m), NULL, 0) ||
	    usock_recv(c, &r, sizeof(r), fds, &nfds) != sizeof(r.m) || nfds != 2 || r.m.maps != 1)
		die("the VM's memory");
	struct pollfd p[2] = {{fds[1], POLLIN, 0}, {c, 0, 0}};
	while (poll(p, 2, -1) >= 0 && !p[1].revents) {
		struct uffd_msg f;
		char data[4096] = "";
		uint64_t done;
		if (read(fds[1], &f, sizeof(f)) != sizeof(f) || f.event != UFFD_EVENT_PAGEFAULT)
			continue;
		uint64_t at = f.arg.pagefault.address & ~4095ull;
		if (from >= 0 && pread(from, data, sizeof(data), (off_t)(at - r.m.map[0].address)) != sizeof(data))
			die("read the memory's file");
		if (!uffd_copy(fds[1], at, from >= 0 ? data : NULL, sizeof(data), &done))
			faults++;
		else
			uffd_wake(fds[1], at, sizeof(data));
	}
	printf("%llu\n", faults);
}

static void status(const char *dir)
{
	struct vmx_msg m = {VMX_MSG_VERSION, VMX_MSG_STATUS, 7};
	union { struct vmx_status s; char room[VMX_MSG_MAX]; } r;
	control(dir, &m, sizeof(m), &r, sizeof(r));
	printf("state=%u engine=%u pid=%u engine_pid=%u vcpus=%u memory_mib=%u setup_us=%llu boot_us=%llu "
	       "disk_read=%llu disk_write=%llu disk_ops=%llu vsock_rx=%llu vsock_tx=%llu resident=%llu exits_port=%llu "
	       "exits_mmio=%llu exits_halt=%llu exits_signal=%llu exits_other=%llu net_rx=%llu net_tx=%llu balloon=%llu\n",
	       r.s.state, r.s.engine, r.s.pid, r.s.engine_pid, r.s.vcpus, r.s.memory_mib,
	       (unsigned long long)r.s.setup_ns / 1000, (unsigned long long)r.s.boot_ns / 1000,
	       (unsigned long long)r.s.disk_read_bytes, (unsigned long long)r.s.disk_write_bytes,
	       (unsigned long long)r.s.disk_ops, (unsigned long long)r.s.vsock_rx_bytes,
	       (unsigned long long)r.s.vsock_tx_bytes, (unsigned long long)r.s.memory_resident_bytes,
	       (unsigned long long)r.s.exits_port, (unsigned long long)r.s.exits_mmio, (unsigned long long)r.s.exits_halt,
	       (unsigned long long)r.s.exits_signal, (unsigned long long)r.s.exits_other,
	       (unsigned long long)r.s.net_rx_packets, (unsigned long long)r.s.net_tx_packets,
	       (unsigned long long)r.s.memory_balloon_bytes);
}

static void stop(const char *dir, uint32_t how)
{
	struct vmx_stop m = {{VMX_MSG_VERSION, VMX_MSG_STOP, 8}, how};
	char r[VMX_MSG_MAX];
	control(dir, &m, sizeof(m), r, sizeof(r));
	puts("ok");
}

static void resize(const char *dir, const char *serial, uint64_t bytes)
{
	struct vmx_resize m = {.head = {VMX_MSG_VERSION, VMX_MSG_RESIZE, 9}, .size_bytes = bytes};
	char r[VMX_MSG_MAX];
	memcpy(m.serial, serial, strnlen(serial, sizeof(m.serial)));
	control(dir, &m, sizeof(m), r, sizeof(r));
	puts("ok");
}

static void balloon(const char *dir, uint64_t bytes)
{
	struct vmx_balloon m = {.head = {VMX_MSG_VERSION, VMX_MSG_BALLOON, 12}, .target_bytes = bytes};
	char r[VMX_MSG_MAX];
	control(dir, &m, sizeof(m), r, sizeof(r));
	puts("ok");
}

// A vsock connection, or -1 when the guest refuses it.
// DIR may be "cid:N": a guest whose vsock device is the kernel's.
static int dial_cid(const char *cid, const char *port)
{
	struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = (unsigned)atoi(cid), .svm_port = (unsigned)atoi(port)};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int dial(const char *dir, const char *port)
{
	struct err e = ERR_INIT;
	char line[64];
	if (!strncmp(dir, "cid:", 4))
		return dial_cid(dir + 4, port);
	int fd = usock_connect(path_in(dir, "vsock.sock"), SOCK_STREAM, &e);
	if (fd < 0)
		die(e.text);
	int n = snprintf(line, sizeof(line), "CONNECT %s\n", port);
	fd_write_all(fd, line, (size_t)n);
	for (n = 0; n < 63 && read(fd, line + n, 1) == 1 && line[n] != '\n'; n++)
		;
	if (!strncmp(line, "OK ", 3) && n > 3)
		return fd;
	close(fd);
	return -1;
}

static void connect_(const char *dir, const char *port, int wait_ms)
{
	uint64_t until = clock_mono_ns() + (uint64_t)wait_ms * NS_PER_MS;
	int fd;
	while ((fd = dial(dir, port)) < 0 && clock_mono_ns() < until)
		usleep(2000);
	if (fd < 0) {
		fprintf(stderr, "refused\n");
		exit(1);
	}
	char buf[65536];
	struct pollfd p[2] = {{0, POLLIN, 0}, {fd, POLLIN, 0}};
	while (poll(p, 2, -1) >= 0) {
		if (p[0].revents) {
			ssize_t n = read(0, buf, sizeof(buf));
			if (n > 0 && fd_write_all(fd, buf, (size_t)n))
				die("write to the guest");
			if (n <= 0) {
				shutdown(fd, SHUT_WR);
				p[0].fd = -1;
			}
		}
		if (p[1].revents) {
			ssize_t n = read(fd, buf, sizeof(buf));
			if (n <= 0)
				exit(n < 0);
			fd_write_all(1, buf, (size_t)n);
		}
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static void ping(const char *dir, const char *port, size_t count)
{
	int fd = dial(dir, port);
	uint64_t *ns = calloc(count + 1, sizeof(*ns));
	char c = 'x';
	if (fd < 0 || !ns)
		die("ping");
	for (size_t i = 0; i < count; i++) {
		uint64_t t = clock_mono_ns();
		if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1)
			die("ping");
		ns[i] = clock_mono_ns() - t;
	}
	qsort(ns, count, sizeof(*ns), by_value);
	printf("%.1f %.1f\n", (double)ns[count / 2] / 1000, (double)ns[count * 99 / 100] / 1000);
}

static void echo_one(const char *dir, const char *port, unsigned seed, size_t bytes)
{
	int fd = dial(dir, port);
	if (fd < 0)
		exit(2);
	if (!fork()) {
		for (size_t i = 0; i < bytes;) {
			unsigned char out[5000];
			size_t n = 0;
			for (; n < sizeof(out) && i < bytes; n++, i++)
				out[n] = (unsigned char)(i * 7 + (i >> 8) + seed);
			if (fd_write_all(fd, out, n))
				exit(3);
		}
		exit(shutdown(fd, SHUT_WR) ? 4 : 0);
	}
	unsigned char in[65536];
	size_t at = 0;
	ssize_t n;
	while ((n = read(fd, in, sizeof(in))) > 0) {
		for (ssize_t k = 0; k < n; k++, at++) {
			if (in[k] != (unsigned char)(at * 7 + (at >> 8) + seed))
				exit(5);
		}
	}
	int st;
	wait(&st);
	exit(at != bytes ? 6 : WEXITSTATUS(st));
}

static void echo(const char *dir, const char *port, int conns, size_t bytes)
{
	uint64_t t = clock_mono_ns();
	int good = 0, st;
	for (int i = 0; i < conns; i++) {
		if (!fork())
			echo_one(dir, port, (unsigned)i, bytes);
	}
	while (wait(&st) > 0) {
		good += st == 0;
		if (st)
			fprintf(stderr, "a connection ended with %d\n", WEXITSTATUS(st));
	}
	printf("%d of %d in %llu ms\n", good, conns, (unsigned long long)(clock_mono_ns() - t) / NS_PER_MS);
	exit(good != conns);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(what, "run") && argc >= 6)
		run(argv[2], argv[3], argv + 4);
	else if (!strcmp(what, "status"))
		status(argv[2]);
	else if (!strcmp(what, "save") && argc == 4)
		save(argv[2], argv[3]);
	else if (!strcmp(what, "page"))
		page(argv[2], argc > 3 ? argv[3] : NULL);
	else if (!strcmp(what, "kill"))
		stop(argv[2], 0);
	else if (!strcmp(what, "button"))
		stop(argv[2], 1);
	else if (!strcmp(what, "resize") && argc >= 4)
		resize(argv[2], argv[3], argc > 4 ? strtoull(argv[4], NULL, 10) : 0);
	else if (!strcmp(what, "plug") && argc == 5)
		plug(argv[2], argv[3], argv[4]);
	else if (!strcmp(what, "balloon") && argc == 4)
		balloon(argv[2], strtoull(argv[3], NULL, 10));
	else if (!strcmp(what, "connect") && argc >= 4)
		connect_(argv[2], argv[3], argc > 4 ? atoi(argv[4]) : 0);
	else if (!strcmp(what, "ping") && argc == 5)
		ping(argv[2], argv[3], (size_t)atoll(argv[4]));
	else if (!strcmp(what, "echo") && argc == 6)
		echo(argv[2], argv[3], atoi(argv[4]), (size_t)atoll(argv[5]));
	else
		return fprintf(stderr, "vmx_tool: see the top of tests/vmx_tool.c\n"), 1;
	return 0;
}
