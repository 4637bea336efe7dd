// SPDX-License-Identifier: Apache-2.0
// import, export: qemu-img does the formats, over NBD.
#include <bulkhead/disk.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/usock.h"
#include "disk/cmd_internal.h"
#include "disk/nbd/server.h"

struct serving { struct nbd_export x; int listen_fd, stop_fd; pthread_t thread, watcher; struct cmd_progress p; _Atomic bool over; enum bh_disk_op op; };

static void *serve_run(void *arg)
{
	struct serving *s = arg;

	nbd_serve(&s->x, s->listen_fd, s->stop_fd, NULL);
	return NULL;
}

static void *watch_run(void *arg)
{
	struct serving *s = arg;

	while (!s->over) {
		struct bh_disk_counters c;
		uint64_t n;

		bh_disk_counters(&c);
		n = c.bytes[s->op] + (s->op == BH_DISK_WRITE ? c.bytes[BH_DISK_WRITE_ZEROES] : 0);
		cmd_progress_at(&s->p, n < s->p.total ? n : s->p.total);
		usleep(100000);
	}
	return NULL;
}

/* Run argv while the disk is served at sock. */
static int with_server(struct cmd_args *a, struct bh_disk *d, const char *sock, const char *const argv[], bool import, struct err *e)
{
	struct serving s = { .x = { .disk = d, .name = "disk", .connections_max = 16 }, .op = import ? BH_DISK_WRITE : BH_DISK_READ };
	struct bh_disk_info i;
	uint64_t one = 1;
	int rc;

	bh_disk_info(d, &i);
	s.listen_fd = usock_listen(sock, SOCK_STREAM, 0600, e);
	if (s.listen_fd < 0) return s.listen_fd;
	s.stop_fd = eventfd(0, EFD_CLOEXEC);
	cmd_progress_start(&s.p, a, import ? "import" : "export", i.size_bytes);
	if (s.stop_fd < 0 || pthread_create(&s.thread, NULL, serve_run, &s)) {
		close(s.listen_fd);
		return err_set(e, EAGAIN, "cannot start a thread");
	}
	if (pthread_create(&s.watcher, NULL, watch_run, &s)) s.over = true;
	rc = proc_check(argv, NULL, NULL, e);
	if (!s.over) {
		s.over = true;
		pthread_join(s.watcher, NULL);
	}
	if (write(s.stop_fd, &one, sizeof(one)) < 0) abort();   // an eventfd takes this
	pthread_join(s.thread, NULL);
	close(s.listen_fd);
	close(s.stop_fd);
	if (rc == 0) cmd_progress_end(&s.p);
	return rc;
}

static int with_socket(struct cmd_args *a, struct bh_disk *d, const char *file, const char *format, bool import, struct err *e)
{
	char dir[] = "/tmp/bulkhead-disk-XXXXXX", sock[64], uri[96];
	const char *const in[] = { "qemu-img", "convert", "-n", "-W", "-O", "raw", format ? "-f" : "--", format ? format : file, format ? "--" : uri, format ? file : NULL, uri, NULL };
	const char *const out[] = { "qemu-img", "convert", "-W", "-f", "raw", "-O", format ? format : "raw", "--", uri, file, NULL };
	int rc;

	if (!mkdtemp(dir)) return err_sys(e, errno, "cannot make a folder in /tmp");
	snprintf(sock, sizeof(sock), "%s/s", dir);
	snprintf(uri, sizeof(uri), "nbd:unix:%s", sock);
	rc = with_server(a, d, sock, import ? in : out, import, e);
	dir_remove(dir, NULL);
	return rc;
}

static int virtual_size(const char *file, const char *format, uint64_t *size, struct err *e)
{
	const char *const argv[] = { "qemu-img", "info", "--output=json", format ? "-f" : "--", format ? format : file, format ? "--" : NULL, file, NULL };
	own_buf struct buf b = BUF_INIT;
	own_json json_t *j = NULL;
	int rc = proc_check(argv, NULL, &b, e);

	if (rc < 0) return rc;
	j = json_loadb(b.data ? b.data : "", b.len, 0, NULL);
	*size = (uint64_t)jpath_int(j, "virtual-size", 0);
	*size = (*size + 511) / 512 * 512;
	return *size ? 0 : err_set(e, EINVAL, "'%s' is empty", file);
}

static int run_import(struct cmd_args *a, struct err *e)
{
	const char *format = cmd_opt(a, "--format");
	json_t *list = cmd_filters(a, e);
	own_free char *filters = list ? json_dumps(list, JSON_COMPACT) : NULL;
	struct bh_disk_new n = { .filters = filters };
	struct bh_disk *d;
	int rc;

	json_decref(list);
	if (!filters) return e->code ? -e->code : err_set(e, ENOMEM, "no memory");
	rc = virtual_size(a->arg[0], format, &n.size_bytes, e);
	if (rc == 0) rc = bh_disk_create(a->arg[1], &n, e);
	if (rc < 0) return rc;
	rc = bh_disk_open(a->arg[1], NULL, &d, e);
	if (rc == 0) {
		rc = with_socket(a, d, a->arg[0], format, true, e);
		if (rc < 0) bh_disk_close(d, NULL);
		else rc = bh_disk_close(d, e);
	}
	if (rc < 0) bh_disk_remove(a->arg[1], NULL);
	else if (a->json) cmd_print_json(json_pack("{s:s,s:I}", "path", a->arg[1], "size", (json_int_t)n.size_bytes));
	return rc;
}

static int run_export(struct cmd_args *a, struct err *e)
{
	struct bh_disk_attr ro = { .mode = BH_DISK_RDONLY, .at = cmd_opt(a, "--at") };
	struct bh_disk *d;
	int rc = bh_disk_open(a->arg[0], &ro, &d, e);

	if (rc < 0) return rc;
	rc = with_socket(a, d, a->arg[1], cmd_opt(a, "--format"), false, e);
	bh_disk_close(d, NULL);
	if (rc == 0 && a->json) cmd_print_json(json_pack("{s:s}", "path", a->arg[1]));
	return rc;
}

static const struct cmd_option import_options[] = {
	{ "--format", "raw|qcow2|vmdk|...", "of the file; found out by itself, but say it for files that others wrote" },
	{ "--filter", "TYPE[:KEY=VALUE,...]", "attach a filter; may be repeated" }, { NULL, NULL, NULL },
};
static const struct cmd_option export_options[] = {
	{ "--format", "raw|qcow2|vmdk|...", "of the new file (raw)" }, { "--at", "FILTER", "what lies at and below this filter" }, { NULL, NULL, NULL },
};

const struct cmd cmd_import = { "import", "FILE NAME.bhd", "make a disk from a disk image", 2, 2, import_options, run_import };
const struct cmd cmd_export = { "export", "NAME.bhd FILE", "write a disk into a disk image", 2, 2, export_options, run_export };
