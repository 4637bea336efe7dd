// SPDX-License-Identifier: Apache-2.0
// Makes requests wait: a slow disk on demand.
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <bulkhead/iofilter.h>

struct delay { _Atomic uint64_t ns[IOF_OPS]; };

static const struct iof_setting settings[] = {
	{ "read", "how long reads wait" }, { "write", "how long writes, zeroes and discards wait" }, { "flush", "how long flushes wait" },
	{ NULL, NULL },
};

static int delay_set(struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	struct delay *d = iof_state(l);
	uint64_t rd = 0, wr = 0, fl = 0;
	int rc = iof->setting_ns(s, "read", 0, &rd, e);

	if (rc == 0) rc = iof->setting_ns(s, "write", 0, &wr, e);
	if (rc == 0) rc = iof->setting_ns(s, "flush", 0, &fl, e);
	if (rc < 0) return rc;
	d->ns[IOF_READ] = rd;
	d->ns[IOF_WRITE] = d->ns[IOF_DISCARD] = d->ns[IOF_WRITE_ZEROES] = wr;
	d->ns[IOF_FLUSH] = fl;
	return 0;
}

static int delay_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	(void)align;
	(void)l;
	(void)s;
	*state = calloc(1, sizeof(struct delay));
	return *state ? 0 : iof->error(e, ENOMEM, "no memory");
}

static int delay_close(struct iof_layer *l, struct err *e)
{
	(void)e;
	free(iof_state(l));
	return 0;
}

static void delay_request(struct iof_layer *l, struct iof_req *r)
{
	struct delay *d = iof_state(l);
	uint64_t ns = d->ns[r->op];

	if (ns) iof->after(l, r, ns, iof->pass);
	else iof_pass(l, r);
}

const struct iof_filter delay_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "delay", .summary = "makes requests wait",
	.order = IOF_CLASS_ANY, .settings = settings, .open = delay_open, .close = delay_close, .reconfigure = delay_set,
	.read = delay_request, .write = delay_request, .flush = delay_request, .discard = delay_request, .write_zeroes = delay_request,
};
