// SPDX-License-Identifier: Apache-2.0
// Clones; see clone.h.
#include "clone.h"

#include <errno.h>
#include <unistd.h>

#include "base/own.h"
#include "pager_client.h"

struct clone { int state, memory, image; struct pager_vad vad; struct vm_paging paging; };   // what a clone starts with; owned

static void clone_close(struct clone *k)
{
	own_fd int a = take_fd(k->state), b = take_fd(k->memory), c = take_fd(k->image);
	(void)a, (void)b, (void)c;
}

/* A paged clone gets its working set at once, and from pagerd what it touches beyond; another one gets everything. */
static int clone_open(struct template *t, const struct vm_config *c, bool sampled, struct clone *k, struct err *e)
{
	k->state = template_open_state(t);
	k->memory = c->paging ? template_open_set(t) : template_open_memory(t);
	if (k->state < 0 || k->memory < 0)
		return err_set(e, EIO, "its files cannot be opened");
	if (!c->paging)
		return 0;
	k->image = template_open_memory(t);
	k->vad = (struct pager_vad){.kind = sampled ? PAGER_VAD_TEMPLATE_SINGLE : PAGER_VAD_TEMPLATE, .pages = (uint64_t)c->memory_mib << 8};
	k->paging = *c->paging;
	k->paging.vad = &k->vad;
	k->paging.vads = k->paging.vad_fds = 1;
	k->paging.vad_fd = &k->image;
	return k->image < 0 ? err_set(e, EIO, "its memory cannot be opened") : template_link_to(t, c->dir, e);
}

int clone_start(struct template *t, const struct vm_config *boot, vm_end_fn *on_end, void *user, bool *sampled, struct vm **vm, struct err *e)
{
	struct clone k = {.state = -1, .memory = -1, .image = -1};
	struct vm_config c = *boot;
	bool sample = c.paging && template_wants_sample(t);
	int rc = clone_open(t, &c, sample, &k, e);
	if (!rc) {
		c.restore_state_fd = k.state;
		c.restore_memory_fd = k.memory;
		c.paging = c.paging ? &k.paging : NULL;
		rc = vm_start(&c, on_end, user, vm, e);
	}
	clone_close(&k);
	*sampled = !rc && sample;
	return rc;
}
