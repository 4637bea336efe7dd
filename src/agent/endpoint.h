// SPDX-License-Identifier: Apache-2.0
// One descriptor (socket, pipe, terminal) on the event loop, with a queue of bytes to write and a buffer of bytes not
// yet understood. Its owner is told what arrives and when the queue has emptied, and stops reading elsewhere while it
// is full: that is how back-pressure travels through the agent.
#ifndef BH_AGENT_ENDPOINT_H
#define BH_AGENT_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct endpoint;
struct evloop;

enum { EP_READ = 1, EP_WRITE = 2, EP_BOTH = 3 };

#define EP_QUEUE_HIGH (256u << 10)   // ep_full above this
#define EP_QUEUE_LOW  (64u << 10)    // drained is called below this

/* Callbacks run on the loop's thread and may close the endpoint. Any may be NULL. */
struct endpoint_ops {
	/* Bytes arrived; data holds all that was not taken before. Returns how many it took, or -errno: the peer broke
	 * the rules, and ended is called with it. Not called while held. */
	ssize_t (*input)(void *user, const uint8_t *data, size_t len);
	void (*eof)(void *user);              // the peer sends no more. NULL: ended(0) instead
	void (*drained)(void *user);          // the queue was full and is below EP_QUEUE_LOW now
	void (*ended)(void *user, int error); // broken (positive errno) or closed by the peer (0); last call. Owner closes
};

/* fd: owned by the endpoint from here on, also on failure; made non-blocking. input_max: most bytes that input may
 * leave untaken. NULL: no memory. */
struct endpoint *ep_new(struct evloop *l, int fd, int directions, size_t input_max, const struct endpoint_ops *ops,
			void *user);
void ep_close(struct endpoint *ep);          // queued bytes are lost; NULL allowed
void ep_close_sent(struct endpoint *ep);     // closes when the queue is out; no callback any more; NULL allowed

/* Queue bytes (head, then data) and write what can be written now. 0 or -ENOMEM. Failures of the descriptor show in
 * ended. */
int ep_send(struct endpoint *ep, const void *head, size_t head_len, const void *data, size_t len);
void ep_finish(struct endpoint *ep);         // sockets: no more to send, half-close when the queue is out
bool ep_full(const struct endpoint *ep);     // queue above EP_QUEUE_HIGH
void ep_end_at_hangup(struct endpoint *ep, bool yes);   // call ended when the peer is gone, even while held
void ep_hold(struct endpoint *ep, bool hold);// stop or resume reading
int ep_fd(const struct endpoint *ep);

#endif
