// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/jpath.h"
#include "vmx/config.h"

struct world { int file, stream, seqpacket, sink; };

static int listener(int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	*w = (struct world){memfd_create("f", 0), listener(SOCK_STREAM), listener(SOCK_SEQPACKET), open("/dev/null", O_WRONLY)};
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	close(w->file), close(w->stream), close(w->seqpacket), close(w->sink);
	free(w);
	return 0;
}

static json_t *good(const struct world *w)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:i, s:i, s:i, s:i, s:[{s:s, s:s, s:b}], s:[{s:i, s:s}]}",
			 "version", 1, "id", "1-2-3", "name", "ns/pod", "engine", "qemu", "vcpus", 2, "memory_mib", 512,
			 "kernel_fd", w->file, "initrd_fd", w->file, "cmdline", "a=b", "control_fd", w->seqpacket, "vsock_fd",
			 w->stream, "console_fd", w->sink, "ready_fd", w->sink, "disks", "serial", "img0", "path", "/a", "read_only",
			 1, "nets", "tap_fd", w->sink, "mac", "02:00:00:00:00:01");
}

static int parse_text(const char *text, struct vmx_config **c, int *ready, struct err *e)
{
	int fd = memfd_create("config", 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	int rc = vmx_config_read(fd, c, ready, e);   // the descriptor stands at its end
	close(fd);
	return rc;
}

static int parse(json_t *o, struct vmx_config **c, int *ready, struct err *e)
{
	char *text = json_dumps(o, 0);
	int rc = parse_text(text, c, ready, e);
	free(text);
	json_decref(o);
	return rc;
}

static void good_is_read(void **state)
{
	struct world *w = *state;
	struct vmx_config *c;
	struct err e = ERR_INIT;
	int ready;
	if (parse(good(w), &c, &ready, &e))
		fail_msg("%s", e.text);
	assert_string_equal(c->name, "ns/pod");
	assert_int_equal(c->vcpus, 2);
	assert_int_equal(c->memory_mib, 512);
	assert_int_equal(c->control_fd, w->seqpacket);
	assert_int_equal(ready, w->sink);
	assert_int_equal(c->ndisks, 1);
	assert_string_equal(c->disk[0].serial, "img0");
	assert_true(c->disk[0].read_only);
	assert_int_equal(c->nnets, 1);
	assert_string_equal(c->net[0].mac, "02:00:00:00:00:01");
	assert_int_equal(c->console_max_bytes, 1 << 20);
	vmx_config_free(c);
}

// One field replaced by a JSON value; the sentence that comes of it.
static const struct { const char *path, *value, *says; } bad[] = {
	{"version", "2", "\"version\" must be a number from 1 to 1"},
	{"vcpus", "0", "\"vcpus\" must be a number from 1 to 32"},
	{"vcpus", "\"2\"", "\"vcpus\" must be a number"},
	{"memory_mib", "31", "\"memory_mib\" must be a number from 32 to 1048576"},
	{"memory_mib", "1e3", "\"memory_mib\" must be a number"},
	{"name", "7", "\"name\" must be a text of at most 512 bytes"},
	{"cmdline", "\"a\\nb\"", "\"cmdline\" must be a text without control characters"},
	{"id", "\"0123456789012345678901234567890123456789012345678901234567890123456789\"", "\"id\" must be a text"},
	{"kernel_fd", "100000", "\"kernel_fd\" must be the descriptor of a file"},
	{"kernel_fd", "-1", "\"kernel_fd\" must be the descriptor of a file"},
	{"initrd_fd", "0", "\"initrd_fd\" must be the descriptor of a file"},
	{"control_fd", "null", "\"control_fd\" must be a listening SOCK_SEQPACKET socket"},
	{"vsock_fd", "\"x\"", "\"vsock_fd\" must be a listening SOCK_STREAM socket"},
	{"ready_fd", "99999", "\"ready_fd\" must be an open descriptor"},
	{"console_max_bytes", "-1", "\"console_max_bytes\" must be a number"},
	{"uid", "5", "\"gid\" must be given with a uid, and not 0"},
	{"uid", "4294967295", "\"uid\" must be a number"},
	{"disks", "{}", "\"disks\" must be a list of at most 16"},
	{"disks", "[{\"serial\": \"\", \"path\": \"/a\"}]", "disks[0]: configuration: \"serial\" must be a text of 1 to 20 bytes"},
	{"disks", "[{\"serial\": \"a\"}]", "disks[0]: configuration: \"path\" must be a text"},
	{"disks", "[{\"serial\": \"a\", \"path\": \"/a\"}, {\"serial\": \"a\", \"path\": \"/b\"}]", "two disks have the serial \"a\""},
	{"waiting", "true", "\"waiting\" must be said of a saved VM only, without nets"},
	{"paged", "1", "\"paged\" must be true or false"},
	{"userfault_fd", "99999", "\"userfault_fd\" must be an open /dev/userfaultfd"},
	{"nets", "[{\"tap_fd\": 9999, \"mac\": \"02:00:00:00:00:01\"}]", "\"tap_fd\" must be an open descriptor"},
	{"nets", "[{}, {}, {}, {}, {}]", "\"nets\" must be a list of at most 4"},
};

static void bad_fields(void **state)
{
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *o = good(*state);
		struct vmx_config *c = NULL;
		struct err e = ERR_INIT;
		int ready;
		assert_int_equal(jpath_set(o, bad[i].path, json_loads(bad[i].value, JSON_DECODE_ANY, NULL)), 0);
		assert_true(parse(o, &c, &ready, &e) < 0);
		assert_null(c);
		if (!strstr(e.text, bad[i].says))
			fail_msg("%s = %s: %s", bad[i].path, bad[i].value, e.text);
	}
}

static void queues_of_a_tap(void **state)
{
	struct world *w = *state;
	const struct { json_t *queues; const char *says; } tries[] = {
		{json_pack("[i, i]", w->sink, w->file), NULL}, {json_array(), NULL},
		{json_pack("[i, i]", w->sink, 9999), "\"queue_fds\" must be an open descriptor"},
		{json_pack("[s]", "3"), "\"queue_fds\" must be an open descriptor"},
		{json_pack("[i, i, i, i, i, i, i]", 3, 3, 3, 3, 3, 3, 3), "\"queue_fds\" must be a list of at most 6"},
		{json_integer(3), "\"queue_fds\" must be a list of at most 6"},
	};
	for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		json_t *o = good(w);
		struct vmx_config *c = NULL;
		struct err e = ERR_INIT;
		int ready;
		size_t n = json_array_size(tries[i].queues);
		json_object_set_new(json_array_get(json_object_get(o, "nets"), 0), "queue_fds", tries[i].queues);
		int rc = parse(o, &c, &ready, &e);
		if (tries[i].says) {
			assert_true(rc < 0);
			assert_non_null(strstr(e.text, tries[i].says));
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(c->net[0].ntaps, 1 + n);
		assert_int_equal(c->net[0].tap_fd[0], w->sink);
		assert_true(!n || c->net[0].tap_fd[2] == w->file);
		vmx_config_free(c);
	}
}

static void bad_macs(void **state)
{
	static const char *const macs[] = {"", "02:00:00:00:00:0", "02:00:00:00:00:011", "02-00-00-00-00-01", "0g:00:00:00:00:01",
					   "02:00:00:00:00:01,x=y"};
	struct world *w = *state;
	for (unsigned i = 0; i < sizeof(macs) / sizeof(macs[0]); i++) {
		json_t *o = good(w);
		struct vmx_config *c = NULL;
		struct err e = ERR_INIT;
		int ready;
		json_object_set_new(o, "nets", json_pack("[{s:i, s:s}]", "tap_fd", w->sink, "mac", macs[i]));
		assert_true(parse(o, &c, &ready, &e) < 0);
		assert_non_null(strstr(e.text, "\"mac\" must be"));
	}
}

static void not_json(void **state)
{
	static const char *const texts[] = {"", "[]", "{", "null", "{\"version\": 1} x"};
	(void)state;
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct vmx_config *c = NULL;
		struct err e = ERR_INIT;
		int ready = 5;
		assert_true(parse_text(texts[i], &c, &ready, &e) < 0);
		assert_int_equal(ready, -1);
	}
}

static int plug(struct vmx_config *c, const struct world *w, const char *text, struct vmx_file *files, unsigned *n, struct err *e)
{
	int fds[3] = {memfd_create("plug", 0), w->sink, w->file};
	assert_int_equal(write(fds[0], text, strlen(text)), (ssize_t)strlen(text));
	int rc = vmx_config_plug(c, fds, 3, files, n, e);
	close(fds[0]);
	return rc;
}

static void free_files(struct vmx_file *files, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(files[i].path);
}

static void plug_adds_to_what_is_there(void **state)
{
	struct world *w = *state;
	struct vmx_config *c;
	struct vmx_file files[3];
	struct err e = ERR_INIT;
	unsigned n = 0;
	int ready;
	json_t *o = good(w);
	json_object_set_new(o, "nets", json_array());
	json_object_set_new(o, "waiting", json_true());
	json_object_set_new(o, "restore_state_fd", json_integer(w->file));
	json_object_set_new(o, "restore_memory_fd", json_integer(w->file));
	if (parse(o, &c, &ready, &e) ||
	    plug(c, w, "{\"name\": \"ns/new\", \"disks\": [{\"serial\": \"more\", \"path\": \"/b\"}], \"nets\": [{\"tap_fd\": 1, \"mac\": "
		 "\"02:00:00:00:00:02\", \"vnet_hdr\": true}], \"files\": [{\"path\": \"/b\", \"fd\": 2}]}", files, &n, &e))
		fail_msg("%s", e.text);
	assert_string_equal(c->name, "ns/new");
	assert_int_equal(c->ndisks, 2);
	assert_string_equal(c->disk[1].serial, "more");
	assert_int_equal(c->nnets, 1);
	assert_int_equal(c->net[0].tap_fd[0], w->sink);
	assert_true(c->net[0].vnet_hdr);
	assert_int_equal(n, 1);
	assert_string_equal(files[0].path, "/b");
	assert_int_equal(files[0].fd, w->file);
	free_files(files, n);
	vmx_config_free(c);
	o = good(w);
	json_object_set_new(o, "nets", json_array());
	if (parse(o, &c, &ready, &e) || plug(c, w, "{\"name\": \"ns/new\", \"nets\": [{\"tap_fd\": 1, \"queue_fds\": [2, 1], \"mac\": "
					     "\"02:00:00:00:00:02\"}]}", files, &n, &e))
		fail_msg("%s", e.text);
	assert_int_equal(c->net[0].ntaps, 3);
	assert_int_equal(c->net[0].tap_fd[1], w->file);
	assert_int_equal(c->net[0].tap_fd[2], w->sink);
	vmx_config_free(c);
}

static void bad_plugs(void **state)
{
	static const struct { const char *text, *says; } wrong[] = {
		{"[]", "is not a JSON object"},
		{"{", "is not a JSON object"},
		{"{}", "\"name\" must be a text"},
		{"{\"name\": \"a\", \"files\": [{\"path\": \"/b\", \"fd\": 3}]}", "\"fd\" must be the number of a descriptor of this message"},
		{"{\"name\": \"a\", \"files\": [{\"path\": \"/b\", \"fd\": 0}]}", "\"fd\" must be the number"},
		{"{\"name\": \"a\", \"files\": [{\"path\": \"/b\", \"fd\": 1}, {\"fd\": 1}]}", "\"path\" must be a text"},
		{"{\"name\": \"a\", \"nets\": [{\"tap_fd\": -1, \"mac\": \"02:00:00:00:00:02\"}]}", "\"tap_fd\" must be the number"},
		{"{\"name\": \"a\", \"nets\": [{\"tap_fd\": 1, \"mac\": \"x\"}]}", "\"mac\" must be an address"},
		{"{\"name\": \"a\", \"nets\": [{\"tap_fd\": 1, \"queue_fds\": [0], \"mac\": \"02:00:00:00:00:02\"}]}", "\"queue_fds\" must be numbers"},
		{"{\"name\": \"a\", \"nets\": [{\"tap_fd\": 1, \"queue_fds\": [1, \"x\"], \"mac\": \"02:00:00:00:00:02\"}]}", "\"queue_fds\" must be numbers"},
		{"{\"name\": \"a\", \"disks\": [{\"serial\": \"img0\", \"path\": \"/b\"}]}", "two disks have the serial \"img0\""},
	};
	struct world *w = *state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct vmx_config *c;
		struct vmx_file files[3];
		struct err e = ERR_INIT;
		unsigned n = 7;
		int ready;
		assert_int_equal(parse(good(w), &c, &ready, &e), 0);
		assert_true(plug(c, w, wrong[i].text, files, &n, &e) < 0);
		if (!strstr(e.text, wrong[i].says))
			fail_msg("%s: %s", wrong[i].text, e.text);
		free_files(files, n);
		vmx_config_free(c);
	}
}

static void disks_have_an_end(void **state)
{
	struct world *w = *state;
	struct vmx_config *c;
	struct vmx_file files[3];
	struct err e = ERR_INIT;
	unsigned n = 0;
	int ready;
	json_t *all = json_pack("{s:s, s:o}", "name", "a", "disks", json_array());
	for (int i = 0; i < DISKS_MAX; i++) {
		char serial[16];
		snprintf(serial, sizeof(serial), "more%d", i);
		json_array_append_new(json_object_get(all, "disks"), json_pack("{s:s, s:s}", "serial", serial, "path", "/b"));
	}
	char *text = json_dumps(all, 0);
	assert_int_equal(parse(good(w), &c, &ready, &e), 0);
	assert_true(plug(c, w, text, files, &n, &e) < 0);
	assert_non_null(strstr(e.text, "a VM can have 16 disks"));
	free(text);
	json_decref(all);
	vmx_config_free(c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(good_is_read), T(bad_fields), T(queues_of_a_tap), T(bad_macs), T(not_json), T(plug_adds_to_what_is_there), T(bad_plugs),
					   T(disks_have_an_end)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
