// SPDX-License-Identifier: Apache-2.0
// Drives the image store from test scripts: image_tool ROOT pull REF... | load PATH [NAME] | find REF | list | rm REF |
// gc BYTES | bench REF | pull-again REF (pulls until it works, each further time on SIGUSR1). Several references are pulled
// at once. AUTH in the environment: docker configuration text.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hostd/image.h"

static volatile int cancelled;

static void on_signal(int sig)
{
	(void)sig;
	cancelled = 1;
}

static int fail(int rc, const struct err *e)
{
	fprintf(stderr, "%s: %s\n", strerrorname_np(-rc), e->text);
	return 1;
}

static void show(const struct image *img)
{
	char *config = json_dumps(json_object_get(img->config, "config"), JSON_COMPACT | JSON_ENCODE_ANY);
	printf("id=%s\nref=%s\nrepo_digest=%s\ndisk=%s\nsize=%llu\nconfig=%s\n", img->id, img->ref, img->repo_digest, img->disk_path,
	       (unsigned long long)img->size_bytes, config ? config : "null");
	free(config);
}

static void progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
	(void)user;
	fprintf(stderr, "progress %s %llu/%llu\n", stage, (unsigned long long)done, (unsigned long long)total);
}

struct job { struct image_store *s; const char *ref; pthread_t thread; int rc; };

static void *pull(void *arg)
{
	struct job *j = arg;
	struct err e = ERR_INIT;
	struct image *img = NULL;
	struct image_pull_opts o = {.auth_json = getenv("AUTH"), .progress = getenv("PROGRESS") ? progress : NULL, .cancel = &cancelled};
	j->rc = image_pull(j->s, j->ref, &o, &img, &e);
	if (j->rc)
		fail(j->rc, &e);
	else
		show(img);
	image_free(img);
	return NULL;
}

static int pull_all(struct image_store *s, char **refs, int n)
{
	struct job jobs[64] = {0};
	int bad = 0;
	for (int i = 0; i < n && i < 64; i++) {
		jobs[i] = (struct job){.s = s, .ref = refs[i]};
		pthread_create(&jobs[i].thread, NULL, pull, &jobs[i]);
	}
	for (int i = 0; i < n && i < 64; i++) {
		pthread_join(jobs[i].thread, NULL);
		bad |= jobs[i].rc != 0;
	}
	return bad;
}

static int pull_again(struct image_store *s, char *ref)
{
	sigset_t usr1;
	int sig;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	while (pull_all(s, &ref, 1))
		sigwait(&usr1, &sig);
	return 0;
}

static int find(struct image_store *s, const char *ref, int times)
{
	struct err e = ERR_INIT;
	uint64_t start = clock_mono_ns();
	for (int i = 0; i < times; i++) {
		struct image *img = NULL;
		int rc = image_find(s, ref, &img, &e);
		if (rc)
			return fail(rc, &e);
		if (times == 1)
			show(img);
		image_free(img);
	}
	if (times > 1)
		printf("%.2f us\n", (double)(clock_mono_ns() - start) / times / 1000);
	return 0;
}

static int print(json_t *list)
{
	json_dumpf(list, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(list);
	return 0;
}

static int command(struct image_store *s, int argc, char **argv)
{
	struct err e = ERR_INIT;
	const char *what = argv[2], *arg = argc > 3 ? argv[3] : NULL;
	struct image_pull_opts o = {.cancel = &cancelled};
	json_t *refs = NULL;
	int rc;
	if (!strcmp(what, "list"))
		return print(image_list(s));
	if (!arg)
		return 2;
	if (!strcmp(what, "pull"))
		return pull_all(s, argv + 3, argc - 3);
	if (!strcmp(what, "pull-again"))
		return pull_again(s, argv[3]);
	if (!strcmp(what, "find"))
		return find(s, arg, 1);
	if (!strcmp(what, "bench"))
		return find(s, arg, 10000);
	if (!strcmp(what, "gc"))
		return printf("%llu\n", (unsigned long long)image_gc(s, strtoull(arg, NULL, 10))) < 0;
	if (!strcmp(what, "rm"))
		return (rc = image_remove(s, arg, &e)) ? fail(rc, &e) : 0;
	if (!strcmp(what, "load"))
		return (rc = image_load(s, arg, argc > 4 ? argv[4] : NULL, &o, &refs, &e)) ? fail(rc, &e) : print(refs);
	return 2;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct image_store *s = NULL;
	log_init("image_tool");
	signal(SIGTERM, on_signal);
	if (argc < 3)
		return 2;
	int rc = image_store_open(argv[1], &s, &e);
	if (rc)
		return fail(rc, &e);
	rc = command(s, argc, argv);
	image_store_close(s);
	return rc;
}
