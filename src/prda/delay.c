// SPDX-License-Identifier: Apache-2.0
// ABI: Linux Documentation/userspace-api/rseq.rst, include/uapi/linux/rseq.h and prctl.h (7.0).
#include "delay.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bulkhead/prda.h"

#define PR_RSEQ_SLICE_EXTENSION_ 79
#define PR_RSEQ_SLICE_EXTENSION_SET_ 2
#define PR_RSEQ_SLICE_EXT_ENABLE_ 1
#define NR_RSEQ_SLICE_YIELD 471
#define SLICE_CTRL_OFFSET 28   // in the 32 bytes that every C library registers

static struct prda_slice_ctrl *kernel_ctrl(void)
{
	return (struct prda_slice_ctrl *)((char *)__builtin_thread_pointer() + __rseq_offset + SLICE_CTRL_OFFSET);
}

static int kernel_enable(void)
{
	if (!prda_have_rseq())
		return -ENXIO;
	return prctl(PR_RSEQ_SLICE_EXTENSION_, PR_RSEQ_SLICE_EXTENSION_SET_, PR_RSEQ_SLICE_EXT_ENABLE_, 0, 0) == 0 ? 0 : -errno;
}

static void kernel_yield(void)
{
	syscall(NR_RSEQ_SLICE_YIELD);
}

const struct prda_slice_ops prda_slice_kernel = { kernel_enable, kernel_ctrl, kernel_yield };
const struct prda_slice_ops *prda_slice = &prda_slice_kernel;

/* 0 unknown, 1 on, -1 not to be had; depth: a handler that interrupts a held-back section must not end it. */
static _Thread_local signed char enabled;
static _Thread_local unsigned char depth;

static bool enable_once(void)
{
	if (enabled == 0) {
		int saved = errno;
		enabled = prda_slice->enable() == 0 ? 1 : -1;
		errno = saved;
	}
	return enabled > 0;
}

bool prda_delay_available(void)
{
	return enable_once();
}

bool prda_delay_begin(void)
{
	if (!enable_once())
		return false;
	if (depth++ == 0)
		prda_slice->ctrl()->request = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return true;
}

bool prda_delay_end(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (--depth > 0)
		return false;
	struct prda_slice_ctrl *c = prda_slice->ctrl();
	c->request = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!c->granted)
		return false;
	int saved = errno;
	prda_slice->yield();
	errno = saved;
	return true;
}
