// SPDX-License-Identifier: Apache-2.0
// In a network namespace of its own; skipped where unprivileged ones are forbidden.
#include "netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/proc.h"

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		fd_write_all(fd, text, strlen(text));
		close(fd);
	}
}

static int set_up(void **state)
{
	(void)state;
	char map[64];
	snprintf(map, sizeof(map), "0 %u 1\n", (unsigned)getuid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		printf("1..0 # SKIP no namespaces: %s\n", strerror(errno));
		_exit(77);
	}
	write_text("/proc/self/uid_map", map);
	if (proc_run((const char *[]){"ip", "link", "add", "in0", "type", "veth", "peer", "name", "out0", NULL}, NULL, NULL, NULL,
		     NULL)) {
		printf("1..0 # SKIP no veth\n");
		_exit(77);
	}
	proc_run((const char *[]){"ip", "link", "set", "out0", "up", NULL}, NULL, NULL, NULL, NULL);
	return 0;
}

static void expect(const char *needle, const char *const argv[])
{
	own_buf struct buf out = BUF_INIT;
	assert_int_equal(proc_run(argv, NULL, &out, NULL, NULL), 0);
	if (!strstr(out.data ? out.data : "", needle))
		fail_msg("no '%s' in: %s", needle, out.data ? out.data : "");
}

static Bulkhead__Agent__Interface interface(char *mac, Bulkhead__Agent__Address **a, Bulkhead__Agent__Route **r)
{
	static Bulkhead__Agent__Address v4 = BULKHEAD__AGENT__ADDRESS__INIT, v6 = BULKHEAD__AGENT__ADDRESS__INIT;
	static Bulkhead__Agent__Route net = BULKHEAD__AGENT__ROUTE__INIT, def = BULKHEAD__AGENT__ROUTE__INIT;
	Bulkhead__Agent__Interface i = BULKHEAD__AGENT__INTERFACE__INIT;
	v4.address = "10.9.8.7", v4.prefix_len = 24;
	v6.address = "fd00::7", v6.prefix_len = 64;
	net.destination = "10.200.0.0", net.prefix_len = 16, net.gateway = "10.9.8.2";
	def.gateway = "10.9.8.1";
	a[0] = &v4, a[1] = &v6;
	r[0] = &net, r[1] = &def;
	i.name = "in0", i.mac = mac, i.mtu = 1400;
	i.addresses = a, i.n_addresses = 2;
	i.routes = r, i.n_routes = 2;
	return i;
}

static void test_set_up_and_again(void **state)
{
	(void)state;
	Bulkhead__Agent__Address *a[2];
	Bulkhead__Agent__Route *r[2];
	Bulkhead__Agent__Interface i = interface("02:00:00:00:00:42", a, r);
	struct err e = ERR_INIT;
	for (int n = 0; n < 2; n++) {
		assert_int_equal(netlink_set_interface(&i, &e), 0);
		expect("02:00:00:00:00:42", (const char *[]){"ip", "link", "show", "in0", NULL});
		expect("mtu 1400", (const char *[]){"ip", "link", "show", "in0", NULL});
		expect("inet 10.9.8.7/24", (const char *[]){"ip", "addr", "show", "in0", NULL});
		expect("inet6 fd00::7/64", (const char *[]){"ip", "addr", "show", "in0", NULL});
		expect("default via 10.9.8.1", (const char *[]){"ip", "route", NULL});
		expect("10.200.0.0/16 via 10.9.8.2", (const char *[]){"ip", "route", NULL});
	}
	i.name = "eth0";   // found by its MAC address, renamed
	assert_int_equal(netlink_set_interface(&i, &e), 0);
	expect("default via 10.9.8.1 dev eth0", (const char *[]){"ip", "route", NULL});
	i.name = "in0";
	assert_int_equal(netlink_set_interface(&i, &e), 0);
}

static void expect_refused(Bulkhead__Agent__Interface *i, int code, const char *text)
{
	struct err e = ERR_INIT;
	assert_int_equal(netlink_set_interface(i, &e), -code);
	assert_string_equal(e.text, text);
}

static void test_refused(void **state)
{
	(void)state;
	Bulkhead__Agent__Address *a[2];
	Bulkhead__Agent__Route *r[2];
	Bulkhead__Agent__Interface i = interface("02:00:00:00:00:42", a, r);
	i.mac = "02:00:00:00:00";
	expect_refused(&i, EINVAL, "'02:00:00:00:00' is not a MAC address");
	i.mac = "03:00:00:00:00:42";
	expect_refused(&i, EINVAL, "MAC address 03:00:00:00:00:42 is a multicast address");
	i.mac = "02:00:00:00:00:99", i.name = "none0";
	expect_refused(&i, ENODEV, "the VM has no network interface 'none0'");
	i.name = "a-name-that-is-too-long";
	expect_refused(&i, EINVAL, "'a-name-that-is-too-long' is not an interface name");
	i.name = "in0", i.mac = "02:00:00:00:00:42";
	a[0]->address = "10.0.0";
	expect_refused(&i, EINVAL, "'10.0.0' is not an IP address");
	a[0]->address = "10.9.8.7", a[0]->prefix_len = 33;
	expect_refused(&i, EINVAL, "prefix length 33 of 10.9.8.7 is above 32");
	a[0]->prefix_len = 24, r[0]->gateway = "fd00::1";
	expect_refused(&i, EINVAL, "route to '10.200.0.0/16' by 'fd00::1' makes no sense");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_up_and_again), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
