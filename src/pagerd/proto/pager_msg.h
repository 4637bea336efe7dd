// SPDX-License-Identifier: Apache-2.0
// Messages between bulkhead-hostd and bulkhead-pagerd over the control socket (Unix, SOCK_SEQPACKET, one message per
// packet, host byte order, same machine). Version and length are checked in every message. A request is answered by one
// reply with the same type and id, or by PAGER_MSG_ERROR.
//
// ATTACH and ATTACH after a restart of pagerd are the same: pages that the memfd holds are resident, pages that the
// compressed store holds for this id are evicted, the rest come from the VADs. All waiting threads are woken. hostd (or
// vmx) therefore keeps all descriptors that it attached with, and attaches again when the connection has broken.
#ifndef BULKHEAD_PAGER_MSG_H
#define BULKHEAD_PAGER_MSG_H

#include <stdint.h>

#define PAGER_MSG_VERSION 1

enum pager_msg_type {
	PAGER_MSG_ATTACH = 1,    // struct pager_attach + descriptors -> no payload
	PAGER_MSG_DETACH = 2,    // struct pager_vm_ref -> no payload; its pages in the store are released
	PAGER_MSG_STATS = 3,     // struct pager_vm_ref -> struct pager_stats
	PAGER_MSG_EVICT = 4,     // struct pager_range: length bytes, coldest first -> struct pager_done
	PAGER_MSG_DISCARD = 5,   // struct pager_range: the guest gave these back (balloon) -> struct pager_done
	PAGER_MSG_PREFETCH = 6,  // struct pager_range: load what is not resident -> struct pager_done
	PAGER_MSG_LIMIT = 7,     // struct pager_limit -> no payload
	PAGER_MSG_HOST = 8,      // struct pager_msg -> struct pager_host
	PAGER_MSG_ERROR = 255,   // reply: struct pager_error
};

struct pager_msg {
	uint32_t version;        // PAGER_MSG_VERSION
	uint32_t type;
	uint64_t id;             // chosen by the sender of the request, echoed
};

#define PAGER_MAPS_MAX 4
#define PAGER_VADS_MAX 64
#define PAGER_FDS_MAX 16

// One process's mapping of the memfd. Its userfaultfd (UFFDIO_API done) is registered by pagerd. Every process that maps
// the guest's memory for writing has one here, or its writes are lost when pages are evicted.
struct pager_map {
	uint64_t address;        // in that process, a multiple of 4096
	uint64_t offset;         // in the memfd, likewise
	uint64_t length;
	uint32_t fd;             // which descriptor is its userfaultfd
	uint32_t zero;
};

// TEMPLATE_SINGLE: as TEMPLATE, but only pages that were touched are loaded, none around them: to learn a working set.
enum pager_vad_kind { PAGER_VAD_ZERO, PAGER_VAD_TEMPLATE, PAGER_VAD_FILE, PAGER_VAD_REMOTE, PAGER_VAD_TEMPLATE_SINGLE };

struct pager_vad {
	uint32_t kind;           // enum pager_vad_kind
	uint32_t fd;             // descriptor of the image, or connected socket; not for zero
	uint64_t first_page, pages;
	uint64_t backing_page;
};

struct pager_attach {
	struct pager_msg head;
	uint8_t vm[16];          // id, the same at each attach
	uint64_t memory_bytes;
	uint64_t limit_bytes;    // evict above this; 0: none
	uint64_t reserve_bytes;  // do not evict below this for the sake of others
	uint32_t memfd;          // which descriptor
	uint32_t maps, vads;
	uint32_t shares;         // weight when pages are taken for the sake of all: who has twice as many keeps twice as much; 0: 100
	struct pager_map map[PAGER_MAPS_MAX];
	struct pager_vad vad[PAGER_VADS_MAX];
};

struct pager_vm_ref { struct pager_msg head; uint8_t vm[16]; };
struct pager_range { struct pager_msg head; uint8_t vm[16]; uint64_t offset, length; };
struct pager_limit { struct pager_msg head; uint8_t vm[16]; uint64_t limit_bytes, reserve_bytes; uint32_t shares, zero; };
struct pager_done { struct pager_msg head; uint64_t pages; };

struct pager_stats {
	struct pager_msg head;
	uint64_t memory_bytes, resident_bytes, evicted_bytes;
	uint64_t faults;         // messages from the kernel
	uint64_t zero, copied, restored;   // pages loaded: zeros, from an image, from the store
	uint64_t evictions, dropped;       // pages put in the store; pages that could be dropped
	uint64_t failed;         // faults that could not be resolved
	uint64_t shared_bytes;   // of images shared with other guests: what this one has no copy of its own of
	uint64_t latency_ns[32]; // faults whose handling took 2^i to 2^(i+1) ns
};

struct pager_host {
	struct pager_msg head;
	uint64_t vms, vads, frames_used, frames;
	uint64_t memory_limit_bytes;
	uint64_t store_pages, store_bytes, store_file_bytes;
	uint64_t resident_bytes, evicted_bytes;   // of all guests
	uint64_t pressure;       // 1: a moment ago pages had to be taken for the sake of all
};

struct pager_error { struct pager_msg head; int32_t code; char text[256]; };

#endif
