// SPDX-License-Identifier: Apache-2.0
// A question to the resolver, and the same bytes as a nameserver's answer.
#include <stdlib.h>
#include <string.h>

#include "hostd/dns_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[DNS_UDP_MAX];
	struct dns_question q;
	struct dns_answer a;
	int rc = dns_question_read(data, size, &q);
	if (rc != -22) {
		dns_answer_start(&a, out, rc ? 512 : q.udp_max, data, &q);
		if (!rc) {
			dns_answer_addr(&a, q.name, 5, 1);
			dns_answer_srv(&a, q.name, 5, 80, q.name);
			dns_answer_soa(&a, "cluster.local", 5);
		}
		dns_answer_end(&a, rc ? DNS_FORMAT_ERROR : DNS_OK, true);
		if (a.len > sizeof(out))
			abort();
	}
	uint8_t ask[300];
	size_t n = dns_ask(ask, sizeof(ask), 1, "a.example.org", DNS_A);
	if (dns_question_read(ask, n, &q))
		abort();
	dns_answer_start(&a, out, sizeof(out), ask, &q);
	dns_answer_copy(&a, data, size, DNS_A);
	dns_answer_end(&a, DNS_OK, false);
	if (a.len > sizeof(out))
		abort();
	return 0;
}
