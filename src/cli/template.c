// SPDX-License-Identifier: Apache-2.0
// `bulkhead template`: the guests that hostd clones pods' VMs from.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/jpath.h"
#include "cli.h"

static const char text[] = "template ls | build [--vcpus N] [--memory MIB] | rm NAME|all   [--root DIR] [-o json]";

static int list(struct cli *c)
{
	struct err e = ERR_INIT;
	json_t *out = NULL, *t;
	size_t i;
	if (hostd_call(c->root, "GET", "/v1/templates", NULL, NULL, &out, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(out);
		return 0;
	}
	printf("%-14s %-9s %-6s %5s %8s %8s %9s %8s %6s %7s %7s  %s\n", "NAME", "STATE", "ENGINE", "VCPUS", "MEMORY", "USED", "DISTINCT", "FILE", "USERS",
	       "CLONES", "WAITING", "MADE");
	json_array_foreach(json_object_get(out, "templates"), i, t)
		printf("%-14s %-9s %-6s %5lld %7lldM %7.1fM %8.1fM %7.1fM %6lld %7lld %7lld  %s%s\n", jpath_str(t, "name", ""), jpath_str(t, "state", ""),
		       jpath_str(t, "engine", ""), jpath_int(t, "vcpus", 0), jpath_int(t, "memoryMiB", 0),
		       (double)jpath_int(t, "usedBytes", 0) / 1048576, (double)jpath_int(t, "distinctBytes", 0) / 1048576,
		       (double)jpath_int(t, "fileBytes", 0) / 1048576, jpath_int(t, "users", 0), jpath_int(t, "clones", 0), jpath_int(t, "waiting", 0),
		       jpath_str(t, "made", ""), jpath_str(t, "error", ""));
	json_decref(out);
	return 0;
}

struct job { bool json, failed; };

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
		fprintf(stderr, "bulkhead: %s\n", error);
	} else if (stage) {
		fprintf(stderr, "%s\n", stage);
	} else {
		printf("%s\n", jpath_str(line, "template.name", ""));
	}
}

static int build(struct cli *c, const char *vcpus, const char *memory)
{
	struct err e = ERR_INIT;
	struct job j = {.json = c->json};
	char path[256];
	int n = vcpus ? atoi(vcpus) : 1, mib = memory ? atoi(memory) : 0;
	if (n < 1 || n > 32 || (memory && (mib < 64 || mib > 1 << 20)))
		return err_set(&e, EINVAL, "--vcpus is a number from 1 to 32, --memory one from 64 to 1048576 (MiB)"), cli_fail(&e);
	snprintf(path, sizeof(path), "/v1/templates/build?vcpus=%d&memoryMiB=%d", n, mib ? mib : 608);
	if (hostd_call(c->root, "POST", path, on_line, &j, NULL, &e))
		return cli_fail(&e);
	return j.failed;
}

static int remove_template(struct cli *c, const char *name)
{
	struct err e = ERR_INIT;
	char path[4096], *escaped = curl_easy_escape(NULL, name, 0);
	snprintf(path, sizeof(path), "/v1/templates?name=%s", escaped);
	curl_free(escaped);
	return hostd_call(c->root, "DELETE", path, NULL, NULL, NULL, &e) ? cli_fail(&e) : 0;
}

int cmd_template(struct cli *c)
{
	const char *vcpus = cli_option(c, "--vcpus"), *memory = cli_option(c, "--memory");
	const char *what = c->argc ? c->argv[0] : "";
	if (c->argc == 1 && !strcmp(what, "ls"))
		return list(c);
	if (c->argc == 1 && !strcmp(what, "build"))
		return build(c, vcpus, memory);
	if (c->argc == 2 && !strcmp(what, "rm"))
		return remove_template(c, c->argv[1]);
	return cli_usage(text);
}
