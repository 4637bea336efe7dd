// SPDX-License-Identifier: Apache-2.0
// The state of one processor, saved and restored. The processor must not run, and none other of its machine either.
// The order matters. Saving: the processing state first, because asking for it makes KVM deliver what is pending, which
// changes the rest. Restoring: the special registers hold the address of the local APIC, so
// they go before it; the deadline of its timer is a model-specific register, so those go behind it.
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/own.h"
#include "vmx/engine_kvm/machine.h"
#include "vmx/engine_kvm/state.h"
#include "vmx/engine_kvm/x86_64/processor.h"

#define MSRS_MAX 1024
#define MSR_KVM_WALL_CLOCK 0x11
#define MSR_KVM_WALL_CLOCK_NEW 0x4b564d00
#define TSC_KHZ_TOLERANCE 4000   // parts of the frequency: 250 ppm, what guests' clocks correct

struct msrs {                    // a kvm_msrs with room for its entries
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entry[MSRS_MAX];
};

// Registers that KVM hands over in one piece.
static const struct simple {
	enum state_kind kind;
	unsigned long get, set;
	size_t len;
	const char *what;
} simple[] = {
	[STATE_MP] = {STATE_MP, KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state), "the processing state of processor"},
	[STATE_REGS] = {STATE_REGS, KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), "the registers of processor"},
	[STATE_SREGS] = {STATE_SREGS, KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs), "the special registers of processor"},
	[STATE_FPU] = {STATE_FPU, KVM_GET_FPU, KVM_SET_FPU, sizeof(struct kvm_fpu), "the floating point registers of processor"},
	[STATE_XCRS] = {STATE_XCRS, KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), "the extended control registers of processor"},
	[STATE_DEBUG] = {STATE_DEBUG, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs), "the debug registers of processor"},
	[STATE_LAPIC] = {STATE_LAPIC, KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state), "the local APIC of processor"},
	[STATE_EVENTS] = {STATE_EVENTS, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events), "the pending events of processor"},
};
#define SIMPLE_MAX 4096   // bytes of the largest of them

static int get_simple(struct vcpu *v, enum state_kind kind, struct buf *b, struct err *e)
{
	const struct simple *s = &simple[kind];
	uint64_t data[SIMPLE_MAX / 8] = {0};
	if (ioctl(v->fd, s->get, data))
		return err_sys(e, errno, "read %s %u", s->what, v->n);
	return state_add(b, kind, v->n, data, s->len) ? err_set(e, ENOMEM, "no memory") : 0;
}

static int set_simple(struct vcpu *v, enum state_kind kind, struct state *st, struct err *e)
{
	const struct simple *s = &simple[kind];
	uint64_t data[SIMPLE_MAX / 8];
	int rc = state_take(st, kind, v->n, data, s->len, s->what, e);
	if (rc)
		return rc;
	return ioctl(v->fd, s->set, data) ? err_sys(e, errno, "set %s %u", s->what, v->n) : 0;
}

// ---- extended registers; where KVM has none, the floating point registers

static size_t xsave_bytes(const struct machine *m)
{
	int n = ioctl(m->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	if (n > (int)sizeof(struct kvm_xsave))
		return (size_t)n;
	return ioctl(m->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE) > 0 ? sizeof(struct kvm_xsave) : 0;
}

static int get_xsave(struct vcpu *v, struct buf *b, struct err *e)
{
	size_t len = xsave_bytes(v->m);
	if (!len)
		return get_simple(v, STATE_FPU, b, e);
	own_free void *data = calloc(1, len);
	if (!data)
		return err_set(e, ENOMEM, "no memory");
	if (ioctl(v->fd, len > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, data))
		return err_sys(e, errno, "read the extended registers of processor %u", v->n);
	if (state_add(b, STATE_XSAVE, v->n, data, len))
		return err_set(e, ENOMEM, "no memory");
	return ioctl(v->m->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0 ? get_simple(v, STATE_XCRS, b, e) : 0;
}

static int set_xsave(struct vcpu *v, struct state *s, struct err *e)
{
	size_t len = xsave_bytes(v->m), have = 0;
	const void *saved = state_find(s, STATE_XSAVE, v->n, &have);
	if (!saved)
		return set_simple(v, STATE_FPU, s, e);
	if (have < sizeof(struct kvm_xsave) || have > len)
		return err_set(e, EINVAL, "processor %u was saved with %zu bytes of extended registers, and this host has %zu", v->n,
			       have, len);
	own_free void *data = calloc(1, len);
	if (!data)
		return err_set(e, ENOMEM, "no memory");
	memcpy(data, saved, have);
	// The control register says which of them exist, so it goes first.
	int rc = state_find(s, STATE_XCRS, v->n, &have) ? set_simple(v, STATE_XCRS, s, e) : 0;
	if (!rc && ioctl(v->fd, KVM_SET_XSAVE, data))
		rc = err_sys(e, errno, "set the extended registers of processor %u", v->n);
	return rc;
}

// ---- model-specific registers

// Writing this one makes KVM write the time into guest memory. A guest writes it each time it wants that.
static bool is_one_shot(uint32_t msr) { return msr == MSR_KVM_WALL_CLOCK || msr == MSR_KVM_WALL_CLOCK_NEW; }

// Those of KVM's list that this processor has.
static int get_msrs(struct vcpu *v, struct buf *b, struct err *e)
{
	struct { uint32_t n; uint32_t index[MSRS_MAX]; } list = {.n = MSRS_MAX};
	own_free struct msrs *all = calloc(1, sizeof(*all));
	if (!all)
		return err_set(e, ENOMEM, "no memory");
	if (ioctl(v->m->kvm_fd, KVM_GET_MSR_INDEX_LIST, &list))
		return err_sys(e, errno, "ask KVM for its list of model-specific registers");
	unsigned n = 0;
	for (unsigned i = 0; i < list.n; i++) {
		struct { struct kvm_msrs head; struct kvm_msr_entry entry; } one = {
			.head = {.nmsrs = 1}, .entry = {.index = list.index[i]}};
		if (!is_one_shot(list.index[i]) && ioctl(v->fd, KVM_GET_MSRS, &one) == 1)
			all->entry[n++] = one.entry;
	}
	return state_add(b, STATE_MSRS, v->n, all->entry, n * sizeof(all->entry[0])) ? err_set(e, ENOMEM, "no memory") : 0;
}

// A register that cannot be set is an error, unless it has the value already.
static int set_msr(struct vcpu *v, const struct kvm_msr_entry *want, struct err *e)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } one = {.head = {.nmsrs = 1}, .entry = *want};
	one.entry.reserved = 0;
	if (ioctl(v->fd, KVM_SET_MSRS, &one) == 1)
		return 0;
	if (ioctl(v->fd, KVM_GET_MSRS, &one) == 1 && one.entry.data == want->data)
		return 0;
	return err_set(e, EINVAL, "model-specific register 0x%x of processor %u cannot be set to 0x%llx on this host", want->index,
		       v->n, (unsigned long long)want->data);
}

static int set_msrs(struct vcpu *v, struct state *s, struct err *e)
{
	size_t len = 0;
	const struct kvm_msr_entry *m = state_find(s, STATE_MSRS, v->n, &len);
	if (!m || len % sizeof(*m) || len / sizeof(*m) > MSRS_MAX)
		return err_set(e, EINVAL, "the saved state lacks the model-specific registers of processor %u", v->n);
	int rc = 0;
	for (size_t i = 0; i < len / sizeof(*m) && !rc; i++)
		rc = set_msr(v, &m[i], e);
	return rc;
}

// ---- clock

static int set_tsc_khz(struct vcpu *v, struct state *s, struct err *e)
{
	uint32_t saved;
	int rc = state_take(s, STATE_TSC_KHZ, v->n, &saved, sizeof(saved), "the time stamp frequency of processor", e);
	int here = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
	if (rc || here <= 0 || !saved)
		return rc;
	uint32_t off = saved > (uint32_t)here ? saved - (uint32_t)here : (uint32_t)here - saved;
	if (off <= saved / TSC_KHZ_TOLERANCE || !ioctl(v->fd, KVM_SET_TSC_KHZ, saved))
		return 0;
	return err_set(e, EINVAL, "the VM was saved with a time stamp counter of %u kHz, and this host's has %d kHz and cannot be scaled",
		       saved, here);
}

// ---- the whole

int vcpu_save(struct vcpu *v, struct buf *b, struct err *e)
{
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0), rc;
	uint32_t tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	if ((rc = get_simple(v, STATE_MP, b, e)) || (rc = get_simple(v, STATE_REGS, b, e)) ||
	    (rc = get_simple(v, STATE_SREGS, b, e)) || (rc = get_xsave(v, b, e)) || (rc = get_simple(v, STATE_DEBUG, b, e)) ||
	    (rc = get_simple(v, STATE_LAPIC, b, e)) || (rc = get_msrs(v, b, e)) || (rc = get_simple(v, STATE_EVENTS, b, e)))
		return rc;
	return state_add(b, STATE_TSC_KHZ, v->n, &tsc_khz, sizeof(tsc_khz)) ? err_set(e, ENOMEM, "no memory") : 0;
}

int vcpu_restore(struct vcpu *v, struct state *s, struct err *e)
{
	int rc;
	if ((rc = set_tsc_khz(v, s, e)) || (rc = set_simple(v, STATE_MP, s, e)) ||
	    (rc = set_simple(v, STATE_REGS, s, e)) || (rc = set_simple(v, STATE_SREGS, s, e)) || (rc = set_xsave(v, s, e)) ||
	    (rc = set_simple(v, STATE_DEBUG, s, e)) || (rc = set_simple(v, STATE_LAPIC, s, e)) || (rc = set_msrs(v, s, e)) ||
	    (rc = set_simple(v, STATE_EVENTS, s, e)))
		return rc;
	ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0);   // tells a guest with that clock that it was paused; others have no use for it
	return 0;
}
