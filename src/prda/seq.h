// SPDX-License-Identifier: Apache-2.0
// The part of sequences in C that is one file per architecture: seq_x86_64.c, seq_aarch64.c. They define prda_seq_cs_,
// and prda_seq_store_ of bulkhead/prda_inline.h: store v if this thread was not interrupted since prda_seq_arm_. Both
// remove the name from rseq_cs: what a signal handler's sequence left there would look to the sequence that it
// interrupted like its own.
#ifndef BH_PRDA_SEQ_H
#define BH_PRDA_SEQ_H

void prda_seq_disarm(void);   // forget an armed sequence

#endif
