// SPDX-License-Identifier: Apache-2.0
// Bodies in binary form: the envelope as it came; then as the raw bytes of a kind that the first byte picks, through the
// checks that a decoded object goes through.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "k8s/kind.h"
#include "k8s/protobuf.h"
#include "k8s/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_varint(struct buf *b, size_t n)
{
	for (; n > 127; n >>= 7)
		buf_append(b, &(uint8_t){(n & 127) | 128}, 1);
	buf_append(b, &(uint8_t){n}, 1);
}

static void put_field(struct buf *b, int number, const void *data, size_t len)
{
	put_varint(b, number << 3 | 2);
	put_varint(b, len);
	buf_append(b, data, len);
}

static void decode(const struct k8s_kind *k, const uint8_t *data, size_t size)
{
	struct buf type = BUF_INIT, body = BUF_INIT;
	json_t *obj = NULL;
	struct err e = ERR_INIT;
	char version[256];
	snprintf(version, sizeof(version), "%s%s%s", k->group, *k->group ? "/" : "", k->version);
	put_field(&type, 1, version, strlen(version));
	put_field(&type, 2, k->kind, strlen(k->kind));
	buf_append(&body, "k8s\0", 4);
	put_field(&body, 1, type.data, type.len);
	put_field(&body, 2, data, size);
	if (k8s_protobuf_decode(body.data, body.len, &obj, &e) == 0)
		k8s_decode(k, obj, NULL, &e);
	json_decref(obj);
	buf_fini(&type);
	buf_fini(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n;
	const struct k8s_kind *rows = k8s_kinds(&n);
	json_t *obj = NULL;
	if (k8s_protobuf_decode(data, size, &obj, NULL) == 0)
		json_decref(obj);
	if (size)
		decode(&rows[data[0] % n], data + 1, size - 1);
	return 0;
}
