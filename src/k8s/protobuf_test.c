// SPDX-License-Identifier: Apache-2.0
#include "protobuf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "golden.h"
#include "kind.h"
#include "schema.h"

/* A message being written; fields are added in the order of the calls. */
static void put_varint(struct buf *b, uint64_t n)
{
	for (; n > 127; n >>= 7)
		buf_append(b, &(uint8_t){(n & 127) | 128}, 1);
	buf_append(b, &(uint8_t){n}, 1);
}

static void put_int(struct buf *b, int number, uint64_t value)
{
	put_varint(b, (uint64_t)number << 3);
	put_varint(b, value);
}

static void put_bytes(struct buf *b, int number, const void *data, size_t len)
{
	put_varint(b, (uint64_t)number << 3 | 2);
	put_varint(b, len);
	buf_append(b, data, len);
}

static void put_text(struct buf *b, int number, const char *text)
{
	put_bytes(b, number, text, strlen(text));
}

static void put_message(struct buf *b, int number, struct buf *inner)   // frees inner
{
	put_bytes(b, number, inner->len ? inner->data : "", inner->len);
	buf_fini(inner);
}

static void put_entry(struct buf *b, int number, const char *key, const char *value)
{
	struct buf entry = BUF_INIT;
	put_text(&entry, 1, key);
	put_text(&entry, 2, value);
	put_message(b, number, &entry);
}

/* Wrap raw (freed) as a body. */
static struct buf envelope(const char *api_version, const char *kind, struct buf *raw)
{
	struct buf type = BUF_INIT, body = BUF_INIT;
	put_text(&type, 1, api_version);
	put_text(&type, 2, kind);
	buf_append(&body, "k8s\0", 4);
	put_message(&body, 1, &type);
	put_message(&body, 2, raw);
	put_text(&body, 3, "");
	put_text(&body, 4, "");
	return body;
}

/* Decode body (freed) and compare. */
static void expect(struct buf body, const char *want)
{
	json_t *obj = NULL;
	struct err e = ERR_INIT;
	if (k8s_protobuf_decode(body.data, body.len, &obj, &e))
		fail_msg("%s", e.text);
	json_t *wanted = golden_parse(want);
	if (!json_equal(obj, wanted))
		fail_msg("%s", json_dumps(obj, JSON_SORT_KEYS));
	json_decref(wanted);
	json_decref(obj);
	buf_fini(&body);
}

static void test_configmap(void **state)
{
	(void)state;
	struct buf raw = BUF_INIT, meta = BUF_INIT, empty = BUF_INIT;
	put_text(&meta, 1, "cm");
	put_text(&meta, 2, "");
	put_message(&meta, 8, &empty);   // the zero time
	put_entry(&meta, 11, "app", "x");
	put_text(&meta, 4000, "of a newer release");
	put_message(&raw, 1, &meta);
	put_entry(&raw, 2, "k", "v");
	put_entry(&raw, 2, "empty", "");
	put_entry(&raw, 3, "bin", "\x01\xff");
	put_int(&raw, 4, 1);
	expect(envelope("v1", "ConfigMap", &raw),
	       "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'cm','generateName':'','labels':{'app':'x'}},"
	       "'data':{'k':'v','empty':''},'binaryData':{'bin':'Af8='},'immutable':true}");
}

/* What JSON has at one level and the binary form inside another message: volume sources, probes; quantities, int-or-string. */
static void test_pod(void **state)
{
	(void)state;
	struct buf raw = BUF_INIT, spec = BUF_INIT, volume = BUF_INIT, source = BUF_INIT, dir = BUF_INIT, limit = BUF_INIT,
		   c = BUF_INIT, probe = BUF_INIT, handler = BUF_INIT, http = BUF_INIT, port = BUF_INIT, resources = BUF_INIT,
		   quantity = BUF_INIT, entry = BUF_INIT;
	put_text(&limit, 1, "64Mi");
	put_text(&dir, 1, "Memory");
	put_message(&dir, 2, &limit);
	put_message(&source, 2, &dir);
	put_text(&volume, 1, "v");
	put_message(&volume, 2, &source);
	put_int(&port, 1, 1);
	put_text(&port, 3, "web");
	put_message(&http, 2, &port);
	put_message(&handler, 2, &http);
	put_message(&probe, 1, &handler);
	put_int(&probe, 2, 5);
	put_text(&quantity, 1, "1500m");
	put_text(&entry, 1, "cpu");
	put_message(&entry, 2, &quantity);
	put_message(&resources, 1, &entry);
	put_text(&c, 1, "c");
	put_text(&c, 2, "image");
	put_text(&c, 3, "sh");
	put_text(&c, 3, "-c");
	put_message(&c, 8, &resources);
	put_message(&c, 10, &probe);
	put_message(&spec, 1, &volume);
	put_message(&spec, 2, &c);
	put_int(&spec, 4, 30);
	put_int(&spec, 5, (uint64_t)-7);
	put_message(&raw, 2, &spec);
	expect(envelope("v1", "Pod", &raw),
	       "{'apiVersion':'v1','kind':'Pod','spec':{'volumes':[{'name':'v','emptyDir':{'medium':'Memory','sizeLimit':'64Mi'}}],"
	       "'containers':[{'name':'c','image':'image','command':['sh','-c'],'resources':{'limits':{'cpu':'1500m'}},"
	       "'livenessProbe':{'httpGet':{'port':'web'},'initialDelaySeconds':5}}],"
	       "'terminationGracePeriodSeconds':30,'activeDeadlineSeconds':-7}}");
}

static void test_times_and_lists(void **state)
{
	(void)state;
	struct buf raw = BUF_INIT, spec = BUF_INIT, time = BUF_INIT, options = BUF_INIT;
	put_int(&time, 1, 1700000000);
	put_int(&time, 2, 5000);
	put_text(&spec, 1, "me");
	put_int(&spec, 2, 40);
	put_message(&spec, 4, &time);
	put_message(&raw, 2, &spec);
	expect(envelope("coordination.k8s.io/v1", "Lease", &raw),
	       "{'apiVersion':'coordination.k8s.io/v1','kind':'Lease','spec':{'holderIdentity':'me','leaseDurationSeconds':40,"
	       "'renewTime':'2023-11-14T22:13:20.000005Z'}}");
	put_int(&options, 1, 0);
	put_text(&options, 4, "Background");
	put_text(&options, 5, "All");
	expect(envelope("apps/v1", "DeleteOptions", &options),
	       "{'apiVersion':'apps/v1','kind':'DeleteOptions','gracePeriodSeconds':0,'propagationPolicy':'Background','dryRun':['All']}");
}

static void refuse(struct buf body, int want)
{
	json_t *obj = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(k8s_protobuf_decode(body.data, body.len, &obj, &e), want);
	assert_null(obj);
	assert_true(*e.text);
	buf_fini(&body);
}

static void test_malformed(void **state)
{
	(void)state;
	struct buf raw = BUF_INIT, good = BUF_INIT, meta = BUF_INIT;
	put_text(&raw, 1, "x");
	refuse(envelope("v1", "Nothing", &raw), -ENOTSUP);
	refuse(envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &raw), -ENOTSUP);
	put_int(&raw, 1, 5);                             // metadata as a number
	refuse(envelope("v1", "ConfigMap", &raw), -EINVAL);
	put_text(&meta, 1, "\xff\xfe");                  // not UTF-8
	put_message(&raw, 1, &meta);
	refuse(envelope("v1", "ConfigMap", &raw), -EINVAL);
	buf_append(&raw, "\x0a\x7f", 2);                 // longer than what is there
	refuse(envelope("v1", "ConfigMap", &raw), -EINVAL);
	buf_append(&raw, "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11);   // more than 64 bits
	refuse(envelope("v1", "ConfigMap", &raw), -EINVAL);
	put_entry(&raw, 2, "k", "v");
	good = envelope("v1", "ConfigMap", &raw);
	for (size_t n = 0; n < good.len; n++) {          // every cut of a good one: an answer or a sentence, no crash
		json_t *obj = NULL;
		char copy[256];
		memcpy(copy, good.data, n);
		if (!k8s_protobuf_decode(copy, n, &obj, NULL))
			json_decref(obj);
	}
	buf_fini(&good);
}

static size_t numbered;

static void check_numbers(const struct k8s_schema *s)
{
	const uint16_t *numbers = k8s_protobuf_numbers(s);
	size_t n = 0;
	if (!numbers)
		fail_msg("%s has no numbers", s->name);
	while (numbers[n] != UINT16_MAX)
		n++;
	if (n != s->count)
		fail_msg("%s: %zu fields, %zu numbers", s->name, s->count, n);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++)
			if (numbers[i] && numbers[i] == numbers[j])
				fail_msg("%s: number %d twice", s->name, numbers[i]);
		if (s->fields[i].of)
			check_numbers(s->fields[i].of);
	}
	numbered++;
}

/* Every kind but CustomResourceDefinition and the snapshots, which are custom resources elsewhere, has a binary form, all the
 * way down. */
static void test_complete(void **state)
{
	(void)state;
	size_t n;
	const struct k8s_kind *rows = k8s_kinds(&n);
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].kind, "CustomResourceDefinition") && strcmp(rows[i].group, "snapshot.storage.k8s.io"))
			check_numbers(rows[i].schema);
	assert_true(numbered > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configmap), cmocka_unit_test(test_pod), cmocka_unit_test(test_times_and_lists),
		cmocka_unit_test(test_malformed), cmocka_unit_test(test_complete),
	};
	return cmocka_run_group_tests_name("k8s/protobuf", tests, NULL, NULL);
}
