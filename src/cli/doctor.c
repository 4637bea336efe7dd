// SPDX-License-Identifier: Apache-2.0
// `bulkhead doctor`: what this machine offers, tried rather than guessed, and what is chosen because of it. One row per
// check; a check that fails says what to do.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/rseq.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base/proc.h"
#include "cli.h"

enum verdict { GOOD, NOTE, BAD };
struct finding { enum verdict verdict; char text[256]; };

static const char *doctor_root;

static void found(struct finding *f, enum verdict v, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void found(struct finding *f, enum verdict v, const char *fmt, ...)
{
	va_list ap;
	f->verdict = v;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void check_machine(struct finding *f)
{
	struct utsname u;
	struct sysinfo si;
	uname(&u);
	sysinfo(&si);
	found(f, GOOD, "%s %s, %d CPUs, %llu MiB memory", u.sysname, u.release, get_nprocs(),
	      (unsigned long long)si.totalram * si.mem_unit >> 20);
}

static void check_kvm(struct finding *f)
{
	char reason[200];
	bool kvm = !strcmp(engine_choose(reason, sizeof(reason)), "kvm");
	found(f, kvm ? GOOD : NOTE, "%s: %s", kvm ? "usable" : "not usable", reason);
}

static void check_qemu(struct finding *f)
{
	own_buf struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	const char *argv[] = {"qemu-system-x86_64", "--version", NULL};
	if (proc_check(argv, NULL, &out, &e))
		found(f, BAD, "%s; apt-get install qemu-system-x86", e.text);
	else
		found(f, GOOD, "%.*s", (int)strcspn(out.data, "\n"), out.data);
}

static void check_engine(struct finding *f)
{
	char reason[200];
	if (!strcmp(engine_choose(reason, sizeof(reason)), "kvm"))
		found(f, GOOD, "kvm is chosen unless \"up --engine\" says otherwise");
	else
		found(f, GOOD, "qemu (software engine) is chosen: runs everywhere; guests run several times slower than on hardware");
}

static void check_uffd(struct finding *f)
{
	own_fd int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = {.api = UFFD_API};
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		found(f, NOTE, "userfaultfd: %s; memory is not paged by Bulkhead", strerror(errno));
	else
		found(f, GOOD, "userfaultfd answers, features %#llx", (unsigned long long)api.features);
}

static void check_uring(struct finding *f)
{
	struct io_uring_params p = {0};
	own_fd int fd = (int)syscall(SYS_io_uring_setup, 4, &p);
	if (fd < 0)
		found(f, NOTE, "io_uring: %s; disks use a thread pool", strerror(errno));
	else
		found(f, GOOD, "io_uring answers, features %#x", p.features);
}

static void check_rseq(struct finding *f)
{
	if (__rseq_size == 0)
		found(f, NOTE, "rseq is not registered (glibc.pthread.rseq=0 or an old kernel): per-processor areas use their slower form");
	else
		found(f, GOOD, "rseq registered by glibc, %u bytes", __rseq_size);
}

static void check_tun(struct finding *f)
{
	own_fd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	unsigned features = 0;
	if (fd < 0 || ioctl(fd, TUNGETFEATURES, &features))
		found(f, BAD, "/dev/net/tun: %s; modprobe tun", strerror(errno));
	else if (!(features & IFF_VNET_HDR))
		found(f, NOTE, "TAP works, without vnet_hdr: the pod network is slower");
	else
		found(f, GOOD, "TAP with vnet_hdr");
}

static void check_programs(struct finding *f)
{
	static const struct { const char *path, *package; } need[] = {
		{"/usr/lib/cni/bridge", "containernetworking-plugins"}, {"/usr/lib/cni/host-local", "containernetworking-plugins"},
		{"/usr/lib/cni/portmap", "containernetworking-plugins"}, {"/usr/bin/skopeo", "skopeo"}, {"/usr/bin/umoci", "umoci"},
		{"/usr/bin/mkfs.erofs", "erofs-utils"}, {"/sbin/mkfs.ext4", "e2fsprogs"}, {"/usr/sbin/iptables", "iptables"}};
	for (size_t i = 0; i < sizeof(need) / sizeof(need[0]); i++)
		if (access(need[i].path, X_OK)) {
			found(f, BAD, "%s is missing: apt-get install %s", need[i].path, need[i].package);
			return;
		}
	found(f, GOOD, "CNI plug-ins, skopeo, umoci, mkfs.erofs, mkfs.ext4, iptables are there");
}

static void check_guest(struct finding *f)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/../guest/vmlinux", cli_bin_dir());
	if (access(path, R_OK))
		found(f, BAD, "guest kernel %s is missing: make build", path);
	else
		found(f, GOOD, "guest kernel and initramfs are built");
}

static void check_pager(struct finding *f)
{
	struct err e = ERR_INIT;
	json_t *out = NULL;
	if (hostd_call(doctor_root, "GET", "/v1/health", NULL, NULL, &out, &e))
		found(f, NOTE, "whether pods' memory is paged shows when the cluster runs");
	else if (json_is_true(json_object_get(out, "paged")))
		found(f, GOOD, "the memory of new pods is paged by bulkhead-pagerd");
	else
		found(f, NOTE, "the memory of new pods is not paged: %s; pods boot with ordinary memory", jpath_str(out, "notPaged", "hostd does not say why"));
	json_decref(out);
}

static void check_disk(struct finding *f)
{
	struct statvfs fs;
	const char *at = statvfs(doctor_root, &fs) ? "/" : doctor_root;
	if (statvfs(at, &fs))
		return;
	unsigned long long free_mib = (unsigned long long)fs.f_bavail * fs.f_frsize >> 20;
	found(f, free_mib < 2048 ? NOTE : GOOD, "%llu MiB free below %s%s", free_mib, at, free_mib < 2048 ? ": images may not fit" : "");
}

static void check_user(struct finding *f)
{
	if (geteuid())
		found(f, BAD, "not root: up needs root");
	else
		found(f, GOOD, "root");
}

int cmd_doctor(struct cli *c)
{
	static const struct { const char *name; void (*run)(struct finding *f); } checks[] = {
		{"machine", check_machine}, {"user", check_user}, {"kvm", check_kvm}, {"qemu", check_qemu}, {"engine", check_engine},
		{"guest", check_guest}, {"userfaultfd", check_uffd}, {"io_uring", check_uring}, {"rseq", check_rseq}, {"tap", check_tun},
		{"programs", check_programs}, {"pager", check_pager}, {"disk", check_disk}};
	static const char *const words[] = {"ok", "note", "bad"};
	json_t *rows = json_array();
	bool bad = false;
	if (c->argc)
		return cli_usage("doctor [--root DIR] [-o json]");
	doctor_root = c->root;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		struct finding f = {.verdict = GOOD};
		checks[i].run(&f);
		bad |= f.verdict == BAD;
		if (c->json)
			json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "check", checks[i].name, "verdict", words[f.verdict],
							      "text", f.text));
		else
			printf("%-12s %-5s %s\n", checks[i].name, words[f.verdict], f.text);
	}
	if (c->json)
		cli_print_json(json_pack("{s:O, s:b}", "checks", rows, "ok", !bad));
	json_decref(rows);
	return bad;
}
