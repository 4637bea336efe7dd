// SPDX-License-Identifier: Apache-2.0
// Making one template; see template_build.h.
#include "template_build.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "pods.h"
#include "template_image.h"
#include "vm.h"

#define WAITING "bulkhead-agent: waiting to be cloned"   // said by src/agent/template.c
#define BOOT_MS 60000
#define POLL_MS 10
#define CONSOLE_MAX (1 << 20)

static void on_end(void *user) { (void)user; }

/* The guest has no vsock yet: its agent says on the console that it waits. */
static int await_agent(struct vm *vm, const char *dir, const volatile int *cancel, struct err *e)
{
	own_free char *path = NULL;
	uint64_t deadline = clock_mono_ns() + BOOT_MS * NS_PER_MS;
	if (asprintf(&path, "%s/console.log", dir) < 0)
		return err_sys(e, ENOMEM, "make a template");
	for (;;) {
		own_buf struct buf text = BUF_INIT;
		if (!file_read(path, CONSOLE_MAX + 1, &text, NULL) && text.data && strstr(text.data, WAITING))
			return 0;
		if (*cancel)
			return err_set(e, ECANCELED, "the template is not wanted any more");
		if (!vm_alive(vm)) {
			char words[256];
			vm_last_words(dir, words, sizeof(words));
			return err_set(e, EIO, "the template's VM ended: %s", words);
		}
		if (clock_mono_ns() > deadline)
			return err_set(e, ETIMEDOUT, "the template's guest was not ready within %d s", BOOT_MS / 1000);
		poll(NULL, 0, POLL_MS);
	}
}

static int create_in(const char *dir, const char *name, struct err *e)
{
	own_free char *path = NULL;
	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return err_sys(e, ENOMEM, "make a template");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, errno, "make %s", path) : fd;
}

static int describe(const struct template_wish *w, const struct host *h, const char *dir, const char *state, const char *memory,
		    const struct template_image_stats *st, struct err *e)
{
	char now[CLOCK_TEXT_MAX] = "";
	clock_text(clock_real_ns(), 0, now);
	own_json json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:I, s:I, s:I}", "version", 1, "key", w->key, "inputs",
				       w->inputs, "engine", h->engine, "vcpus", (int)w->vcpus, "memoryMiB", (int)w->memory_mib, "made", now,
				       "stateSHA256", state, "memorySHA256", memory, "usedBytes", (json_int_t)st->used * 4096,
				       "distinctBytes", (json_int_t)st->distinct * 4096, "fileBytes", (json_int_t)st->file_bytes);
	own_free char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL, *path = NULL;
	if (!text || asprintf(&path, "%s/template.json", dir) < 0)
		return err_sys(e, ENOMEM, "describe a template");
	return file_write_atomic(path, text, strlen(text), 0600, e);
}

static int store(const struct template_wish *w, const struct host *h, const char *dir, int memory_fd, struct err *e)
{
	char state[DIGEST_MAX], memory[DIGEST_MAX];
	struct template_image_stats st;
	own_free char *state_path = NULL, *memory_path = NULL;
	if (asprintf(&state_path, "%s/state", dir) < 0 || asprintf(&memory_path, "%s/memory", dir) < 0)
		return err_sys(e, ENOMEM, "store a template");
	int rc = digest_file(state_path, state, e);
	if (!rc)
		rc = template_image_write(memory_fd, memory_path, memory, &st, e);
	return rc ? rc : describe(w, h, dir, state, memory, &st, e);
}

int template_build(const struct host *h, const struct template_wish *w, const char *dir, const volatile int *cancel,
		   template_progress_fn *progress, void *user, struct err *e)
{
	own_free char *vm_dir = NULL;
	struct vm *vm = NULL;
	if (asprintf(&vm_dir, "%s/vm", dir) < 0)
		return err_sys(e, ENOMEM, "make a template");
	int rc = dir_make(dir, 0700, e);
	own_fd int memory = memfd_create("template-build", MFD_CLOEXEC), state = rc ? -1 : create_in(dir, "state", e);
	if (rc || state < 0)
		return rc ? rc : state;
	struct vm_config c = {.dir = vm_dir, .id = w->key, .name = "template", .vmx_path = h->vmx_path, .guest_dir = h->guest_dir,
			      .engine = h->engine, .vcpus = w->vcpus, .memory_mib = w->memory_mib, .tap_fd = -1, .mac = "", .uid = h->vm_uid_base + w->number,
			      .template = true, .cmdline = TEMPLATE_CMDLINE, .restore_state_fd = -1, .restore_memory_fd = -1};
	progress(user, "boot");
	rc = vm_start(&c, on_end, NULL, &vm, e);
	if (!rc)
		rc = await_agent(vm, vm_dir, cancel, e);
	if (!rc) {
		progress(user, "save");
		rc = vm_save(vm, state, memory, e);
	}
	if (vm && !vm_kill(vm))
		pods_number_hold(h->pods, w->number, vm_gone_fd(vm), "a template");
	vm_close(vm);
	if (!rc) {
		progress(user, "store");
		rc = store(w, h, dir, memory, e);
	}
	return rc ? rc : dir_remove(vm_dir, e);
}
