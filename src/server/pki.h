// SPDX-License-Identifier: Apache-2.0
// The cluster's own certificates: a certificate authority and what it signs, in ROOT/pki, made when missing, made again
// when they are about to expire or no longer say what they must. EC P-256 keys, files of mode 0600.
#ifndef BH_SERVER_PKI_H
#define BH_SERVER_PKI_H

#include <stddef.h>

#include "base/err.h"

#define PKI_SANS_MAX 16

struct pki_cert {
	const char *base;              // file name without .crt and .key: "server"
	const char *common_name;
	const char *organization;      // NULL: none
	const char *sans[PKI_SANS_MAX];   // names and addresses; ended by NULL; any: a serving certificate, else a client's
};

/* Make ROOT/pki with the certificate authority. */
int pki_ensure_ca(const char *root, struct err *e);
/* Make or renew one certificate and its key. */
int pki_ensure_cert(const char *root, const struct pki_cert *c, struct err *e);
/* sa.key and sa.pub: signs the tokens of service accounts. */
int pki_ensure_sa_key(const char *root, struct err *e);
/* ROOT/file: kubeconfig for https://server with the authority and base's certificate inside. */
int pki_write_kubeconfig(const char *root, const char *file, const char *server, const char *user, const char *base,
			 struct err *e);

#endif
