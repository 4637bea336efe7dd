// SPDX-License-Identifier: Apache-2.0
// A VM that goes on from a template.
#ifndef BH_HOSTD_CLONE_H
#define BH_HOSTD_CLONE_H

#include "template.h"
#include "vm.h"

/* Start it: c as for a boot of the template's size. *sampled: what it touches until its first container runs is wanted for the
 * template's working set (templates_sample). 0, or -errno with nothing left but files in c->dir. */
int clone_start(struct template *t, const struct vm_config *c, vm_end_fn *on_end, void *user, bool *sampled, struct vm **vm, struct err *e);

#endif
