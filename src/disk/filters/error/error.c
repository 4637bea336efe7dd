// SPDX-License-Identifier: Apache-2.0
// Makes requests fail: the nth, every nth, or at random, before the layers below see them.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bulkhead/iofilter.h>

struct rule {
	int code;
	uint64_t at, every, permille, left, from, to, seen;
	bool op[IOF_OPS];
	unsigned seed;
};

struct error { pthread_mutex_t lock; struct rule rule; };

static const struct iof_setting settings[] = {
	{ "code", "EIO (the default), ENOSPC, ENOMEM, EROFS, ETIMEDOUT" },
	{ "ops", "which requests: letters of r (read), w (write), f (flush), d (discard), z (write-zeroes); all by default" },
	{ "at", "the nth of them" }, { "every", "every nth" }, { "permille", "so many of 1000 at random" }, { "seed", "of the random numbers" },
	{ "count", "so many failures at most" }, { "from", "only requests that touch bytes from here" }, { "to", "up to here" },
	{ NULL, NULL },
};

static int code_of(const char *t)
{
	static const struct { const char *name; int code; } codes[] = {
		{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "ENOMEM", ENOMEM }, { "EROFS", EROFS }, { "ETIMEDOUT", ETIMEDOUT },
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (!strcmp(codes[i].name, t)) return codes[i].code;
	return 0;
}

static int error_set(struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	static const char letters[IOF_OPS + 1] = "rwfdz";
	const char *code = iof->setting(s, "code"), *ops = iof->setting(s, "ops");
	struct error *x = iof_state(l);
	struct rule n = { .code = code ? code_of(code) : EIO };
	uint64_t seed = 0;
	int rc;

	if (!n.code) return iof->error(e, EINVAL, "setting 'code' is '%s', not one of EIO, ENOSPC, ENOMEM, EROFS, ETIMEDOUT", code);
	if (ops && ops[strspn(ops, letters)]) return iof->error(e, EINVAL, "setting 'ops' is '%s', not letters of '%s'", ops, letters);
	for (int i = 0; letters[i]; i++) n.op[i] = !ops || strchr(ops, letters[i]);
	rc = iof->setting_size(s, "at", 0, &n.at, e);
	if (rc == 0) rc = iof->setting_size(s, "every", 0, &n.every, e);
	if (rc == 0) rc = iof->setting_size(s, "permille", 0, &n.permille, e);
	if (rc == 0) rc = iof->setting_size(s, "count", UINT64_MAX, &n.left, e);
	if (rc == 0) rc = iof->setting_size(s, "from", 0, &n.from, e);
	if (rc == 0) rc = iof->setting_size(s, "to", UINT64_MAX, &n.to, e);
	if (rc == 0) rc = iof->setting_size(s, "seed", 1, &seed, e);
	if (rc < 0) return rc;
	n.seed = (unsigned)seed;
	pthread_mutex_lock(&x->lock);
	x->rule = n;
	pthread_mutex_unlock(&x->lock);
	return 0;
}

static int error_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct error *x = calloc(1, sizeof(*x));

	(void)l;
	(void)s;
	(void)align;
	if (!x) return iof->error(e, ENOMEM, "no memory");
	pthread_mutex_init(&x->lock, NULL);
	*state = x;
	return 0;
}

static int error_close(struct iof_layer *l, struct err *e)
{
	struct error *x = iof_state(l);

	(void)e;
	pthread_mutex_destroy(&x->lock);
	free(x);
	return 0;
}

static bool hit(struct rule *x, const struct iof_req *r)
{
	bool h;

	if (!x->op[r->op] || !x->left) return false;
	if (r->op != IOF_FLUSH && (r->off >= x->to || r->off + r->len <= x->from)) return false;
	x->seen++;
	h = x->seen == x->at || (x->every && x->seen % x->every == 0) || (x->permille && (uint64_t)rand_r(&x->seed) % 1000 < x->permille);
	x->left -= h;
	return h;
}

static void error_request(struct iof_layer *l, struct iof_req *r)
{
	struct error *x = iof_state(l);
	int code;
	bool fails;

	pthread_mutex_lock(&x->lock);
	code = x->rule.code;
	fails = hit(&x->rule, r);
	pthread_mutex_unlock(&x->lock);
	if (fails) r->done(r, -code);
	else iof_pass(l, r);
}

const struct iof_filter error_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "error", .summary = "makes requests fail",
	.order = IOF_CLASS_ANY, .settings = settings, .open = error_open, .close = error_close, .reconfigure = error_set,
	.read = error_request, .write = error_request, .flush = error_request, .discard = error_request, .write_zeroes = error_request,
};
