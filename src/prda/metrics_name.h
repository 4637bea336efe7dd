// SPDX-License-Identifier: Apache-2.0
// What names and labels of metrics look like; checked when they are made, and again when they are read, because other
// processes wrote them.
#ifndef BH_METRICS_NAME_H
#define BH_METRICS_NAME_H

#include <stdbool.h>

bool metrics_name_good(const char *name);       // [a-zA-Z_:][a-zA-Z0-9_:]*
bool metrics_labels_good(const char *labels);   // "" or key="value",...; in values \\, \" and \n, no control characters

#endif
