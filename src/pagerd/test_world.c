// SPDX-License-Identifier: Apache-2.0
#include "test_world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/usock.h"
#include "prda/metrics_view.h"
#include "base/uffd.h"

volatile uint64_t *guest_memory;

int asked_guest(int sock, int side, int memfd)
{
	struct { char what; uint64_t page, word; } ask;
	(void)side, (void)memfd;
	while (recv(sock, &ask, sizeof(ask), 0) == sizeof(ask)) {
		if (ask.what == 'w')
			guest_memory[ask.page * 512 + 5] = ask.page + 1;
		ask.word = guest_memory[ask.page * 512 + 5];
		if (send(sock, &ask, sizeof(ask), 0) < 0)
			return 1;
	}
	return 0;
}

static struct process guest_start(int memfd, int side, guest_fn *fn)
{
	int s[2];
	struct process p = { .uffd = -1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (p.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGBUS, SIG_DFL);       // cmocka catches it
		signal(SIGSEGV, SIG_DFL);
		guest_memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
		int uffd = uffd_open();
		uint64_t address = (uintptr_t)guest_memory;
		char go;
		if (uffd < 0 || usock_send(s[1], &address, sizeof(address), &uffd, 1))
			_exit(3);
		if (recv(s[1], &go, 1, 0) != 1)
			_exit(4);
		close(s[0]);
		_exit(fn(s[1], side, memfd));
	}
	size_t n = 1;
	close(s[1]);
	p.sock = s[0];
	assert_int_equal(usock_recv(p.sock, &p.address, sizeof(p.address), &p.uffd, &n), sizeof(p.address));
	assert_int_equal(n, 1);
	return p;
}

void guest_go(struct process *p) { assert_int_equal(send(p->sock, "g", 1, 0), 1); }

int guest_end(struct process *p)
{
	int status = -1;
	shutdown(p->sock, SHUT_WR);
	waitpid(p->pid, &status, 0);
	close(p->sock);
	close(p->uffd);
	return status;
}

uint64_t guest_ask(struct process *p, char what, uint64_t page)
{
	struct { char what; uint64_t page, word; } ask = { what, page, 0 };
	assert_int_equal(send(p->sock, &ask, sizeof(ask), 0), sizeof(ask));
	assert_int_equal(recv(p->sock, &ask, sizeof(ask), 0), sizeof(ask));
	return ask.word;
}

void pagerd_spawn(struct world *w, const char *codec)
{
	w->pagerd = fork();
	assert_true(w->pagerd >= 0);
	if (w->pagerd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		const char *program = getenv("PAGERD"), *shim = getenv("FAIL_PRELOAD");
		if (shim)
			setenv("LD_PRELOAD", shim, 1);
		char store[16], memory[16], frames[16];
		snprintf(store, sizeof(store), "%u", w->sizes->store_mib ? w->sizes->store_mib : 64);
		snprintf(memory, sizeof(memory), "%u", w->sizes->memory_mib);
		snprintf(frames, sizeof(frames), "%u", w->sizes->frames_mib ? w->sizes->frames_mib : 64);
		execl(program, "bulkhead-pagerd", "--control", w->control, "--store", w->store, "--store-mib", store, "--frames-mib", frames,
			"--memory-mib", memory, "--readers", "3", "--codec", codec, "--metrics", w->metrics, (char *)NULL);
		_exit(127);
	}
}

void pagerd_start(struct world *w, const char *codec)
{
	struct err e = ERR_INIT;
	pagerd_spawn(w, codec);
	for (int i = 0; i < 1000; i++) {
		w->sock = usock_connect(w->control, SOCK_SEQPACKET, &e);
		if (w->sock >= 0)
			return;
		usleep(10000);
	}
	fail_msg("pagerd does not start: %s", e.text);
}

void pagerd_end(struct world *w, int sig)
{
	int status;
	kill(w->pagerd, sig);
	assert_int_equal(waitpid(w->pagerd, &status, 0), w->pagerd);
	assert_true(sig == SIGKILL || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	close(w->sock);
}

int call(struct world *w, void *msg, size_t len, const int *fds, size_t nfds, union any *reply)
{
	static uint64_t id;
	struct pager_msg *head = msg;
	head->version = PAGER_MSG_VERSION;
	head->id = ++id;
	assert_int_equal(usock_send(w->sock, msg, len, fds, nfds), 0);
	size_t none = 0;
	assert_true(usock_recv(w->sock, reply, sizeof(*reply), NULL, &none) >= (ssize_t)sizeof(struct pager_msg));
	assert_int_equal(reply->head.id, id);
	if (reply->head.type == PAGER_MSG_ERROR) {
		assert_true(reply->error.code > 0 && *reply->error.text);
		return reply->error.code;
	}
	assert_int_equal(reply->head.type, head->type);
	return 0;
}

struct pager_attach attach_msg(const struct world *w)
{
	struct pager_attach a = { .head.type = PAGER_MSG_ATTACH, .memory_bytes = BYTES, .memfd = 0, .maps = w->guests, .vads = 2 };
	memcpy(a.vm, w->id, 16);
	for (uint32_t i = 0; i < w->guests; i++)
		a.map[i] = (struct pager_map){ .address = w->guest[i].address, .length = BYTES, .fd = 2 + i };
	a.vad[0] = (struct pager_vad){ .kind = PAGER_VAD_ZERO, .pages = HALF };
	a.vad[1] = (struct pager_vad){ .kind = PAGER_VAD_TEMPLATE, .fd = 1, .first_page = HALF, .pages = HALF };
	return a;
}

int attach_as(struct world *w, struct pager_attach *a)
{
	union any reply;
	int fds[4] = { w->memfd, w->image, w->guest[0].uffd, w->guests > 1 ? w->guest[1].uffd : w->memfd };
	return call(w, a, sizeof(*a), fds, 4, &reply);
}

void attach(struct world *w)
{
	struct pager_attach a = attach_msg(w);
	assert_int_equal(attach_as(w, &a), 0);
}

uint64_t range(struct world *w, uint32_t type, uint64_t offset, uint64_t length)
{
	struct pager_range r = { .head.type = type, .offset = offset, .length = length };
	union any reply;
	memcpy(r.vm, w->id, 16);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), 0);
	return reply.done.pages;
}

struct wanted { const char *name; uint64_t value; bool found; };

static void on_metric(void *user, const struct metrics_source *s, const struct prda_reader *r, const struct prda_variable *v)
{
	struct wanted *w = user;
	assert_string_equal(s->program, "pagerd");
	if (strcmp(v->name, w->name))
		return;
	w->found = true;
	for (uint32_t i = v->kind == PRDA_HISTOGRAM; i < v->size / 8; i++)   // of a histogram: how many
		w->value += prda_reader_sum(r, v, i);
}

uint64_t counted(struct world *w, const char *name)
{
	struct err e = ERR_INIT;
	struct wanted wanted = { .name = name };
	struct metrics_view *view = metrics_view_new(w->metrics);
	assert_int_equal(metrics_view_refresh(view, &e), 0);
	assert_int_equal(metrics_view_regions(view), 1);
	metrics_view_read(view, on_metric, &wanted);
	metrics_view_free(view);
	assert_true(wanted.found);
	return wanted.value;
}

struct pager_stats stats(struct world *w)
{
	struct pager_vm_ref r = { .head.type = PAGER_MSG_STATS };
	union any reply;
	memcpy(r.vm, w->id, 16);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), 0);
	return reply.stats;
}

void wait_for(struct world *w, uint64_t resident, uint64_t evicted)
{
	struct pager_stats s = stats(w);
	for (int i = 0; i < 500 && (s.resident_bytes != resident || s.evicted_bytes != evicted); i++, s = stats(w))
		usleep(10000);
	assert_int_equal(s.resident_bytes, resident);
	assert_int_equal(s.evicted_bytes, evicted);
}

static int template_image(void)
{
	int fd = memfd_create("template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t page[512];
	for (uint64_t i = 0; i < HALF; i++) {
		for (uint64_t k = 0; k < 512; k++)
			page[k] = image_word(i, k);
		assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	}
	return fd;
}

struct world open_world_of(uint32_t guests, guest_fn *fn, const char *codec, const struct world_sizes *sizes)
{
	struct world w = { .guests = guests, .id = "pagerd test vm", .sizes = sizes };
	snprintf(w.dir, sizeof(w.dir), "/tmp/bh-pagerd-test-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.control, sizeof(w.control), "%s/control", w.dir);
	snprintf(w.store, sizeof(w.store), "%s/store", w.dir);
	snprintf(w.metrics, sizeof(w.metrics), "%s/metrics", w.dir);
	w.memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(w.memfd, BYTES), 0);
	w.image = template_image();
	for (uint32_t i = 0; i < guests; i++)
		w.guest[i] = guest_start(w.memfd, (int)i, fn);
	pagerd_start(&w, codec);
	return w;
}

struct world open_world(uint32_t guests, guest_fn *fn, const char *codec)
{
	static const struct world_sizes usual;
	return open_world_of(guests, fn, codec, &usual);
}

struct world join_world(const struct world *first, uint8_t number, guest_fn *fn, int side)
{
	struct world w = *first;
	w.id[15] = number;
	w.guests = 1;
	w.memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(w.memfd, BYTES), 0);
	w.guest[0] = guest_start(w.memfd, side, fn);
	return w;
}

void leave_world(struct world *w)
{
	struct pager_vm_ref r = { .head.type = PAGER_MSG_DETACH };
	union any reply;
	memcpy(r.vm, w->id, 16);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), 0);
	close(w->memfd);
}

void close_world(struct world *w)
{
	pagerd_end(w, SIGTERM);
	close(w->memfd);
	close(w->image);
	unlink(w->control);
	unlink(w->store);
	assert_int_equal(dir_remove(w->metrics, NULL), 0);
	assert_int_equal(rmdir(w->dir), 0);
}

void detached(struct world *w)
{
	struct pager_vm_ref r = { .head.type = PAGER_MSG_DETACH };
	struct pager_msg h = { .type = PAGER_MSG_HOST };
	union any reply;
	memcpy(r.vm, w->id, 16);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), 0);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), ENOENT);
	assert_int_equal(call(w, &h, sizeof(h), NULL, 0, &reply), 0);
	assert_int_equal(reply.host.vms, 0);
	assert_int_equal(reply.host.frames_used, 0);
	assert_int_equal(reply.host.store_pages, 0);
}

bool pagerd_testable(void)
{
	int uffd = uffd_open();
	if (uffd < 0 || !getenv("PAGERD")) {
		printf("1..0 # SKIP userfaultfd is not allowed here, or PAGERD is not set\n");
		return false;
	}
	close(uffd);
	signal(SIGPIPE, SIG_IGN);
	return true;
}
