// SPDX-License-Identifier: Apache-2.0
#include "vm_numbers.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

struct vm_number_held {
	struct vm_number_held *next;
	unsigned number;
	int gone;
};

static void let_go(struct vm_number_held **at)
{
	struct vm_number_held *h = *at;
	*at = h->next;
	close(h->gone);
	free(h);
}

/* Those whose process has ended meanwhile. */
static void let_go_of_ended(struct vm_numbers *n)
{
	for (struct vm_number_held **at = &n->held; *at;) {
		struct pollfd p = {(*at)->gone, POLLIN, 0};
		if (poll(&p, 1, 0) > 0)
			let_go(at);
		else
			at = &(*at)->next;
	}
}

static bool is_held(const struct vm_numbers *n, unsigned number)
{
	const struct vm_number_held *h = n->held;
	while (h && h->number != number)
		h = h->next;
	return h;
}

unsigned vm_numbers_take(struct vm_numbers *n)
{
	let_go_of_ended(n);
	for (unsigned i = 1; i < VM_NUMBERS; i++) {
		if (!n->taken[i] && !n->lost[i] && !is_held(n, i)) {
			n->taken[i] = true;
			return i;
		}
	}
	return 0;
}

void vm_numbers_mark(struct vm_numbers *n, unsigned number)
{
	if (number && number < VM_NUMBERS)
		n->taken[number] = true;
}

void vm_numbers_drop(struct vm_numbers *n, unsigned number)
{
	if (number < VM_NUMBERS)
		n->taken[number] = false;
}

void vm_numbers_hold(struct vm_numbers *n, unsigned number, int gone)
{
	struct vm_number_held *h = calloc(1, sizeof(*h));
	if (!h || gone < 0) {
		if (number < VM_NUMBERS)
			n->lost[number] = true;
		if (gone >= 0)
			close(gone);
		free(h);
		return;
	}
	*h = (struct vm_number_held){.next = n->held, .number = number, .gone = gone};
	n->held = h;
}

void vm_numbers_fini(struct vm_numbers *n)
{
	while (n->held)
		let_go(&n->held);
}
