// SPDX-License-Identifier: Apache-2.0
// A certificate signing request: what signers look at in it, and whether each of them would sign it.
#include <stdint.h>
#include <stdlib.h>

#include "k8s/base64.h"
#include "server/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const signers[] = { CSR_CLIENT, CSR_NODE_CLIENT, CSR_NODE_SERVING, "example.com/other" };
	char *request = base64_encode(data, size);

	for (size_t i = 0; i < 4 && request; i++) {
		json_t *csr = json_pack("{s:s,s:s,s:{s:s},s:{s:s,s:s,s:s,s:[s],s:[s,s]}}", "kind", "CertificateSigningRequest", "apiVersion",
					"certificates.k8s.io/v1", "metadata", "name", "x", "spec", "request", request, "signerName", signers[i],
					"username", "system:node:n", "groups", "system:nodes", "usages", "client auth", "digital signature");
		struct csr_info info = { 0 };
		struct err e = ERR_INIT;
		if (csr_read(csr, &info, &e) == 0) {
			csr_check(csr, &info, &e);
			csr_info_fini(&info);
		}
		json_decref(csr);
	}
	free(request);
	return 0;
}
