// SPDX-License-Identifier: Apache-2.0
#include "dns_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD 12
#define LABEL_MAX 63
#define JUMPS_MAX 16                   // of compressed names
#define RECORD_HEAD 10                 // type, class, ttl, length
#define OPT 41
#define OPT_LEN 11
#define CLASS_IN 1

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static void set16(uint8_t *p, unsigned v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }

/* The name at *pos; *pos is set behind it. */
static int read_name(const uint8_t *msg, size_t len, size_t *pos, char out[DNS_NAME_MAX])
{
	size_t at = *pos, n = 0;
	bool jumped = false;
	for (unsigned jumps = 0; at < len;) {
		unsigned c = msg[at];
		if ((c & 0xc0) == 0xc0) {
			if (at + 1 >= len || ++jumps > JUMPS_MAX)
				return -EPROTO;
			if (!jumped)
				*pos = at + 2;
			jumped = true;
			at = (size_t)(c & 0x3f) << 8 | msg[at + 1];
			continue;
		}
		if (c > LABEL_MAX || at + 1 + c > len || n + c + 2 > DNS_NAME_MAX)
			return -EPROTO;
		at++;
		if (!c) {
			out[n ? n - 1 : 0] = '\0';
			if (!jumped)
				*pos = at;
			return 0;
		}
		for (unsigned i = 0; i < c; i++) {
			uint8_t b = msg[at + i];
			if (b <= ' ' || b == '.' || b >= 0x7f)
				return -EPROTO;
			out[n++] = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
		}
		out[n++] = '.';
		at += c;
	}
	return -EPROTO;
}

/* Look for EDNS among the records that follow the question. */
static int read_additional(const uint8_t *msg, size_t len, size_t pos, unsigned records, struct dns_question *q)
{
	char name[DNS_NAME_MAX];
	while (records--) {
		if (read_name(msg, len, &pos, name) || pos + RECORD_HEAD > len || pos + RECORD_HEAD + get16(msg + pos + 8) > len)
			return -EPROTO;
		if (get16(msg + pos) == OPT) {
			q->edns = true;
			q->udp_max = get16(msg + pos + 2);
		}
		pos += RECORD_HEAD + get16(msg + pos + 8);
	}
	return 0;
}

int dns_question_read(const uint8_t *msg, size_t len, struct dns_question *q)
{
	struct dns_question out = {.udp_max = 512};
	size_t pos = HEAD;
	if (len < HEAD || (msg[2] & 0x80))     // an answer must never be answered
		return -EINVAL;
	out.id = get16(msg);
	out.recursion = msg[2] & 1;
	out.end = HEAD;
	*q = out;
	if (msg[2] & 0x78)
		return -ENOTSUP;
	if (get16(msg + 4) != 1 || get16(msg + 6) || read_name(msg, len, &pos, out.name) || pos + 4 > len)
		return -EPROTO;
	out.type = get16(msg + pos);
	out.class = get16(msg + pos + 2);
	out.end = pos + 4;
	int rc = read_additional(msg, len, out.end, (unsigned)get16(msg + 8) + get16(msg + 10), &out);
	if (rc)
		return rc;
	if (out.udp_max < 512)
		out.udp_max = 512;
	if (out.udp_max > DNS_UDP_MAX)
		out.udp_max = DNS_UDP_MAX;
	*q = out;
	return 0;
}

/* name as labels; returns the bytes written, 0 when it cannot be. */
static size_t write_name(uint8_t *out, size_t room, const char *name)
{
	size_t n = 0;
	while (*name) {
		size_t c = strcspn(name, ".");
		if (!c || c > LABEL_MAX || n + c + 2 > room || n + c + 2 > 255)
			return 0;
		out[n++] = (uint8_t)c;
		memcpy(out + n, name, c);
		n += c;
		name += c + (name[c] == '.');
	}
	if (n >= room)
		return 0;
	out[n++] = 0;
	return n;
}

void dns_answer_start(struct dns_answer *a, uint8_t *data, size_t max, const uint8_t *msg, const struct dns_question *q)
{
	*a = (struct dns_answer){.data = data, .len = q->end, .max = max - (q->edns ? OPT_LEN : 0), .edns = q->edns};
	memcpy(data, msg, q->end);
	data[2] = (uint8_t)(0x80 | (msg[2] & 0x79));
	data[3] = 0x80;                        // recursion is available
	set16(data + 4, q->end > HEAD);
	memset(data + 6, 0, 6);
}

/* The owner's name, pointing to the question where it is the same as there. */
static size_t write_owner(struct dns_answer *a, const char *name)
{
	char asked[DNS_NAME_MAX];
	size_t pos = HEAD, room = a->max - a->len;
	if (get16(a->data + 4) && !read_name(a->data, a->len, &pos, asked) && !strcmp(asked, name)) {
		if (room < 2)
			return 0;
		set16(a->data + a->len, 0xc000 | HEAD);
		return 2;
	}
	return write_name(a->data + a->len, room, name);
}

/* One record; count: where in the header it is counted. */
static bool write_record(struct dns_answer *a, const char *name, uint16_t type, uint32_t ttl, const uint8_t *body, size_t len, int count)
{
	size_t n = a->len < a->max ? write_owner(a, name) : 0;
	if (!n || a->len + n + RECORD_HEAD + len > a->max) {
		a->data[2] |= 2;               // cut
		return false;
	}
	uint8_t *p = a->data + a->len + n;
	set16(p, type);
	set16(p + 2, CLASS_IN);
	set16(p + 4, ttl >> 16);
	set16(p + 6, ttl & 0xffff);
	set16(p + 8, (unsigned)len);
	memcpy(p + RECORD_HEAD, body, len);
	a->len += n + RECORD_HEAD + len;
	set16(a->data + count, get16(a->data + count) + 1u);
	return true;
}

bool dns_answer_addr(struct dns_answer *a, const char *name, uint32_t ttl, uint32_t addr)
{
	uint8_t body[4];
	set16(body, addr >> 16);
	set16(body + 2, addr & 0xffff);
	return write_record(a, name, DNS_A, ttl, body, 4, 6);
}

bool dns_answer_name(struct dns_answer *a, const char *name, uint16_t type, uint32_t ttl, const char *target)
{
	uint8_t body[DNS_NAME_MAX];
	size_t n = write_name(body, sizeof(body), target);
	return n && write_record(a, name, type, ttl, body, n, 6);
}

bool dns_answer_srv(struct dns_answer *a, const char *name, uint32_t ttl, uint16_t port, const char *target)
{
	uint8_t body[6 + DNS_NAME_MAX] = {0, 0, 0, 100};   // priority 0, weight 100
	size_t n = write_name(body + 6, DNS_NAME_MAX, target);
	set16(body + 4, port);
	return n && write_record(a, name, DNS_SRV, ttl, body, n + 6, 6);
}

void dns_answer_soa(struct dns_answer *a, const char *zone, uint32_t ttl)
{
	uint8_t body[2 * DNS_NAME_MAX + 20] = {0};
	char name[DNS_NAME_MAX + 16];
	snprintf(name, sizeof(name), "ns.dns.%s", zone);
	size_t n = write_name(body, DNS_NAME_MAX, name);
	snprintf(name, sizeof(name), "hostmaster.%s", zone);
	size_t k = n ? write_name(body + n, DNS_NAME_MAX, name) : 0;
	if (!k)
		return;
	const uint32_t numbers[] = {1, 7200, 1800, 86400, ttl};
	for (int i = 0; i < 5; i++) {
		set16(body + n + k + 4 * i, numbers[i] >> 16);
		set16(body + n + k + 4 * i + 2, numbers[i] & 0xffff);
	}
	write_record(a, zone, DNS_SOA, ttl, body, n + k + 20, 8);
}

void dns_answer_end(struct dns_answer *a, int code, bool authoritative)
{
	a->data[2] = (uint8_t)((a->data[2] & ~4) | (authoritative ? 4 : 0));
	a->data[3] = (uint8_t)((a->data[3] & 0xf0) | (code & 15));
	if (!a->edns)
		return;
	uint8_t opt[OPT_LEN] = {0, 0, OPT};    // root name; class: the size that we take
	set16(opt + 3, DNS_UDP_MAX);
	memcpy(a->data + a->len, opt, OPT_LEN);   // max was made smaller by its length
	a->len += OPT_LEN;
	set16(a->data + 10, get16(a->data + 10) + 1u);
}

int dns_answer_copy(struct dns_answer *a, const uint8_t *msg, size_t len, uint16_t type)
{
	char name[DNS_NAME_MAX], target[DNS_NAME_MAX];
	size_t pos = HEAD;
	if (len < HEAD || !(msg[2] & 0x80) || get16(msg + 4) != 1 || read_name(msg, len, &pos, name) || pos + 4 > len)
		return -EPROTO;
	pos += 4;
	for (unsigned i = get16(msg + 6); i; i--) {
		if (read_name(msg, len, &pos, name) || pos + RECORD_HEAD > len)
			return -EPROTO;
		unsigned kind = get16(msg + pos), size = get16(msg + pos + 8);
		uint32_t ttl = (uint32_t)get16(msg + pos + 4) << 16 | get16(msg + pos + 6);
		size_t body = pos + RECORD_HEAD, at = body;
		if (body + size > len)
			return -EPROTO;
		if (kind == DNS_CNAME && !read_name(msg, len, &at, target))
			dns_answer_name(a, name, DNS_CNAME, ttl, target);
		else if (kind == type && (type == DNS_A || type == DNS_AAAA) && size == (type == DNS_A ? 4 : 16))
			write_record(a, name, type, ttl, msg + body, size, 6);
		pos = body + size;
	}
	return msg[3] & 15;
}

size_t dns_ask(uint8_t *out, size_t max, uint16_t id, const char *name, uint16_t type)
{
	uint8_t head[HEAD] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
	size_t n = max > HEAD + 4 ? write_name(out + HEAD, max - HEAD - 4, name) : 0;
	if (!n)
		return 0;
	memcpy(out, head, HEAD);
	set16(out + HEAD + n, type);
	set16(out + HEAD + n + 2, CLASS_IN);
	return HEAD + n + 4;
}
