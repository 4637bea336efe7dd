// SPDX-License-Identifier: Apache-2.0
// The balloon's driver does it: it reports free pages to the host as they become free, and takes pages from the guest
// when the host asks for them. It is loaded when the pod's first container runs.
#include "give_back.h"

#include "agent.h"
#include "base/evloop.h"
#include "control.h"
#include "machine.h"

#define DELAY_MS 1000

static void on_time(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct agent *a = user;
	struct err e = ERR_INIT;
	(void)l, (void)events;
	evloop_timer_set(w, 0, 0);
	if (a->machine->load_module("virtio_balloon", &e))
		control_warn(a->control, "free memory is not given back: %s", e.text);
}

void give_back_later(struct agent *a)
{
	if (!a->give_back)
		a->give_back = evloop_timer(a->loop, DELAY_MS, 0, on_time, a);
}
