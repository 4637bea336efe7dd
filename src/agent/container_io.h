// SPDX-License-Identifier: Apache-2.0
// A container's standard streams: pipes or a terminal, the ring of unacknowledged output, live copies to attached
// clients, and input from them.
//
// Output is read when there is room for it: in the ring, and in the queue of every attached client. A client that does
// not read, or a hostd that does not acknowledge, stops the reading, and then the container's writes wait; nothing is
// lost.
#ifndef BH_AGENT_CONTAINER_IO_H
#define BH_AGENT_CONTAINER_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "logring.h"

struct container;
struct container_io;

#define CONTAINER_LOG_BYTES (1u << 20)

struct container_io *container_io_new(struct container *c);   // NULL: no memory
void container_io_free(struct container_io *io);              // sinks are told the end; NULL allowed

/* The steps of a start: open what the process gets; give it to crun; close it here; then started or failed. */
int container_io_open(struct container_io *io, int stdio[3], struct err *e);
const char *container_io_console_path(const struct container_io *io);   // for crun, with a terminal
void container_io_spawned(struct container_io *io);
void container_io_started(struct container_io *io);
void container_io_failed(struct container_io *io);
void container_io_exited(struct container_io *io);      // the process has ended; its output is still read to the end

uint64_t container_io_last_seq(const struct container_io *io);
struct logring *container_io_ring(struct container_io *io);
void container_io_acked(struct container_io *io);       // the ring has room again

/* Somebody who follows the output. Embedded in its owner. */
struct io_sink {
	/* New output (live copy). NULL: follows the ring, and stays when the output has ended. */
	void (*output)(struct io_sink *s, uint32_t channel, const void *data, size_t len);
	void (*ring)(struct io_sink *s);              // the ring has new records. NULL allowed
	bool (*full)(const struct io_sink *s);        // true stops the reading. NULL: never
	void (*ended)(struct io_sink *s);             // last call: live output has ended, or the container is removed
	void (*input_drained)(struct io_sink *s);     // input is taken (again). NULL allowed
	struct io_sink *next;
};
void container_io_follow(struct container_io *io, struct io_sink *s);
void container_io_unfollow(struct container_io *io, struct io_sink *s);
void container_io_room(struct container_io *io);        // a sink is no longer full

/* Bytes for the container's standard input; dropped when it has none. False: the queue is full, wait for drained. */
bool container_io_input(struct container_io *io, const void *data, size_t len);
void container_io_input_end(struct container_io *io);   // closes it if stdin_once
void container_io_resize(struct container_io *io, unsigned cols, unsigned rows);
bool container_io_takes_input(const struct container_io *io);   // false before the start: what came would be lost
bool container_io_ended(const struct container_io *io);

#endif
