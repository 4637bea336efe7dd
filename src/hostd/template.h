// SPDX-License-Identifier: Apache-2.0
// Templates: guests that were booted to the point where the agent waits for an identity, and saved. A pod's VM is a clone of
// one where one fits, which takes a fraction of a boot. There is one for each size that pods ask for; what it was made of
// (kernel, initramfs, engine, programs, processor, size) is its key, so that a change of any of these makes another one.
//
// ROOT/templates/KEY/: memory (template_image.h), state (the engine's), template.json (what it is, and checksums of both).
// A folder appears there whole, by rename. What is not as it was written is removed and made again, and so is a template
// whose clones do not come up.
#ifndef BH_HOSTD_TEMPLATE_H
#define BH_HOSTD_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "host.h"

struct templates;
struct template;

/* Reads what is there, clears away what an earlier hostd left half made, and begins with the usual size. 0 or -errno. */
int templates_open(const struct host *h, struct templates **ts, struct err *e);
void templates_close(struct templates *ts);                // waits for a build that goes on: seconds. NULL allowed

/* The memory that a VM gets whose pod needs so much: there are few sizes, so that there are few templates. */
unsigned templates_memory_class(unsigned mib, unsigned most_mib);

/* A template for VMs of this size, checked; given back with template_put. NULL: there is none (yet): boot. Then one is made in
 * the background. May take a tenth of a second when it is used for the first time. Any thread. */
struct template *template_take(struct templates *ts, unsigned vcpus, unsigned memory_mib);
void template_put(struct template *t, bool worked);        // worked: the clone's agent answered
void template_release(struct template *t);                 // given back without a word about a clone
void template_size(const struct template *t, unsigned *vcpus, unsigned *memory_mib);
/* fn is called whenever a template has become ready, could not be made, or is no more; it may only take notice. NULL: nobody is. */
void templates_listen(struct templates *ts, void (*fn)(void *user), void *user);
bool templates_have(struct templates *ts, const char *name);   // one of that name that new pods use
const char *template_name(const struct template *t);       // short, for people
int template_open_state(const struct template *t);         // descriptors of their own, the caller's; -errno
int template_open_memory(const struct template *t);

/* For paged clones: a sparse image of the pages that are brought at once (empty while these are not known), the caller's;
 * the rest comes from template_open_memory's, to which a link is put into the VM's folder (template_link.h). */
int template_open_set(struct template *t);
int template_link_to(const struct template *t, const char *vm_dir, struct err *e);
bool template_wants_sample(const struct template *t);
/* The first container of a clone of the template of that name runs; memory: its memfd, borrowed. */
void templates_sample(struct templates *ts, const char *name, int memory);

/* For the operator. progress may be NULL. */
typedef void template_progress_fn(void *user, const char *stage);
json_t *templates_list(struct templates *ts);
int templates_build(struct templates *ts, unsigned vcpus, unsigned memory_mib, template_progress_fn *progress, void *user, json_t **out,
		    struct err *e);
int templates_remove(struct templates *ts, const char *name, struct err *e);   // "all": each of them. -ENOENT

#endif
