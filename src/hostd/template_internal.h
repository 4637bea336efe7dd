// SPDX-License-Identifier: Apache-2.0
// What the files of the templates share: the list (template.c), what is on disk (template_store.c), the operator's view
// (template_admin.c). `lock` guards the list and every template's fields. Building and reading files happens without it, by whoever has
// set `busy` on the template; others wait for `changed`, or boot.
#ifndef BH_HOSTD_TEMPLATE_INTERNAL_H
#define BH_HOSTD_TEMPLATE_INTERNAL_H

#include <pthread.h>

#include "base/clock.h"
#include "template.h"
#include "template_image.h"
#include "template_key.h"
#include "template_set.h"

#define TEMPLATE_NAME_LEN 16               // of the key, in folder names: paths of sockets are short
#define TEMPLATE_SET_FILE "workingset"
#define TEMPLATE_RETRY_NS (60 * NS_PER_S)           // after a build that failed

struct template {
	struct templates *all;
	struct template *next;
	char key[DIGEST_MAX];
	unsigned vcpus, memory_mib;
	bool stored;                       // its folder is there
	bool busy;                         // being built, read or removed
	bool wanted;                       // to be built by the thread
	bool stale;                        // its inputs have changed: goes when nobody uses it
	int state, memory;                 // sealed memfds, owned; -1: not read
	unsigned users, failures;
	uint64_t clones;                   // that came up
	uint64_t last_used_ns, retry_ns;   // monotonic
	char made[CLOCK_TEXT_MAX], why[ERR_TEXT_MAX];
	uint64_t used_bytes, distinct_bytes, file_bytes;
	char digest[DIGEST_MAX];           // of the memory image
	struct template_set set;           // while memory is there
};

struct templates {
	const struct host *host;
	char *dir;                         // ROOT/templates
	struct template_key key;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool started;
	volatile int quit;
	struct template *list;
	void (*notice)(void *user);        // templates_listen
	void *notice_user;
};

// template.c; lock held
void templates_say(struct templates *ts);              // one is ready, or no more
struct template *templates_get(struct templates *ts, unsigned vcpus, unsigned memory_mib, struct err *e);   // with today's key; let go meanwhile
struct template *templates_add(struct templates *ts, const char *key, unsigned vcpus, unsigned memory_mib);
void template_forget(struct template *t);              // its memory
void template_unlist(struct template *t);              // and frees it
char *templates_folder(const struct templates *ts, const char *key);   // heap; NULL: no memory
void template_remove_folder(struct templates *ts, struct template *t);
void templates_retire_others(struct templates *ts, const struct template *but);   // those of the same size that were made of something else

// template_store.c; lock held before and after, and let go meanwhile
bool template_load(struct template *t);                // true: its memory is there
int template_make(struct template *t, template_progress_fn *progress, void *user, struct err *e);
// without it; name: the key, or the name of its folder
int templates_describe(const struct templates *ts, const char *name, json_t **out, struct err *e);
void template_describe(struct template *t, const json_t *o);   // take over what was described

#endif
