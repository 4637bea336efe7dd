// SPDX-License-Identifier: Apache-2.0
// The server's side of SPDY/3.1 as a mux.
#ifndef BH_HOSTD_SPDY_H
#define BH_HOSTD_SPDY_H

#include "streaming_mux.h"

/* NULL: no memory. */
struct mux *spdy_new(const struct mux_sink *sink, void *user);

#endif
