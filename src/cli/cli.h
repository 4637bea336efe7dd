// SPDX-License-Identifier: Apache-2.0
// The operator's command: one file per subcommand, no logic of its own.
#ifndef BH_CLI_H
#define BH_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cidr.h"
#include "base/err.h"

struct cli {
	const char *root;      // --root, $BULKHEAD_ROOT or /var/lib/bulkhead
	bool json;             // -o json
	int argc;              // what follows the subcommand, options of all commands removed
	char **argv;
};

struct cli_command {
	const char *name, *usage, *summary;
	int (*run)(struct cli *c);   // exit code
};

int cmd_up(struct cli *c);
int cmd_down(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_vm(struct cli *c);
int cmd_template(struct cli *c);
int cmd_image(struct cli *c);
int cmd_kubeconfig(struct cli *c);
int cmd_backup(struct cli *c);
int cmd_restore(struct cli *c);
int cmd_supervise(struct cli *c);
int cmd_disk(struct cli *c);
int cmd_token(struct cli *c);
int cmd_join(struct cli *c);
int cmd_top(struct cli *c);

/* Exit codes: 0 done, 1 failed (one sentence on stderr), 2 wrong usage. */
int cli_fail(const struct err *e);
int cli_usage(const char *text);
bool cli_flag(struct cli *c, const char *name);                 // takes "--name" out of the arguments
const char *cli_option(struct cli *c, const char *name);        // takes "--name VALUE" or "--name=VALUE"; NULL: absent
void cli_print_json(json_t *j);                                 // steals

/* The folder of programs (build/bin or libexec). Static string. */
const char *cli_bin_dir(void);

/* cluster.c: what `up` chose for this root, ROOT/cluster.json. */
struct cluster {
	char tag[8], address[46], node_name[254], pod_cidr[32];
	char store[512];       // the server's --store; "": its own SQLite file
	char audit_log[512], audit_policy[512];    // the server's --audit-log ("", "off": none) and --audit-policy; absolute
	char cluster_cidr[32], service_cidr[32];   // of all its pods (pod_cidr: of this host's), of its Services
	char server[256];      // of a cluster that this host has joined; "": its own
	unsigned hosts;        // how many there are on this machine, each in a network namespace; 0: the machine is the host
	char host_cidr[32];    // their addresses
	char engine[8];        // what was asked for: "auto", "qemu", "kvm"
	char templates[4];     // "on": pods start from templates; "off"
	char waiting[4];       // how many clones of a template wait for a pod
	uint16_t api_port, kubelet_port;
	unsigned memory_mib;   // what all VMs together may have; 0: what the host has
};
int cluster_load(const char *root, struct cluster *c, struct err *e);                     // -ENOENT: never started
int cluster_choose(const char *root, const struct cluster *wish, struct cluster *c, struct err *e);   // fills what is empty, saves
void cluster_tag(const char *root, char out[8]);                                          // of a new one
void cluster_forget(const char *root);                                                    // gives ports and range free for others

/* vm_console.c: [NAMESPACE/]POD; until the VM ends if it follows. Exit code. */
int vm_console(struct cli *c, const char *name, bool follow);

/* hostd_call.c: the operator's door of hostd. on_line: each line of a long job (borrowed), may be NULL. */
int hostd_call(const char *root, const char *method, const char *path, void (*on_line)(void *user, json_t *line), void *user,
	       json_t **out, struct err *e);

/* engine.c: "kvm" or "qemu", and why KVM is usable or not. May take seconds, once per boot of the machine. */
const char *engine_choose(char *reason, size_t len);

/* up.c */
int up_start_supervisor(const char *root, struct err *e);
/* Until the node is Ready, seen with the node's or the administrator's kubeconfig below config_root, and its hostd answers. */
int up_wait_node(const char *config_root, const char *host_root, const char *node, struct err *e);

/* token.c */
struct k8s_client;
int token_create(struct k8s_client *api, uint64_t ttl_ns, char token[24], struct err *e);
int token_ca_hash(const char *ca_path, char out[72], struct err *e);   // "sha256:..." of its public key

/* join.c: ROOT/bootstrap.kubeconfig. */
int join_write_bootstrap(const char *root, const char *server, const char *ca_path, const char *token, struct err *e);

/* supervise.c */
int supervise_running(const char *root);                        // pid of the supervisor, 0: none

#endif
