// SPDX-License-Identifier: Apache-2.0
// Per-processor data areas (PRDA) with virtual aliases: counters, lists, rings and buffers of which every CPU has a copy
// of its own, changed without atomic instructions and without ever being torn.
//
//	prda_u64 hits;                                             // an alias: one number, valid on every CPU
//	prda_alloc(region, &hits, "cache_hits", &e);
//	prda_add(hits, 1);                                         // this CPU's copy, whichever CPU that is
//	printf("%lu\n", prda_sum(hits));                           // all copies
//
// A REGION is a range of addresses: an alias range, which nobody can touch, and behind it one area per CPU, PRDA_STRIDE
// apart. A variable has the same offset in the alias range and in every area. An ALIAS is the variable's address in the
// alias range. It is a number like any other: store it, send it to another thread, or to another process that has the
// region attached. It means "the copy of the CPU I am on", and it is resolved inside each operation, by the CPU number
// at that moment, so that a thread which took it on CPU 0 and runs on CPU 1 now reaches CPU 1's copy.
//
// Each OPERATION is applied whole and once, to the copy of the CPU on which it commits. It ends in one store, the
// commit; before that store nobody can see that it began. That holds against preemption, migration, signals (handlers
// may use every operation here, also on the variable that they interrupted) and SIGKILL.
//
// Three FORMS:
//   PRDA_RESTART  the operation is a restartable sequence: when the kernel interrupts it, it starts again (counted).
//   PRDA_DELAY    as well, and the kernel is asked to hold back preemption until it is over (Linux 7.0 and later: rseq
//                 time slice extension). Held-back preemption is noticed at the end and the CPU given up (counted).
//                 Regions asked for this form get PRDA_RESTART where the kernel has no such thing.
//   PRDA_LOCKED   without rseq (old kernel, seccomp, glibc.pthread.rseq=0, or asked for): a lock per area. Its owner may
//                 be killed; the next one takes over.
// A thread without rseq uses, in every region, areas of its own kind: each CPU has a second, locked area for such
// threads. Both kinds are SLOTS: slots 0 to cpus-1 are the CPUs' areas, the rest are the locked ones. Sums cover all.
//
// CPUs: a region has areas for all CPUs that this kernel can ever have. A region that was asked for with fewer is
// PRDA_LOCKED: CPUs share its areas. A CPU that goes offline leaves its copy behind, readable; sums stay right. Affinity and cpusets do not
// matter: CPU numbers are the kernel's.
//
// Limits: PRDA_STRIDE bytes per CPU and region (make more regions). 64-bit words. fork: the child of a process has a
// private region's contents at that moment, as its own; shared regions stay shared. Code that is unloaded with dlclose
// must be compiled with PRDA_UNLOADABLE defined, or the kernel may look for a section's description in memory that is
// gone. Sections are assembly: AddressSanitizer does not see their accesses; ThreadSanitizer is told what it needs.
//
// Link with prda (and base). docs/prda.md explains how it works; examples/prda.c is a program that uses it.
#ifndef BULKHEAD_PRDA_H
#define BULKHEAD_PRDA_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/rseq.h>
#include <sys/types.h>

struct err;
struct prda_region;

#define PRDA_SHIFT 19
#define PRDA_STRIDE ((size_t)1 << PRDA_SHIFT)   // bytes of each area, and distance between areas

enum prda_form { PRDA_RESTART, PRDA_DELAY, PRDA_LOCKED };

// ---- Regions. May block; safe from any thread; not for signal handlers. -------------------------------------------

struct prda_options {
	const char *name;      // who it belongs to, for readers ("pagerd"); NULL: ""; at most 31 bytes
	enum prda_form form;
	uint32_t cpus;         // areas; 0: one for each possible CPU. Fewer than that: PRDA_LOCKED
	bool shared;           // in a memfd that other processes can attach (prda_region_fd)
	const char *path;      // shared, in this new file (mode 0600) instead of a memfd; removed by prda_region_close
};

/* Make a region. o: NULL: private, PRDA_RESTART, all CPUs. Memory is used as it is touched, address space at once
 * (2 * cpus + 2 strides, and 1 MiB). Returns 0 and *r (the caller's), or -errno with text in e: -EINVAL, -ENOMEM, -EEXIST ... */
int prda_region_new(const struct prda_options *o, struct prda_region **r, struct err *e);

/* Attach to another process's region. fd: its descriptor, open for reading and writing; borrowed. The region appears at
 * the same addresses as there, so that aliases (and pointers into areas) can be exchanged. The other process is
 * trusted: it can write to whatever this one keeps there.
 * Returns 0; -EADDRNOTAVAIL these addresses are in use here; -EINVAL not a region, or one of another version; -errno. */
int prda_region_attach(int fd, struct prda_region **r, struct err *e);

/* Unmap. No thread may use an alias of the region any more. NULL: nothing. Other processes keep theirs. */
void prda_region_close(struct prda_region *r);

/* The region of the process: private, made at the first call, never closed. Never NULL: without memory for it the
 * process aborts. PRDA_DEFINE puts its variables here. */
struct prda_region *prda_process_region(void);

/* Move a private region into a sealed memfd, where it is; aliases and contents stay. For a process that lets others read
 * its static variables: prda_region_share(prda_process_region(), "pagerd", &e), first thing in main, while there is one
 * thread. name: as in options; given again for a region that is shared already, it is its new name. Returns 0 or -errno. */
int prda_region_share(struct prda_region *r, const char *name, struct err *e);

int prda_region_fd(const struct prda_region *r);                // to send to others; -1: private. Owned by the region.
enum prda_form prda_region_form(const struct prda_region *r);   // the form in use, which may not be the one asked for
uint32_t prda_region_cpus(const struct prda_region *r);
uint32_t prda_region_slots(const struct prda_region *r);        // all areas: cpus, then the locked ones

/* Does this thread have rseq? (false: its operations go to locked slots.) */
bool prda_have_rseq(void);

struct prda_stats {
	uint64_t restarts;     // sections started again
	uint64_t locked;       // operations in locked form
	uint64_t takeovers;    // locks taken over from processes that are gone
	uint64_t delayed;      // PRDA_DELAY: sections run with preemption held back
	uint64_t yields;       // PRDA_DELAY: of these, ended by giving up the CPU
};

/* Counts of one slot, from that slot's own area. */
void prda_slot_stats(const struct prda_region *r, uint32_t slot, struct prda_stats *s);
void prda_region_stats(const struct prda_region *r, struct prda_stats *s);   // all slots

// ---- Aliases ------------------------------------------------------------------------------------------------------

/* Declare an alias type. PRDA_TYPE(pool_prda, struct pool); declares pool_prda, an alias of struct pool. Alias types are
 * structs: the compiler accepts neither a plain pointer for an alias, nor an alias for a pointer, nor one type of alias
 * for another. {0} is the null alias. To touch memory through alias_ by hand is a mistake, and faults. */
#define PRDA_TYPE(name, type) typedef struct { __typeof__(type) *alias_; } name

struct prda_node { struct prda_node *next; };   // embed in what is kept on a list
struct prda_list_ { struct prda_node *head; };
struct prda_ring_ { uint64_t head, tail, mask, slot[]; };
struct prda_buffer_ { uint64_t used, size, unused_[6]; unsigned char data[]; };   // data: a cache line of its own
struct prda_cache_ { uint64_t count, size, item[]; };

PRDA_TYPE(prda_u64, uint64_t);                   // counter, gauge, number
PRDA_TYPE(prda_pointer, void *);                 // one pointer
PRDA_TYPE(prda_list, struct prda_list_);         // LIFO of struct prda_node
PRDA_TYPE(prda_ring, struct prda_ring_);         // FIFO of 64-bit words
PRDA_TYPE(prda_buffer, struct prda_buffer_);     // records, end to end
PRDA_TYPE(prda_cache, struct prda_cache_);       // stack of 64-bit words, moved in batches

#define prda_is_null(a) ((a).alias_ == NULL)
#define prda_number(a) ((uintptr_t)(a).alias_)   // the alias as a number, to store or send
#define prda_from_number(type, n) ((type){ (__typeof__(((type *)0)->alias_))(uintptr_t)(n) })

/* Alias of a member: prda_member(prda_u64, stats, hits) for an alias stats of a struct with uint64_t hits. */
#define prda_member(type, a, member) ((type){ &(a).alias_->member })

/* Plain address of the copy in one slot (for CPU n: slot n). For readers, from any CPU: use prda_read for single words.
 * Writing through it is only for when no operation can run. */
#define prda_at(a, slot) ((__typeof__((a).alias_))prda_at_((uintptr_t)(a).alias_, (slot)))

#define PRDA_NAME_MAX 72
#define PRDA_LABELS_MAX 288
#define PRDA_HELP_MAX 120

/* What a variable is, for readers in other processes (bulkhead/prda_reader.h). Strings are copied. */
enum prda_kind { PRDA_PLAIN, PRDA_COUNTER, PRDA_GAUGE, PRDA_HISTOGRAM };
struct prda_about {
	const char *name;      // NULL or "": not listed
	const char *help;
	const char *labels;    // key="value",...
	enum prda_kind kind;
};

/* Allocate a variable, zero in every slot. a: pointer to the alias to fill in (its type says the size). name: NULL, or
 * what readers see. Returns 0 or -errno, text in e (-ENOSPC: the region is full). Not for signal handlers. */
#define prda_alloc(r, a, name_, e) \
	prda_alloc_((r), sizeof(*(a)->alias_), _Alignof(__typeof__(*(a)->alias_)), \
		&(const struct prda_about){ .name = (name_) }, (void **)&(a)->alias_, (e))
#define prda_alloc_about(r, a, about, e) \
	prda_alloc_((r), sizeof(*(a)->alias_), _Alignof(__typeof__(*(a)->alias_)), (about), (void **)&(a)->alias_, (e))

/* The same for variables with a size of their own. capacity: words (ring: a power of two; cache), or bytes (buffer). */
int prda_ring_alloc(struct prda_region *r, prda_ring *a, size_t capacity, const char *name, struct err *e);
int prda_buffer_alloc(struct prda_region *r, prda_buffer *a, size_t capacity, const char *name, struct err *e);
int prda_cache_alloc(struct prda_region *r, prda_cache *a, size_t capacity, const char *name, struct err *e);

/* Free a variable that no thread uses any more. The null alias: nothing. */
#define prda_free(a) prda_free_((uintptr_t)(a).alias_)

/* A static variable in the region of the process, allocated before main (or when its library is loaded):
 *	PRDA_DEFINE(prda_u64, lookups);  ...  prda_add(lookups, 1);                                                   */
#define PRDA_DEFINE(type, variable) PRDA_DEFINE_(static, type, variable, PRDA_PLAIN, #variable, "")

/* The same, with what readers see: PRDA_DEFINE_COUNTER(lookups, "cache_lookups_total", "asked of the cache"); */
#define PRDA_DEFINE_COUNTER(variable, name, help) PRDA_DEFINE_(static, prda_u64, variable, PRDA_COUNTER, name, help)
#define PRDA_DEFINE_GAUGE(variable, name, help) PRDA_DEFINE_(static, prda_u64, variable, PRDA_GAUGE, name, help)

#define PRDA_DEFINE_(storage, type, variable, kind_, name_, help_) \
	storage type variable; \
	__attribute__((constructor)) static void prda_define_##variable(void) \
	{ \
		prda_define_(sizeof(*variable.alias_), _Alignof(__typeof__(*variable.alias_)), \
			&(const struct prda_about){ .name = (name_), .help = (help_), .kind = (kind_) }, (void **)&variable.alias_); \
	} \
	_Static_assert(sizeof(variable) == sizeof(void *), "PRDA_DEFINE wants an alias type")

// ---- Reading from any CPU -----------------------------------------------------------------------------------------

/* One slot's copy of a 64-bit variable. */
#define prda_read(a, slot) ((__typeof__(*(a).alias_))__atomic_load_n((uint64_t *)prda_at(PRDA_WORD_(a), (slot)), __ATOMIC_ACQUIRE))

/* All copies of a 64-bit variable. Not a snapshot: additions made meanwhile may be in it or not. */
#define prda_sum(a) prda_sum_((uintptr_t)PRDA_WORD_(a).alias_)

/* for (uint32_t slot = 0; ...): every slot that may hold something. */
#define prda_for_each_slot(slot, r) for (uint32_t slot = 0, end_##slot = prda_slots_in_use(r); slot < end_##slot; slot++)
uint32_t prda_slots_in_use(const struct prda_region *r);   // cpus as long as nobody needed a locked slot

// ---- Operations. Never block (locked form: for as long as others hold the area). Signal handlers may use them. ------
//
// Words: any 64-bit variable (prda_u64, prda_pointer, members of these sizes).

/* Add v (wraps; give a negative number to subtract). */
#define prda_add(a, v) prda_op_add_((uintptr_t)PRDA_WORD_(a).alias_, (uint64_t)(v))
/* This CPU's value. It may have been of another CPU by the time the caller looks at it. */
#define prda_load(a) ((__typeof__(*(a).alias_))prda_op_load_((uintptr_t)PRDA_WORD_(a).alias_))
#define prda_store(a, v) prda_op_store_((uintptr_t)PRDA_WORD_(a).alias_, PRDA_VALUE_(a, v))
/* Store v; returns what was there. */
#define prda_exchange(a, v) ((__typeof__(*(a).alias_))prda_op_exchange_((uintptr_t)PRDA_WORD_(a).alias_, PRDA_VALUE_(a, v)))
/* Store v if the value is expected. Returns whether it was. */
#define prda_compare_store(a, expected, v) \
	prda_op_compare_store_((uintptr_t)PRDA_WORD_(a).alias_, PRDA_VALUE_(a, expected), PRDA_VALUE_(a, v))

/* Lists, last in first out. The node is the list's until popped. No ABA: nodes may be reused, and freed, at once.
 * (Threads without rseq have lists of their own: another slot.) */
static inline void prda_push(prda_list list, struct prda_node *node);
static inline struct prda_node *prda_pop(prda_list list);          // NULL: this CPU's list is empty
static inline struct prda_node *prda_pop_all(prda_list list);      // the whole chain

/* Rings, first in first out. Return false when full, or empty. The producer is whoever runs on the CPU. The consumer is
 * either that too (prda_get), or one thread for all CPUs (prda_drain): choose one for each ring. */
static inline bool prda_put(prda_ring ring, uint64_t v);
static inline bool prda_get(prda_ring ring, uint64_t *v);
bool prda_drain(prda_ring ring, uint32_t slot, uint64_t *v);       // from any CPU; one thread at a time

/* Buffers of records. */
static inline bool prda_append(prda_buffer buffer, const void *record, size_t len);    // false: no room
/* Move all of this CPU's records to out. Returns the number of bytes, or -ENOSPC (cap is too small; nothing moved). */
static inline ssize_t prda_flush(prda_buffer buffer, void *out, size_t cap);
/* What a slot holds, from any CPU: *data is written behind what is returned, never inside, until somebody flushes. */
size_t prda_peek(prda_buffer buffer, uint32_t slot, const void **data);

/* Caches: stacks of words (free page numbers, pointers) that are moved in batches. */
static inline size_t prda_take(prda_cache cache, uint64_t *out, size_t n);             // up to n; returns how many
static inline size_t prda_give(prda_cache cache, const uint64_t *in, size_t n);        // as many as there is room for

// ---- A caller's own short sequence --------------------------------------------------------------------------------

/* A section of one's own, in assembly and once more in C. code runs with the copy at hand: PRDA_HERE_("0") is its first
 * word (x86-64), or %[t] its address (after PRDA_COPY_ADDRESS_). It may read, compute, and store to places of the copy that
 * nobody looks at yet; its last instruction is the store that commits; "2f" is the way out without one. No calls, no system
 * calls. It is started again when it was interrupted, so outputs get their values in every run. outputs, inputs: as in
 * extended asm, each list in parentheses, with nothing of the caller's in them that is called a or t; more arguments: registers that
 * code changes.
 * otherwise: a statement that does the same to *here under the lock of a slot, where code cannot run (no rseq, PRDA_LOCKED,
 * interrupted a thousand times in a row); it, too, ends in the one store that commits, an __atomic_store_n with
 * __ATOMIC_RELEASE. In PRDA_DELAY regions preemption is held back around code. docs/prda.md has an example. For one word in C alone:
 * prda_load and prda_compare_store, until that returns true. */
#define PRDA_SECTION(alias, code, outputs, inputs, otherwise, ...) do { \
	__label__ end; \
	const __typeof__(alias) whole_ = (alias); \
	uintptr_t a = (uintptr_t)whole_.alias_; \
	unsigned tries_ = 0; \
	bool delayed_, done_ = false; \
	PRDA_TSAN_IN_(a); \
	if (prda_straight_(a)) { \
		__label__ again, slow; \
		PRDA_SECTION_(code, outputs, inputs, ##__VA_ARGS__); \
		goto end; \
again: \
		tries_ = prda_restarted_(a, 0); \
slow:; \
	} \
	delayed_ = !prda_straight_(a) && prda_delayed_(a &= ~PRDA_TAG_); \
	if (delayed_) \
		tries_ = 1; \
	while (tries_) { \
		__label__ again, slow; \
		PRDA_SECTION_(code, outputs, inputs, ##__VA_ARGS__); \
		done_ = true; \
		break; \
again: \
		tries_ = prda_restarted_(a, tries_); \
		continue; \
slow: \
		break; \
	} \
	if (delayed_) \
		prda_delayed_end_(a); \
	if (!done_) { \
		struct prda_hold_ hold_; \
		__typeof__(whole_.alias_) here __attribute__((unused)) = prda_hold_take_(&hold_, a); \
		otherwise; \
		prda_hold_drop_(&hold_); \
	} \
end: \
	PRDA_TSAN_OUT_(a); \
} while (0)
#define PRDA_SECTION_(code, outputs, inputs, ...) \
	uint64_t t; \
	__asm__ volatile goto(PRDA_SECTION_ENTER_ code PRDA_SECTION_LEAVE_ \
		: [t] "=&r"(t) PRDA_LIST outputs : PRDA_IN_ PRDA_LIST inputs : PRDA_CLOBBER_, ##__VA_ARGS__ : again, slow)
#define PRDA_LIST(...) , ##__VA_ARGS__

#include "bulkhead/prda_inline.h"

#endif
