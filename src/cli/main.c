// SPDX-License-Identifier: Apache-2.0
// bulkhead: the operator's command. Finds the subcommand and takes the common options out of the arguments.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli.h"

static const struct cli_command commands[] = {
	{"up", "up [--address IP] [--port N] [--node-name NAME] [--engine E] [--hosts N] ...", "start a cluster on this machine; idempotent", cmd_up},
	{"join", "join URL --token T --ca-hash H | --ca FILE", "make this machine a host of a cluster", cmd_join},
	{"token", "token create | ls | rm ID", "tokens with which hosts join", cmd_token},
	{"down", "down [--drain] [--purge]", "stop it; --drain: pods end in order first; --purge also removes everything it kept", cmd_down},
	{"doctor", "doctor", "say what this machine offers and what was chosen", cmd_doctor},
	{"vm", "vm ls | console [-f] [NAMESPACE/]POD", "the pod VMs of this host; what a guest's kernel has said", cmd_vm},
	{"top", "top [-n N] [-i SECONDS] [-s rate|name|total] [--all]", "what all programs count: live, or as a table", cmd_top},
	{"template", "template ls | build [--vcpus N] [--memory MIB] | rm NAME|all", "guests that pods' VMs are cloned from", cmd_template},
	{"image", "image ls | pull REF | load PATH [--name REF] | rm REF", "the host's container images", cmd_image},
	{"disk", "disk COMMAND ...", "virtual disks: create, clone, filter, serve, ...", cmd_disk},
	{"kubeconfig", "kubeconfig [--path]", "the administrator's kubeconfig", cmd_kubeconfig},
	{"backup", "backup FILE", "everything that the cluster is, from its running server", cmd_backup},
	{"restore", "restore FILE [--store S]", "fill an empty root from a backup, before the first up", cmd_restore},
	{"supervise", NULL, NULL, cmd_supervise},   // started by up
};

static void help(FILE *to)
{
	fputs("usage: bulkhead COMMAND [--root DIR] [-o json] ...\n\n", to);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i].usage)
			fprintf(to, "  %-62s %s\n", commands[i].usage, commands[i].summary);
	fputs("\nDIR is $BULKHEAD_ROOT or /var/lib/bulkhead unless given. Each DIR is a cluster of its own.\n", to);
}

int cli_fail(const struct err *e)
{
	fprintf(stderr, "bulkhead: %s\n", e->text);
	return 1;
}

int cli_usage(const char *text)
{
	fprintf(stderr, "usage: bulkhead %s\n", text);
	return 2;
}

static void drop(struct cli *c, int at, int count)
{
	memmove(c->argv + at, c->argv + at + count, (size_t)(c->argc - at - count) * sizeof(*c->argv));
	c->argc -= count;
}

bool cli_flag(struct cli *c, const char *name)
{
	for (int i = 0; i < c->argc; i++)
		if (!strcmp(c->argv[i], name)) {
			drop(c, i, 1);
			return true;
		}
	return false;
}

const char *cli_option(struct cli *c, const char *name)
{
	size_t n = strlen(name);
	for (int i = 0; i < c->argc; i++) {
		const char *value = NULL;
		int used = 1;
		if (!strncmp(c->argv[i], name, n) && c->argv[i][n] == '=')
			value = c->argv[i] + n + 1;
		else if (!strcmp(c->argv[i], name) && i + 1 < c->argc)
			value = c->argv[i + 1], used = 2;
		if (value) {
			drop(c, i, used);
			return value;
		}
	}
	return NULL;
}

void cli_print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
}

const char *cli_bin_dir(void)
{
	static char dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	if (n <= 0)
		return ".";
	dir[n] = '\0';
	*strrchr(dir, '/') = '\0';
	return dir;
}

int main(int argc, char **argv)
{
	log_init("bulkhead");
	if (argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		help(argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("bulkhead " BULKHEAD_VERSION);
		return 0;
	}
	struct cli c = {.argc = argc - 2, .argv = argv + 2};
	const struct cli_command *found = NULL;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			found = &commands[i];
	if (!found) {
		fprintf(stderr, "bulkhead: no command \"%s\"; \"bulkhead help\" lists them\n", argv[1]);
		return 2;
	}
	if (found->run == cmd_disk)   // has options of its own, -o among them
		return cmd_disk(&c);
	c.root = cli_option(&c, "--root");
	const char *format = cli_option(&c, "-o");
	if (!c.root)
		c.root = getenv("BULKHEAD_ROOT");
	if (!c.root)
		c.root = "/var/lib/bulkhead";
	if (c.root[0] != '/') {
		fprintf(stderr, "bulkhead: --root needs an absolute path, not \"%s\"\n", c.root);
		return 2;
	}
	if (format && strcmp(format, "json")) {
		fprintf(stderr, "bulkhead: -o knows \"json\" only, not \"%s\"\n", format);
		return 2;
	}
	c.json = format != NULL;
	if (c.argc && (!strcmp(c.argv[0], "--help") || !strcmp(c.argv[0], "-h"))) {
		printf("usage: bulkhead %s\n", found->usage ? found->usage : found->name);
		return 0;
	}
	return found->run(&c);
}
