// SPDX-License-Identifier: Apache-2.0
// CertificateSigningRequests: who asks is written down by the server; what each of the cluster's signers signs.
#ifndef BH_SERVER_CSR_H
#define BH_SERVER_CSR_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "k8s/kind.h"
#include "server/identity.h"
#include "server/server.h"

#define CSR_CLIENT "kubernetes.io/kube-apiserver-client"
#define CSR_NODE_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define CSR_NODE_SERVING "kubernetes.io/kubelet-serving"

/* Before a change of any object is stored; old NULL: it is new. Other kinds pass. who NULL: the server itself. What a
 * request asks for, and who asked, stay as they were. Returns NULL or a Status. */
json_t *csr_admit(struct server *srv, const struct identity *who, const struct k8s_kind *k, const char *subresource, json_t *obj,
		  const json_t *old);
/* A change of csr/approval is one of status.conditions only. */
void csr_keep_but_conditions(json_t *next, const json_t *cur);

/* What a request says, as far as signers look at it. */
struct csr_info {
	char name[256];                  // common name
	bool one_group;                  // exactly one organization
	char group[256];                 // the first
	bool masters;                    // system:masters is among them
	json_t *sans;                    // owned: array of DNS names and addresses as text
	bool other_sans;                 // names of other kinds
};
int csr_read(const json_t *csr, struct csr_info *out, struct err *e);
void csr_info_fini(struct csr_info *i);

/* -EINVAL: this signer does not sign such a request; e says why. Unknown signers: -ENOENT. */
int csr_check(const json_t *csr, const struct csr_info *i, struct err *e);

/* The certificate, signed by ROOT/pki/ca; PEM, heap. */
int csr_sign(const char *root, const json_t *csr, char **pem, struct err *e);

#endif
