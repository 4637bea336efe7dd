// SPDX-License-Identifier: Apache-2.0
// `bulkhead vm ls`: one line per pod VM; `bulkhead vm console`.
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "cli.h"

static double mib(const json_t *vm, const char *what) { return (double)jpath_int(vm, what, 0) / 1048576; }

static void print_row(const json_t *vm)
{
	const char *stage;
	json_t *ms;
	printf("%-14s %-28s %-6s %-9s %5lld %7lldM %9.1fM %7.1fM %9.1fM %8.1fM %8lld %-15s %-16s ", jpath_str(vm, "namespace", ""), jpath_str(vm, "pod", ""),
	       jpath_str(vm, "engine", ""), jpath_str(vm, "state", ""), jpath_int(vm, "vcpus", 0), jpath_int(vm, "memoryMiB", 0),
	       mib(vm, "residentBytes"), mib(vm, "sharedBytes"), mib(vm, "compressedBytes"), mib(vm, "balloonedBytes"), jpath_int(vm, "pid", 0), jpath_str(vm, "podIP", ""),
	       jpath_str(vm, "start", ""));
	json_object_foreach(json_object_get(vm, "stagesMs"), stage, ms)
		printf("%s=%.0f ", stage, json_number_value(ms));
	putchar('\n');
}

int cmd_vm(struct cli *c)
{
	struct err e = ERR_INIT;
	json_t *out = NULL, *vm;
	size_t i;
	bool follow = cli_flag(c, "-f") || cli_flag(c, "--follow");
	if (c->argc == 2 && !strcmp(c->argv[0], "console"))
		return vm_console(c, c->argv[1], follow);
	if (c->argc != 1 || strcmp(c->argv[0], "ls") || follow)
		return cli_usage("vm ls [--root DIR] [-o json] | vm console [-f] [NAMESPACE/]POD [--root DIR]");
	if (hostd_call(c->root, "GET", "/v1/vms", NULL, NULL, &out, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(out);
		return 0;
	}
	printf("%-14s %-28s %-6s %-9s %5s %8s %10s %8s %10s %9s %8s %-15s %-16s %s\n", "NAMESPACE", "POD", "ENGINE", "STATE", "VCPUS",
	       "MEMORY", "RESIDENT", "SHARED", "COMPRESSED", "BALLOONED", "PID", "IP", "START", "(ms by stage)");
	json_array_foreach(json_object_get(out, "vms"), i, vm)
		print_row(vm);
	json_array_foreach(json_object_get(out, "waiting"), i, vm)   // nobody's yet
		print_row(vm);
	json_decref(out);
	return 0;
}
