// SPDX-License-Identifier: Apache-2.0
// Which lines take portmap's base chains away. The samples are what iptables 1.8.9 lists.
#include "netw_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define POLICIES "-P PREROUTING ACCEPT\n-P INPUT ACCEPT\n-P OUTPUT ACCEPT\n-P POSTROUTING ACCEPT\n"
#define CHAINS "-N CNI-HOSTPORT-DNAT\n-N CNI-HOSTPORT-MASQ\n-N CNI-HOSTPORT-SETMARK\n"
#define JUMPS "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n" \
	"-A POSTROUTING -m comment --comment \"CNI portfwd requiring masquerade\" -j CNI-HOSTPORT-MASQ\n"
#define STATIC "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE\n" \
	"-A CNI-HOSTPORT-SETMARK -m comment --comment \"CNI portfwd masquerade mark\" -j MARK --set-xmark 0x2000/0x2000\n"

static void test_empty_chains_go(void **state)
{
	(void)state;
	char *lines = netw_rules_portmap_cleanup(POLICIES CHAINS JUMPS "-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE\n" STATIC);
	assert_string_equal(lines, "*nat\n"
		"-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n-D OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n"
		"-D POSTROUTING -m comment --comment \"CNI portfwd requiring masquerade\" -j CNI-HOSTPORT-MASQ\n"
		"-X CNI-HOSTPORT-DNAT\n-F CNI-HOSTPORT-MASQ\n-X CNI-HOSTPORT-MASQ\n-F CNI-HOSTPORT-SETMARK\n-X CNI-HOSTPORT-SETMARK\nCOMMIT\n");
	free(lines);
}

static void test_used_chains_stay(void **state)
{
	(void)state;
	assert_null(netw_rules_portmap_cleanup(POLICIES CHAINS "-N CNI-DN-1\n" JUMPS
		"-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 80 -j CNI-DN-1\n" STATIC));
}

static void test_nothing_there(void **state)
{
	(void)state;
	assert_null(netw_rules_portmap_cleanup(POLICIES));
	assert_null(netw_rules_portmap_cleanup(""));
	assert_null(netw_rules_portmap_cleanup("-N DOCKER\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_chains_go), cmocka_unit_test(test_used_chains_stay), cmocka_unit_test(test_nothing_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
