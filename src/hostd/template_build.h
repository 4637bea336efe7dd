// SPDX-License-Identifier: Apache-2.0
// Making one template: boot a guest, wait until its agent waits, save it, store it.
#ifndef BH_HOSTD_TEMPLATE_BUILD_H
#define BH_HOSTD_TEMPLATE_BUILD_H

#include "base/err.h"
#include "host.h"
#include "template.h"

#define TEMPLATE_CMDLINE "bulkhead.template"

struct template_wish { unsigned vcpus, memory_mib, number; const char *key, *inputs; };   // number: of the VM, the caller's

/* Make it in dir (a new folder, complete afterwards except for its name). *cancel: give up. 0 or -errno; what is left in dir
 * after an error is the caller's to remove. Takes seconds. When its VM does not end, the number is held until it does. */
int template_build(const struct host *h, const struct template_wish *w, const char *dir, const volatile int *cancel,
		   template_progress_fn *progress, void *user, struct err *e);

#endif
