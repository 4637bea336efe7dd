// SPDX-License-Identifier: Apache-2.0
#include "disk/registry.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "disk/disk_internal.h"

#define PLUGIN_PATH_DEFAULT "/usr/lib/bulkhead/filters:/usr/local/lib/bulkhead/filters"

extern const struct iof_filter cache_filter, cbt_filter, checksum_filter, compress_filter, delay_filter, encrypt_filter, error_filter,
	link_filter, powercut_filter, replicate_filter, stats_filter, throttle_filter;

static const struct iof_filter *const builtin[] = {
	&cache_filter, &cbt_filter, &checksum_filter, &compress_filter, &delay_filter, &encrypt_filter, &error_filter, &link_filter, &powercut_filter, &replicate_filter, &stats_filter, &throttle_filter, NULL,
};

struct plugin { struct plugin *next; const struct iof_filter *filter; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct plugin *plugins;   // loaded; stay for the life of the process

const struct iof_filter *const *registry_builtin(void) { return builtin; }

typedef const struct iof_filter *entry_fn(const struct iof_host *);

static const char *load(const char *file, const struct iof_filter **out)
{
	void *so = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const struct iof_filter *f;
	entry_fn *entry;

	if (!so) return "it cannot be loaded";
	entry = (entry_fn *)dlsym(so, IOF_PLUGIN_ENTRY);
	if (!entry) return "it has no function " IOF_PLUGIN_ENTRY;
	f = entry(&host_table);
	if (!f) return "it was made for another version of the filter ABI";
	if (f->abi != IOF_ABI_VERSION || f->size != sizeof(*f)) return "it was made for another version of the filter ABI";
	if (!f->name || !f->settings || !f->open || !f->close) return "its table of functions is incomplete";
	*out = f;
	return NULL;
}

#define LOAD_REFUSED 77   // exit code of the child: no crash, load() says why

/* Load it in a child first: one that crashes takes the child with it. */
static const char *try_load(const char *file)
{
	const struct iof_filter *f;
	int status;
	pid_t pid = fork();

	if (pid < 0) return "no process could be made to try it";
	if (pid == 0) {
		alarm(10);
		_exit(load(file, &f) ? LOAD_REFUSED : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) return NULL;   // somebody else reaps our children; load() tells the rest
	return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == LOAD_REFUSED) ? NULL : "it crashes when it is loaded";
}

static int plugin_load(const char *type, const char *file, const struct iof_filter **out, struct err *e)
{
	const char *why = try_load(file);
	const struct iof_filter *f = NULL;
	struct plugin *p;

	if (!why) why = load(file, &f);
	if (!why && strcmp(f->name, type)) why = "it is a filter of another name";
	if (why) return err_set(e, ELIBBAD, "plug-in '%s' is refused: %s", file, why);
	p = malloc(sizeof(*p));
	if (!p) return err_set(e, ENOMEM, "no memory for a plug-in");
	p->filter = *out = f;
	p->next = plugins;
	plugins = p;
	return 0;
}

static int plugin_find(const char *type, const struct iof_filter **out, struct err *e)
{
	const char *path = secure_getenv("BULKHEAD_FILTER_PATH");
	own_free char *dirs = strdup(path ? path : PLUGIN_PATH_DEFAULT);
	char *save = NULL;

	for (struct plugin *p = plugins; p; p = p->next)
		if (!strcmp(p->filter->name, type)) {
			*out = p->filter;
			return 0;
		}
	for (char *dir = dirs ? strtok_r(dirs, ":", &save) : NULL; dir; dir = strtok_r(NULL, ":", &save)) {
		own_free char *file = NULL;

		if (asprintf(&file, "%s/%s.so", dir, type) < 0) return err_set(e, ENOMEM, "no memory for a plug-in");
		if (access(file, F_OK) == 0) return plugin_load(type, file, out, e);
	}
	return err_set(e, ENOENT, "there is no filter '%s', built in or in %s", type, path ? path : PLUGIN_PATH_DEFAULT);
}

int registry_find(const char *type, const struct iof_filter **f, struct err *e)
{
	int rc;

	for (const struct iof_filter *const *b = builtin; *b; b++)
		if (!strcmp((*b)->name, type)) {
			*f = *b;
			return 0;
		}
	if (strchr(type, '/')) return err_set(e, EINVAL, "'%s' is not a filter type", type);
	pthread_mutex_lock(&lock);
	rc = plugin_find(type, f, e);
	pthread_mutex_unlock(&lock);
	return rc;
}
