// SPDX-License-Identifier: Apache-2.0
// The least that a filter can be: sees every request and passes it on. What the framework itself costs is measured with
// it (bench/disk-pass); a filter that wants nothing of some kind of request leaves that entry out and costs nothing for it.
#include <bulkhead/iofilter.h>

static const struct iof_setting settings[] = { { NULL, NULL } };

static int pass_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	(void)l;
	(void)s;
	(void)state;
	(void)align;
	(void)e;
	return 0;
}

static int pass_close(struct iof_layer *l, struct err *e)
{
	(void)l;
	(void)e;
	return 0;
}

static void pass_on(struct iof_layer *l, struct iof_req *r) { iof_pass(l, r); }

static const struct iof_filter pass = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "pass", .summary = "passes every request on",
	.order = IOF_CLASS_ANY, .settings = settings, .open = pass_open, .close = pass_close,
	.read = pass_on, .write = pass_on, .flush = pass_on, .discard = pass_on, .write_zeroes = pass_on, .extents = pass_on,
};

IOF_PLUGIN(pass)
