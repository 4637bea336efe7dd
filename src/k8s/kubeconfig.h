// SPDX-License-Identifier: Apache-2.0
// Reading a kubeconfig: which server, whom to trust, who we are. Certificates and keys that are inside the file are put
// into memory files, because TLS libraries want paths.
#ifndef BH_K8S_KUBECONFIG_H
#define BH_K8S_KUBECONFIG_H

#include <stdbool.h>

#include "base/err.h"

struct kubeconfig {
	char *server;                     // without a slash at its end
	char *ca_path, *cert_path, *key_path, *token, *token_path, *tls_name, *user_name, *password;   // NULL: none
	bool insecure;
	int fds[3];                       // memory files behind the paths; -1
};

int kubeconfig_read(const char *path, struct kubeconfig *out, struct err *e);
void kubeconfig_fini(struct kubeconfig *k);

#endif
