// SPDX-License-Identifier: Apache-2.0
#include "server/tls_push.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static ssize_t push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int count)
{
	struct tls_push *p = ptr;
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };
	ssize_t n = sendmsg(p->fd, &m, MSG_NOSIGNAL | (p->more ? MSG_MORE : 0));   // errno is what the session looks at

	if (n > 0)
		p->held = p->more;
	return n;
}

void tls_push_attach(struct tls_push *p, gnutls_session_t session, int fd)
{
	gnutls_transport_ptr_t in, out;

	*p = (struct tls_push){ .fd = fd };
	gnutls_transport_get_ptr2(session, &in, &out);
	gnutls_transport_set_ptr2(session, in, p);
	gnutls_transport_set_vec_push_function(session, push);
}

void tls_push_flush(struct tls_push *p)
{
	int on = 1;

	p->more = false;
	if (p->held)
		setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);   // sends what is held, see tcp(7)
	p->held = false;
}
