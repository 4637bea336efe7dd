// SPDX-License-Identifier: Apache-2.0
// What a write has to say of the fields of its object: those that its kind does not know, and those that are better not used.
// The sentences are collected in w->unknown; api_write.c sends them as warnings.
#ifndef BH_SERVER_REG_FIELDS_H
#define BH_SERVER_REG_FIELDS_H

#include "server/registry.h"

void reg_fields_forget(struct reg_write *w);   // what it has said: every step says anew what it finds
/* Bring what a client (or a patch of cur; NULL: none) made into the form that is stored. NULL, or a Status. */
json_t *reg_fields_decode(struct reg_write *w, json_t *obj, const json_t *cur);
void reg_fields_warn(struct reg_write *w, const json_t *obj);

#endif
