// SPDX-License-Identifier: Apache-2.0
// Guest memory that comes from pagerd; see paging.h.
#include "paging.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"
#include "base/own.h"
#include "base/uffd.h"
#include "base/usock.h"
#include "pagerd/proto/engine_msg.h"
#include "virtio/guest_mem.h"
#include "vmx/config.h"

#define PLUGIN "bulkhead-qemu-pager.so"
#define PAGE 4096u

// Beside this program, or where an installation puts it.
static int plugin_open(struct err *e)
{
	char path[PATH_MAX + sizeof(PLUGIN)];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	if (n < 0)
		return err_sys(e, errno, "find this program");
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, PLUGIN);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = open(VMX_PLUGIN_DIR "/" PLUGIN, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open %s, beside bulkhead-vmx or in " VMX_PLUGIN_DIR, PLUGIN) : fd;
}

// Not registered yet: the engine may still put a kernel into memory.
static int own_open(struct paging *p, struct err *e)
{
	int fd = p->device >= 0 ? uffd_open_device(p->device) : uffd_open();
	if (fd < 0)
		return err_sys(e, -fd, "guest memory cannot be paged: userfaultfd");
	p->fds[1] = fd;
	p->memory.fds = 2;
	return 0;
}

int paging_open(struct paging *p, const struct vmx_config *c, const struct guest_ram *ram, bool other_process, struct err *e)
{
	if (!c->paged)
		return 0;
	p->on = true;
	p->ram = ram;
	p->device = c->userfault_fd;
	p->fds[0] = ram->fd;
	p->memory.memory_bytes = ram->size;
	p->memory.fds = 1;
	int rc = own_open(p, e);
	if (!rc && other_process) {
		p->plugin = plugin_open(e);
		rc = p->plugin < 0 ? p->plugin : 0;
	}
	return rc;
}

void paging_close(struct paging *p)
{
	if (!p->on)
		return;
	if (p->watch) {
		close(evwatch_fd(p->watch));
		evloop_remove(p->watch);
	}
	for (unsigned i = 1; i < p->memory.fds; i++)
		close(p->fds[i]);
	own_fd int plugin = take_fd(p->plugin);
	(void)plugin;
	p->watch = NULL;
	p->memory.fds = p->memory.maps = 0;
	p->known = false;
}

static void add_map(struct paging *p, uint64_t address, uint64_t offset, uint64_t length, uint32_t fd)
{
	struct vmx_memory *m = &p->memory;
	m->map[m->maps].address = address;
	m->map[m->maps].offset = offset;
	m->map[m->maps].length = length;
	m->map[m->maps++].fd = fd;
}

int paging_own(struct paging *p, struct err *e)
{
	if (!p->on)
		return 0;
	uint64_t address = (uintptr_t)p->ram->base;
	int rc = uffd_register(p->fds[1], address, p->ram->size);
	if (rc)
		return err_sys(e, -rc, "guest memory cannot be paged: register %llu bytes with userfaultfd",
			       (unsigned long long)p->ram->size);
	add_map(p, address, 0, p->ram->size, 1);
	p->known = p->plugin < 0;
	return 0;
}

// ---- what the engine's process says

static const char *check(const struct paging *p, const struct engine_memory *m, ssize_t len, size_t nfds)
{
	if (len != sizeof(*m) || m->version != ENGINE_MSG_VERSION || nfds != 1)
		return "it is not the message that was expected";
	if (!m->maps || m->maps > VMX_MAPS_MAX - p->memory.maps)
		return "it has too many mappings of the guest's memory, or none";
	for (uint32_t i = 0; i < m->maps; i++) {
		const struct pager_map *g = &m->map[i];
		if ((g->address | g->offset | g->length) % PAGE || !g->length || g->offset > p->ram->size ||
		    g->length > p->ram->size - g->offset)
			return "a mapping lies outside the guest's memory";
	}
	return NULL;
}

static const char *take_announcement(struct paging *p, const struct engine_memory *m, ssize_t len, int uffd, size_t nfds)
{
	const char *why = check(p, m, len, nfds);
	for (uint32_t i = 0; !why && i < m->maps; i++) {
		int rc = uffd_register(uffd, m->map[i].address, m->map[i].length);
		if (rc)
			why = strerror(-rc);
	}
	if (why)
		return why;
	for (uint32_t i = 0; i < m->maps; i++)
		add_map(p, m->map[i].address, m->map[i].offset, m->map[i].length, p->memory.fds);
	p->fds[p->memory.fds++] = uffd;
	return NULL;
}

static void on_announced(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)events;
	struct paging *p = user;
	struct engine_memory m;
	int uffd = -1;
	size_t nfds = 1;
	own_fd int sock = evwatch_fd(w);
	ssize_t n = usock_recv(sock, &m, sizeof(m), &uffd, &nfds);
	evloop_remove(w);
	p->watch = NULL;
	if (!n || n == -ECONNRESET)
		return;   // it ended; whoever watches it says why
	const char *why = take_announcement(p, &m, n, uffd, nfds);
	unsigned char answer = !why;
	if (why) {
		log_error("paging", "the engine's memory cannot be paged: %s", why);
		if (uffd >= 0)
			close(uffd);
	}
	if (!usock_send(sock, &answer, 1, NULL, 0) && !why) {
		p->known = true;
		if (p->on_known)
			p->on_known(p->user);
	}
}

int paging_expect(struct paging *p, struct evloop *l, int sock, struct err *e)
{
	p->watch = evloop_add(l, sock, EPOLLIN, on_announced, p);
	if (p->watch)
		return 0;
	close(sock);
	return err_set(e, ENOMEM, "no memory");
}
