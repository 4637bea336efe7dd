// SPDX-License-Identifier: Apache-2.0
#include "streaming_internal.h"
enum MHD_Result streaming_port_forward(struct request *rq) { return reply_text(rq, 501, "later"); }
