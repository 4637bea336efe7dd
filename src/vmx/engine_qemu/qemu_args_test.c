// SPDX-License-Identifier: Apache-2.0
// Golden pairs: a configuration in, words of QEMU's command line out.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmx/engine_qemu/qemu_args.h"
#include "vmx/vm.h"

static struct vmx_config config(void)
{
	return (struct vmx_config){.userfault_fd = -1, .name = (char *)"ns/pod", .cmdline = (char *)"tsc_early_khz=1000 extra", .vcpus = 1,
				   .memory_mib = 256, .kernel_fd = 40, .initrd_fd = 41, .restore_state_fd = -1};
}

static void build(struct qemu_args *a, const struct vmx_config *c)
{
	struct vm vm = {.config = (struct vmx_config *)c, .ram = {.fd = 42}};
	struct qemu_fds fds = {.initrd = -1, .console = 43, .qmp = 44, .vsock = 45};
	struct err e = ERR_INIT;
	for (int i = 0; i < DISKS_MAX; i++)
		fds.disk[i] = 50 + i;
	*a = (struct qemu_args){.argc = 0};
	if (qemu_args_build(a, &vm, &fds, &e))
		fail_msg("%s", e.text);
}

// The argument behind the n-th option of this name.
static const char *option(const struct qemu_args *a, const char *name, int n)
{
	for (int i = 0; i + 1 < a->argc; i++) {
		if (!strcmp(a->argv[i], name) && !n--)
			return a->argv[i + 1];
	}
	return "(absent)";
}

static void plain(void **state)
{
	(void)state;
	struct vmx_config c = config();
	struct qemu_args a;
	build(&a, &c);
	assert_string_equal(option(&a, "-name", 0), "ns/pod");
	assert_string_equal(option(&a, "-smp", 0), "1");
	assert_string_equal(option(&a, "-m", 0), "256M");
	assert_string_equal(option(&a, "-kernel", 0), "/proc/self/fd/40");
	assert_string_equal(option(&a, "-initrd", 0), "/proc/self/fd/41");
	assert_string_equal(option(&a, "-object", 0), "memory-backend-file,id=ram,size=256M,mem-path=/proc/self/fd/42,share=on");
	assert_string_equal(option(&a, "-device", 0), "vhost-user-vsock-device,id=dev-vsock,chardev=vsock,bus=virtio-mmio-bus.1");
	assert_string_equal(option(&a, "-device", 1), "virtio-balloon-device,id=dev-balloon,free-page-reporting=on,deflate-on-oom=on,"
			    "bus=virtio-mmio-bus.2");
	assert_string_equal(option(&a, "-device", 2), "(absent)");
	assert_string_equal(option(&a, "-plugin", 0), "(absent)");
	const char *append = option(&a, "-append", 0);
	assert_non_null(strstr(append, " noreplace-smp tsc_early_khz=1000 extra"));
	assert_null(strstr(strstr(append, "tsc_early_khz") + 1, "tsc_early_khz"));   // the given value, once
	int kept[] = {42, 43, 44, 45, 40, 41};
	assert_int_equal(a.nkeep, 6);
	assert_memory_equal(a.keep, kept, sizeof(kept));
	assert_null(a.argv[a.argc]);
	qemu_args_fini(&a);
}

static void a_paged_guest_announces_its_memory(void **state)
{
	(void)state;
	struct vmx_config c = config();
	struct vm vm = {.config = &c, .ram = {.fd = 42}, .paging = {.on = true, .device = 30, .plugin = 31}};
	struct qemu_fds fds = {.console = 43, .qmp = 44, .vsock = 45, .pager = 46};
	struct qemu_args a = {.argc = 0};
	struct err e = ERR_INIT;
	assert_int_equal(qemu_args_build(&a, &vm, &fds, &e), 0);
	assert_string_equal(option(&a, "-plugin", 0), "file=/proc/self/fd/31,socket=46,memory=42,device=30");
	const int kept[] = {30, 31, 46};
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		int n = 0;
		for (int k = 0; k < a.nkeep; k++)
			n += a.keep[k] == kept[i];
		assert_int_equal(n, 1);
	}
	qemu_args_fini(&a);
}

static void devices_take_their_slots(void **state)
{
	(void)state;
	struct vmx_config c = config();
	struct qemu_args a;
	c.vcpus = 2;
	c.nnets = NETS_MAX;
	c.ndisks = DISKS_MAX;
	for (int i = 0; i < NETS_MAX; i++) {
		c.net[i].tap_fd[0] = 80 + i;
		strcpy(c.net[i].mac, "02:00:00:00:00:01");
	}
	build(&a, &c);
	assert_string_equal(option(&a, "-netdev", 3), "tap,id=net3,fd=83,vhost=off");
	assert_string_equal(option(&a, "-device", 4),
			    "virtio-net-device,id=dev-net3,netdev=net3,mac=02:00:00:00:00:01,bus=virtio-mmio-bus.6");
	assert_string_equal(option(&a, "-device", 5),
			    "vhost-user-blk,id=dev-disk0,chardev=disk0,num-queues=1,bus=virtio-mmio-bus.7");
	assert_non_null(strstr(option(&a, "-device", 20), "id=dev-disk15,chardev=disk15,num-queues=1,bus=virtio-mmio-bus.22"));
	assert_non_null(strstr(option(&a, "-device", 21), "virtio-balloon-device"));
	assert_string_equal(option(&a, "-device", 22), "(absent)");
	assert_null(strstr(option(&a, "-append", 0), "noreplace-smp"));
	qemu_args_fini(&a);
}

static void a_template_has_no_vsock(void **state)
{
	(void)state;
	struct vmx_config c = config();
	struct qemu_args a;
	c.template = true;
	build(&a, &c);
	assert_non_null(strstr(option(&a, "-device", 0), "virtio-balloon-device"));
	assert_string_equal(option(&a, "-device", 1), "(absent)");
	assert_string_equal(option(&a, "-kernel", 0), "/proc/self/fd/40");
	qemu_args_fini(&a);
}

static void a_clone_waits_for_its_state(void **state)
{
	(void)state;
	struct vmx_config c = config();
	struct qemu_args a;
	c.restore_state_fd = 46;
	c.ndisks = 1;
	build(&a, &c);
	assert_string_equal(option(&a, "-kernel", 0), "(absent)");
	assert_string_equal(option(&a, "-incoming", 0), "defer");
	assert_string_equal(option(&a, "-device", 0), "virtio-scsi-device,id=hp,bus=virtio-mmio-bus.0");
	assert_string_equal(option(&a, "-device", 1), "vhost-user-blk,id=dev-disk0,chardev=disk0,num-queues=1,bus=virtio-mmio-bus.7");
	int kept[] = {42, 43, 44, 45, 50, 46};
	assert_int_equal(a.nkeep, 6);
	assert_memory_equal(a.keep, kept, sizeof(kept));
	qemu_args_fini(&a);
}

static void a_name_cannot_add_options(void **state)
{
	(void)state;
	struct vmx_config c = config();
	struct qemu_args a;
	c.name = (char *)"ns/pod,process=x";
	build(&a, &c);
	assert_string_equal(option(&a, "-name", 0), "ns/pod,,process=x");
	qemu_args_fini(&a);
}

static void frequency_is_measured(void **state)
{
	(void)state;
	struct vmx_config c = config();
	struct qemu_args a;
	c.cmdline = (char *)"";
	struct vm vm = {.config = &c, .ram = {.fd = 42}};
	struct qemu_fds fds = {.initrd = -1, .console = 43};
	struct err e = ERR_INIT;
	a.argc = a.nkeep = 0;
	tsc_mark(&vm.tsc);
	assert_int_equal(qemu_args_build(&a, &vm, &fds, &e), 0);
	const char *at = strstr(option(&a, "-append", 0), " tsc_early_khz=");
	if (tsc_khz_since(&vm.tsc)) {
		assert_non_null(at);
		assert_in_range(strtoul(at + 15, NULL, 10), 500000, 10000000);
	} else {
		assert_null(at);
	}
	qemu_args_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(plain), cmocka_unit_test(a_paged_guest_announces_its_memory),
					   cmocka_unit_test(devices_take_their_slots),
					   cmocka_unit_test(a_template_has_no_vsock), cmocka_unit_test(a_clone_waits_for_its_state),
					   cmocka_unit_test(a_name_cannot_add_options), cmocka_unit_test(frequency_is_measured)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
