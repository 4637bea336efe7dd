// SPDX-License-Identifier: Apache-2.0
// A virtual machine on KVM; see machine.h.
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/own.h"

static const struct { int cap; const char *what; } needed[] = {
	{KVM_CAP_USER_MEMORY, "user memory"},
	{KVM_CAP_IRQFD, "irqfd"},
	{KVM_CAP_IOEVENTFD, "ioeventfd"},
	{KVM_CAP_IMMEDIATE_EXIT, "immediate exits"},
	{KVM_CAP_MP_STATE, "processor states"},
};

int machine_open(struct machine *m, struct err *e)
{
	own_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open /dev/kvm");
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err_set(e, ENOTSUP, "/dev/kvm speaks version %d of its interface, not %d", version, KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_set(e, ENOTSUP, "this host's KVM lacks %s", needed[i].what);
	}
	int rc = arch_check(fd, e);
	if (rc)
		return rc;
	int size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(e, ENOTSUP, "this host's KVM gives no area for a processor");
	m->run_bytes = (size_t)size;
	m->kvm_fd = take_fd(fd);
	return 0;
}

static int add_memory(struct machine *m, gpa_t at, uint64_t len, uint8_t *host, struct err *e)
{
	struct kvm_userspace_memory_region r = {
		.slot = m->mem.n, .guest_phys_addr = at, .memory_size = len, .userspace_addr = (uintptr_t)host,
	};
	if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &r))
		return err_sys(e, errno, "give the guest its memory");
	m->mem.r[m->mem.n++] = (struct gmem_region){.gpa = at, .len = len, .host = host};
	return 0;
}

static int setup_memory(struct machine *m, uint8_t *ram, uint64_t size, struct err *e)
{
	uint64_t low = size < HOLE_START ? size : HOLE_START;
	int rc = add_memory(m, 0, low, ram, e);
	return rc || low == size ? rc : add_memory(m, HOLE_END, size - low, ram + low, e);
}

static int setup_vcpu(struct machine *m, unsigned n, struct err *e)
{
	struct vcpu *v = &m->vcpu[n];
	*v = (struct vcpu){.m = m, .n = n, .fd = -1};
	m->nvcpus++;
	v->fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, n);
	if (v->fd < 0)
		return err_sys(e, errno, "make processor %u", n);
	void *run = mmap(NULL, m->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return err_sys(e, errno, "map processor %u", n);
	v->run = run;
	return 0;
}

int machine_setup(struct machine *m, void *ram, uint64_t size, unsigned nvcpus, struct err *e)
{
	int rc;
	m->vm_fd = ioctl(m->kvm_fd, KVM_CREATE_VM, 0);
	if (m->vm_fd < 0)
		return err_sys(e, errno, "make a virtual machine");
	if ((rc = arch_setup(m, e)) || (rc = setup_memory(m, ram, size, e)))
		return rc;
	for (unsigned i = 0; i < nvcpus; i++) {
		if ((rc = setup_vcpu(m, i, e)))
			return rc;
	}
	return 0;
}

void machine_close(struct machine *m)
{
	machine_stop(m);
	for (unsigned i = 0; i < m->nvcpus; i++) {
		if (m->vcpu[i].run)
			munmap(m->vcpu[i].run, m->run_bytes);
		if (m->vcpu[i].fd >= 0)
			close(m->vcpu[i].fd);
	}
	m->nvcpus = 0;
	own_fd int vm = take_fd(m->vm_fd), kvm = take_fd(m->kvm_fd);
	(void)vm, (void)kvm;
}

int machine_show(struct machine *m, gpa_t at, void *host, size_t len)
{
	struct kvm_userspace_memory_region r = {.slot = GMEM_REGIONS_MAX, .flags = KVM_MEM_READONLY, .guest_phys_addr = at,
						.memory_size = len, .userspace_addr = (uintptr_t)host};
	if (ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0)
		return -ENOTSUP;
	return ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

int machine_irqfd(struct machine *m, int fd, unsigned line, struct err *e)
{
	struct kvm_irqfd a = {.fd = (uint32_t)fd, .gsi = line};
	return ioctl(m->vm_fd, KVM_IRQFD, &a) ? err_sys(e, errno, "connect interrupt line %u", line) : 0;
}

int machine_ioeventfd(struct machine *m, int fd, gpa_t at, uint32_t v, struct err *e)
{
	struct kvm_ioeventfd a = {.fd = fd, .addr = at, .len = 4, .datamatch = v, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};
	return ioctl(m->vm_fd, KVM_IOEVENTFD, &a) ? err_sys(e, errno, "watch address 0x%llx", (unsigned long long)at) : 0;
}

void machine_edge(struct machine *m, unsigned line)
{
	struct kvm_irq_level l = {.irq = line, .level = 1};
	ioctl(m->vm_fd, KVM_IRQ_LINE, &l);
	l.level = 0;
	ioctl(m->vm_fd, KVM_IRQ_LINE, &l);
}

bool machine_stopping(const struct machine *m) { return __atomic_load_n(&m->stop, __ATOMIC_SEQ_CST); }

int machine_start(struct machine *m, const struct machine_ops *ops, void *user, struct err *e)
{
	m->ops = ops;
	m->user = user;
	for (unsigned i = 0; i < m->nvcpus; i++) {
		int rc = vcpu_start(&m->vcpu[i], e);
		if (rc)
			return rc;
	}
	return 0;
}

void machine_stop(struct machine *m)
{
	__atomic_store_n(&m->stop, true, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_join(&m->vcpu[i]);
	__atomic_store_n(&m->stop, false, __ATOMIC_SEQ_CST);
}
