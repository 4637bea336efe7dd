// SPDX-License-Identifier: Apache-2.0
// `bulkhead image`: what hostd has, pulls and loads.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"

static const char text[] = "image ls | pull REF | load PATH [--name REF] | rm REF   [--root DIR] [-o json]";

struct job { bool json, tty, failed; };

static void on_line(void *user, json_t *line)
{
	struct job *j = user;
	const char *error = jpath_str(line, "error", NULL), *stage = jpath_str(line, "stage", NULL);
	j->failed |= error != NULL;
	if (j->json) {
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
	} else if (error) {
		fprintf(stderr, "%sbulkhead: %s\n", j->tty ? "\r\033[K" : "", error);
	} else if (stage) {
		long long done = jpath_int(line, "done", 0), total = jpath_int(line, "total", 0);
		fprintf(stderr, "%s%s", j->tty ? "\r\033[K" : "", stage);
		if (total > 0)
			fprintf(stderr, " %lld/%lld MiB", done >> 20, total >> 20);
		fputs(j->tty ? "" : "\n", stderr);
	} else {
		size_t i;
		json_t *ref;
		if (j->tty)
			fputs("\r\033[K", stderr);
		if (jpath_str(line, "ref", NULL))
			printf("%s\n", jpath_str(line, "ref", ""));
		json_array_foreach(json_object_get(line, "refs"), i, ref)
			printf("%s\n", json_string_value(ref));
	}
}

static int run_job(struct cli *c, const char *call, const char *key, const char *value, const char *name)
{
	struct err e = ERR_INIT;
	struct job j = {.json = c->json, .tty = isatty(2)};
	char path[8192];
	char *v = curl_easy_escape(NULL, value, 0), *n = name ? curl_easy_escape(NULL, name, 0) : NULL;
	snprintf(path, sizeof(path), "/v1/images/%s?%s=%s%s%s", call, key, v, n ? "&name=" : "", n ? n : "");
	curl_free(v);
	curl_free(n);
	if (hostd_call(c->root, "POST", path, on_line, &j, NULL, &e))
		return cli_fail(&e);
	return j.failed;
}

static int list(struct cli *c)
{
	struct err e = ERR_INIT;
	json_t *out = NULL, *img;
	size_t i;
	if (hostd_call(c->root, "GET", "/v1/images", NULL, NULL, &out, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(out);
		return 0;
	}
	printf("%-60s %-20s %10s\n", "REFERENCE", "IMAGE ID", "SIZE");
	json_array_foreach(json_object_get(out, "images"), i, img) {
		json_t *refs = json_object_get(img, "refs"), *ref;
		size_t k;
		const char *id = jpath_str(img, "id", "");
		json_array_foreach(refs, k, ref)
			printf("%-60s %-20.19s %9.1fM\n", json_string_value(ref), id, (double)jpath_int(img, "sizeBytes", 0) / 1048576);
		if (!json_array_size(refs))
			printf("%-60s %-20.19s %9.1fM\n", "<none>", id, (double)jpath_int(img, "sizeBytes", 0) / 1048576);
	}
	json_decref(out);
	return 0;
}

static int remove_image(struct cli *c, const char *ref)
{
	struct err e = ERR_INIT;
	char path[4096], *escaped = curl_easy_escape(NULL, ref, 0);
	snprintf(path, sizeof(path), "/v1/images?ref=%s", escaped);
	curl_free(escaped);
	if (hostd_call(c->root, "DELETE", path, NULL, NULL, NULL, &e))
		return cli_fail(&e);
	if (c->json)
		cli_print_json(json_pack("{s:s}", "removed", ref));
	return 0;
}

int cmd_image(struct cli *c)
{
	const char *name = cli_option(c, "--name"), *what = c->argc ? c->argv[0] : "";
	if (c->argc == 1 && !strcmp(what, "ls"))
		return list(c);
	if (c->argc == 2 && !strcmp(what, "pull"))
		return run_job(c, "pull", "ref", c->argv[1], NULL);
	if (c->argc == 2 && !strcmp(what, "load")) {
		char full[PATH_MAX];   // hostd has another working directory
		return run_job(c, "load", "path", realpath(c->argv[1], full) ? full : c->argv[1], name);
	}
	if (c->argc == 2 && !strcmp(what, "rm"))
		return remove_image(c, c->argv[1]);
	return cli_usage(text);
}
