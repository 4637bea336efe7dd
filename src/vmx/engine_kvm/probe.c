// SPDX-License-Identifier: Apache-2.0
// Is KVM usable? See probe.h. A guest with memory, a serial port and no device; this thread reads what it says.
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "vmx/engine_kvm/arch.h"
#include "vmx/engine_kvm/bus.h"
#include "vmx/engine_kvm/machine.h"

#define MEMORY (192u << 20)
#define SAID_MAX (1u << 16)

struct probe {
	struct machine machine;
	struct bus bus;
	uint8_t *ram;                 // owned mapping
	int out[2];                   // pipe of the console; owned
	int end_fd[2];                // pipe: one byte, enum machine_end, and a sentence
	char said[SAID_MAX + 1];
	size_t said_len;
};

static void on_port(void *user, uint16_t port, bool write, unsigned len, uint8_t *data)
{
	bus_port(&((struct probe *)user)->bus, port, write, len, data);
}

static void on_mmio(void *user, gpa_t at, bool write, unsigned len, uint8_t *data)
{
	bus_mmio(&((struct probe *)user)->bus, at, write, len, data);
}

static void on_ended(void *user, enum machine_end how, const char *why)
{
	struct probe *p = user;
	char text[192] = {(char)('0' + how)};
	strncpy(text + 1, why, sizeof(text) - 2);
	ssize_t n = write(p->end_fd[1], text, strlen(text));   // does not block: a guest may power off again and again
	(void)n;
}

static void serial_irq(void *user) { machine_edge(&((struct probe *)user)->machine, IRQ_SERIAL); }

static bool take_output(struct probe *p);

static void on_stopping(void *user)
{
	struct probe *p = user;
	struct pollfd f = {p->out[0], POLLIN, 0};
	for (int i = 0; i < 64 && poll(&f, 1, 0) == 1 && take_output(p); i++)
		;
}

static const struct machine_ops ops = {.port = on_port, .mmio = on_mmio, .ended = on_ended, .stopping = on_stopping};

static void probe_free(struct probe *p)
{
	machine_close(&p->machine);
	if (p->ram)
		munmap(p->ram, MEMORY);
	for (int i = 0; i < 2; i++) {
		own_fd int a = p->out[i], b = p->end_fd[i];
		(void)a, (void)b;
	}
	free(p);
}

static int probe_new(struct probe **out, struct err *e)
{
	struct probe *p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, ENOMEM, "no memory");
	*p = (struct probe){.machine = MACHINE_INIT, .out = {-1, -1}, .end_fd = {-1, -1}};
	p->bus.ended = on_ended;
	p->bus.user = p;
	void *ram = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int rc = 0;
	if (ram == MAP_FAILED || pipe2(p->out, O_CLOEXEC) || pipe2(p->end_fd, O_CLOEXEC | O_NONBLOCK))
		rc = err_sys(e, errno, "no memory or descriptors");
	p->ram = ram == MAP_FAILED ? NULL : ram;
	serial_init(&p->bus.serial, p->out[1], serial_irq, p);
	if (!rc && !(rc = machine_open(&p->machine, e)))
		rc = machine_setup(&p->machine, p->ram, MEMORY, 1, e);
	if (rc)
		probe_free(p);
	else
		*out = p;
	return rc;
}

static bool take_output(struct probe *p)
{
	if (p->said_len == SAID_MAX)
		p->said_len = 0;   // the end counts
	ssize_t n = read(p->out[0], p->said + p->said_len, SAID_MAX - p->said_len);
	if (n <= 0)
		return false;
	p->said_len += (size_t)n;
	p->said[p->said_len] = '\0';
	return true;
}

/* Run what was loaded until the guest ends. Returns its enum machine_end, or -errno. */
static int run(struct probe *p, int limit_ms, struct err *e)
{
	int rc = machine_start(&p->machine, &ops, p, e);
	uint64_t until = clock_mono_ns() + (uint64_t)limit_ms * NS_PER_MS;
	struct pollfd f[2] = {{p->out[0], POLLIN, 0}, {p->end_fd[0], POLLIN, 0}};
	char text[256] = "";
	while (!rc && !text[0]) {
		uint64_t now = clock_mono_ns();
		if (now >= until || poll(f, 2, (int)((until - now) / NS_PER_MS) + 1) == 0)
			rc = err_set(e, ETIMEDOUT, "it did not end within %d ms", limit_ms);
		else if (f[0].revents)
			take_output(p);
		else if (f[1].revents && read(p->end_fd[0], text, sizeof(text) - 1) < 0)
			rc = err_sys(e, errno, "read how it ended");
	}
	machine_stop(&p->machine);
	if (rc)
		return rc;
	return text[0] - '0' == MACHINE_FAILED ? err_set(e, EIO, "%s", text + 1) : text[0] - '0';
}

static int run_tiny(int limit_ms, struct err *e)
{
	struct probe *p;
	int rc = probe_new(&p, e);
	if (rc)
		return rc;
	rc = arch_boot_tiny(&p->machine, e);
	if (!rc)
		rc = run(p, limit_ms, e);
	if (rc < 0)
		err_wrap(e, "a guest of eight instructions");
	else
		rc = rc == MACHINE_POWER_OFF ? 0 : err_set(e, EIO, "a guest of eight instructions went astray");
	probe_free(p);
	return rc;
}

static int run_kernel(int kernel_fd, int limit_ms, struct err *e)
{
	struct probe *p;
	struct arch_boot b = {.kernel_fd = kernel_fd, .initrd_fd = -1, .words = ""};
	int rc = probe_new(&p, e);
	if (rc)
		return rc;
	rc = arch_boot(&p->machine, &b, e);
	if (rc) {
		probe_free(p);
		return rc;
	}
	rc = run(p, limit_ms, e);
	if (rc < 0) {
		rc = err_wrap(e, "a stock kernel");
	} else {   // it ends as soon as it has panicked: the rest of its words is in the pipe
		struct pollfd f = {p->out[0], POLLIN, 0};
		while (poll(&f, 1, 0) == 1 && take_output(p))
			;
		rc = strstr(p->said, "Unable to mount root fs") ? 0 :
		     err_set(e, EIO, "a stock kernel ended before it looked for its root file system");
	}
	probe_free(p);
	return rc;
}

int kvm_probe(int kernel_fd, int limit_ms, struct err *e)
{
	int rc = run_tiny(limit_ms, e);
	return rc || kernel_fd < 0 ? rc : run_kernel(kernel_fd, limit_ms, e);
}
