// SPDX-License-Identifier: Apache-2.0
// serve: export a disk over NBD on a Unix socket until a signal comes.
#include <bulkhead/disk.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "base/usock.h"
#include "disk/cmd_internal.h"
#include "disk/control.h"
#include "disk/descriptor.h"
#include "disk/disk_internal.h"
#include "disk/nbd/server.h"
#include "disk/points.h"

static const char *base_name(const char *path)
{
	const char *s = strrchr(path, '/');

	return s ? s + 1 : path;
}

static int stop_signals(void)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGINT);
	sigaddset(&s, SIGTERM);
	sigaddset(&s, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	return signalfd(-1, &s, SFD_CLOEXEC);
}

static int run(struct cmd_args *a, struct err *e)
{
	struct bh_disk_attr attr = { .mode = cmd_flag(a, "--read-only") || cmd_opt(a, "--at") ? BH_DISK_RDONLY : BH_DISK_RDWR,
				     .at = cmd_opt(a, "--at"), .no_io_uring = cmd_flag(a, "--no-io-uring") };
	const char *sock = cmd_opt(a, "--unix");
	struct nbd_export x = { .name = base_name(a->arg[0]), .connections_max = 64, .points = points_each, .changed = points_changed };
	struct control *ctl = NULL;
	own_fd int listen_fd = -1, stop_fd = stop_signals();   // before the disk starts threads
	int rc;

	if (!sock) return err_set(e, EINVAL, "--unix SOCKET is needed");
	rc = bh_disk_open(a->arg[0], &attr, &x.disk, e);
	if (rc < 0) return rc;
	listen_fd = usock_listen(sock, SOCK_STREAM, 0600, e);
	rc = listen_fd < 0 ? listen_fd : 0;
	if (rc == 0 && descriptor_is(a->arg[0]) && attr.mode == BH_DISK_RDWR) rc = control_start(x.disk, a->arg[0], &ctl, e);
	if (rc == 0) {
		printf("serving %s at %s\n", a->arg[0], sock);
		fflush(stdout);
		rc = nbd_serve(&x, listen_fd, stop_fd, e);
		unlink(sock);
	}
	control_stop(ctl);
	if (rc < 0) bh_disk_close(x.disk, NULL);
	else rc = bh_disk_close(x.disk, e);
	return rc;
}

static const struct cmd_option options[] = {
	{ "--unix", "SOCKET", "listen on this Unix socket" },
	{ "--at", "FILTER", "show what lies at and below this filter, read-only; 'data': the bare data file" },
	{ "--read-only", NULL, "refuse writes" },
	{ "--no-io-uring", NULL, "use threads for reads and writes" },
	{ NULL, NULL, NULL },
};

const struct cmd cmd_serve = { "serve", "PATH", "export a disk over NBD", 1, 1, options, run };
