// SPDX-License-Identifier: Apache-2.0
// Memory that only the start needed.
#ifndef BULKHEAD_VMX_SHED_H
#define BULKHEAD_VMX_SHED_H

/* Unmap the pages of this program's and its libraries' code and constants: most of what was touched to get here (the dynamic
 * linker, constructors of libraries) is not touched again, and what is comes back from the page cache. Any thread, at any time. */
void shed_start_pages(void);

#endif
