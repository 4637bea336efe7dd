// SPDX-License-Identifier: Apache-2.0
// The filters that exist: built in, and plug-ins (NAME.so in the folders of BULKHEAD_FILTER_PATH).
#ifndef BH_DISK_REGISTRY_H
#define BH_DISK_REGISTRY_H

#include <bulkhead/iofilter.h>

#include "base/err.h"

int registry_find(const char *type, const struct iof_filter **f, struct err *e);
const struct iof_filter *const *registry_builtin(void);   // ends with NULL

#endif
