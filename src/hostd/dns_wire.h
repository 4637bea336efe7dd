// SPDX-License-Identifier: Apache-2.0
// DNS messages (RFC 1035, 2782, 6891): one question in, answers out. Pure; every byte that comes in may be hostile.
#ifndef BH_HOSTD_DNS_WIRE_H
#define BH_HOSTD_DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_MAX 256               // dotted, lower case, no dot at the end, and its NUL
#define DNS_UDP_MAX 1232               // what we send over UDP at most, and say that we take
#define DNS_TCP_MAX 65535

enum { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_AAAA = 28, DNS_SRV = 33, DNS_ANY = 255 };
enum { DNS_OK, DNS_FORMAT_ERROR, DNS_SERVER_FAILURE, DNS_NO_NAME, DNS_NOT_IMPLEMENTED, DNS_REFUSED };

struct dns_question {
	char name[DNS_NAME_MAX];
	uint16_t id, type, class;
	bool recursion, edns;
	size_t udp_max;                    // what the asker takes over UDP
	size_t end;                        // of the question, in the message
};

/* 0; -EINVAL: nothing that can be answered; -EPROTO: answer with DNS_FORMAT_ERROR; -ENOTSUP: DNS_NOT_IMPLEMENTED. */
int dns_question_read(const uint8_t *msg, size_t len, struct dns_question *q);

/* The answer being written. Records that do not fit are left out and the message is marked as cut. */
struct dns_answer {
	uint8_t *data;                     // caller's
	size_t len, max;
	bool edns;
};

/* msg: the question's bytes. max: at least 512. */
void dns_answer_start(struct dns_answer *a, uint8_t *data, size_t max, const uint8_t *msg, const struct dns_question *q);
bool dns_answer_addr(struct dns_answer *a, const char *name, uint32_t ttl, uint32_t addr);
bool dns_answer_name(struct dns_answer *a, const char *name, uint16_t type, uint32_t ttl, const char *target);   // CNAME, PTR, NS
bool dns_answer_srv(struct dns_answer *a, const char *name, uint32_t ttl, uint16_t port, const char *target);
void dns_answer_soa(struct dns_answer *a, const char *zone, uint32_t ttl);         // last: says how long "no" holds
void dns_answer_end(struct dns_answer *a, int code, bool authoritative);

/* Copy the records of type (and the CNAMEs on the way) from another server's answer. Returns its code, or -EPROTO. */
int dns_answer_copy(struct dns_answer *a, const uint8_t *msg, size_t len, uint16_t type);

/* A question for name. Returns its length, 0: name cannot be asked for. */
size_t dns_ask(uint8_t *out, size_t max, uint16_t id, const char *name, uint16_t type);

#endif
