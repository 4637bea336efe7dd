// SPDX-License-Identifier: Apache-2.0
// Which engine VMs get on this machine: kvm where it is usable, else qemu.
#include <stdio.h>

#include "base/kvm_probe.h"
#include "cli.h"

const char *engine_choose(char *reason, size_t len)
{
	char vmx[4096], kernel[4096];
	snprintf(vmx, sizeof(vmx), "%s/bulkhead-vmx", cli_bin_dir());
	snprintf(kernel, sizeof(kernel), "%s/../guest/vmlinux", cli_bin_dir());
	return kvm_usable(vmx, kernel, reason, len) ? "kvm" : "qemu";
}
