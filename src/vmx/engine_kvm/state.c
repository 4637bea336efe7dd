// SPDX-License-Identifier: Apache-2.0
// The file of a saved VM; see state.h.
#include "state.h"

#include <errno.h>
#include <string.h>

#include "vmx/engine_kvm/arch.h"

#define MAGIC 0x314d564d564b4842ull   // "BHKVMVM1"
#define ALIGN 8u

struct head {
	uint64_t magic;
	uint32_t version, arch;
	struct state_shape shape;
	uint64_t length;              // of the whole file
	uint64_t sum;                 // of everything behind the head
};

struct section_head { uint32_t kind, index; uint64_t len; };   // the bytes follow, padded to ALIGN

static uint64_t checksum(const uint8_t *p, size_t len)
{
	uint64_t sum = 0xcbf29ce484222325ull;   // FNV-1a
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * 0x100000001b3ull;
	return sum;
}

// ---- writing

int state_begin(struct buf *b, const struct state_shape *shape)
{
	struct head h = {.magic = MAGIC, .version = STATE_VERSION, .arch = ARCH_ELF, .shape = *shape};
	return buf_append(b, &h, sizeof(h));
}

int state_add(struct buf *b, enum state_kind kind, uint32_t index, const void *data, size_t len)
{
	static const uint8_t zeros[ALIGN];
	struct section_head h = {.kind = kind, .index = index, .len = len};
	int rc = buf_append(b, &h, sizeof(h));
	if (!rc)
		rc = buf_append(b, data, len);
	return rc ? rc : buf_append(b, zeros, -len % ALIGN);
}

void state_finish(struct buf *b)
{
	struct head h;
	memcpy(&h, b->data, sizeof(h));
	h.length = b->len;
	h.sum = checksum((const uint8_t *)b->data + sizeof(h), b->len - sizeof(h));
	memcpy(b->data, &h, sizeof(h));
}

// ---- reading

static int parse_head(struct head *h, const uint8_t *data, size_t len, struct err *e)
{
	if (len < sizeof(*h))
		return err_set(e, EINVAL, "the saved state is cut off");
	memcpy(h, data, sizeof(*h));
	if (h->magic != MAGIC)
		return err_set(e, EINVAL, "this is no saved state of the KVM engine");
	if (h->arch != ARCH_ELF)
		return err_set(e, EINVAL, "the saved state is of another kind of processor (ELF machine %u)", h->arch);
	if (h->version != STATE_VERSION)
		return err_set(e, EINVAL, "the saved state has version %u, and this vmx restores version %u only; make it again",
			       h->version, STATE_VERSION);
	if (h->length != len)
		return err_set(e, EINVAL, "the saved state has %zu bytes instead of %llu", len, (unsigned long long)h->length);
	if (h->sum != checksum(data + sizeof(*h), len - sizeof(*h)))
		return err_set(e, EINVAL, "the saved state is damaged: its checksum is wrong");
	return 0;
}

int state_parse(struct state *s, const void *bytes, size_t len, struct err *e)
{
	const uint8_t *data = bytes;
	struct head h = {.magic = 0};
	int rc = parse_head(&h, data, len, e);
	if (rc)
		return rc;
	s->shape = h.shape;
	s->n = 0;
	for (size_t at = sizeof(h); at < len;) {
		struct section_head g;
		if (len - at < sizeof(g))
			return err_set(e, EINVAL, "the saved state ends within a section");
		memcpy(&g, data + at, sizeof(g));
		at += sizeof(g);
		if (g.len > len - at || len - at - g.len < -g.len % ALIGN)
			return err_set(e, EINVAL, "the saved state ends within a section");
		size_t there;
		if (state_find(s, g.kind, g.index, &there))
			return err_set(e, EINVAL, "the saved state has section %u.%u twice", g.kind, g.index);
		if (s->n == STATE_SECTIONS_MAX)
			return err_set(e, EINVAL, "the saved state has more than %u sections", STATE_SECTIONS_MAX);
		s->section[s->n++] = (struct state_section){.kind = g.kind, .index = g.index, .data = data + at, .len = g.len};
		at += g.len + -g.len % ALIGN;
	}
	for (unsigned i = 0; i < s->n; i++)
		s->section[i].taken = false;
	return 0;
}

const void *state_find(struct state *s, enum state_kind kind, uint32_t index, size_t *len)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct state_section *g = &s->section[i];
		if (g->kind != (uint32_t)kind || g->index != index)
			continue;
		g->taken = true;
		*len = g->len;
		return g->data;
	}
	return NULL;
}

int state_take(struct state *s, enum state_kind kind, uint32_t index, void *to, size_t len, const char *what, struct err *e)
{
	size_t have = 0;
	const void *data = state_find(s, kind, index, &have);
	if (!data)
		return err_set(e, EINVAL, "the saved state lacks %s %u", what, index);
	if (have != len)
		return err_set(e, EINVAL, "%s %u has %zu bytes in the saved state, not %zu", what, index, have, len);
	memcpy(to, data, len);
	return 0;
}

int state_all_taken(const struct state *s, struct err *e)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct state_section *g = &s->section[i];
		if (g->taken)
			continue;
		if (g->kind == STATE_DEVICE)
			return err_set(e, EINVAL, "a device was saved in slot %u, where this VM has none", g->index);
		return err_set(e, EINVAL, "the saved state has a section (%u.%u) that is not known here", g->kind, g->index);
	}
	return 0;
}
