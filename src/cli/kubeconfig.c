// SPDX-License-Identifier: Apache-2.0
// `bulkhead kubeconfig`: the administrator's kubeconfig, its text or its path.
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "cli.h"

int cmd_kubeconfig(struct cli *c)
{
	struct err e = ERR_INIT;
	char path[4096];
	bool only_path = cli_flag(c, "--path");
	struct buf text = BUF_INIT;
	if (c->argc)
		return cli_usage("kubeconfig [--root DIR] [--path]");
	snprintf(path, sizeof(path), "%s/admin.kubeconfig", c->root);
	if (file_read(path, 1 << 20, &text, &e))
		return cli_fail(&e);
	if (c->json)
		cli_print_json(json_pack("{s:s, s:s%}", "path", path, "kubeconfig", text.data, text.len));
	else if (only_path)
		puts(path);
	else
		fwrite(text.data, 1, text.len, stdout);
	buf_fini(&text);
	return 0;
}
