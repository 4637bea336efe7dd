// SPDX-License-Identifier: Apache-2.0
// Errors of the control path: a number and one sentence, set once where the failure is known, given context where a
// caller knows more, logged once by whoever stops passing it up. The data path (vCPU exits, I/O, page faults) uses
// plain -errno instead.
#ifndef BH_ERR_H
#define BH_ERR_H

#define ERR_TEXT_MAX 512

struct err {
	int code;                  // errno value, positive; 0 when nothing is wrong
	char text[ERR_TEXT_MAX];   // one sentence, no newline; truncated if longer
};

#define ERR_INIT { .code = 0, .text = "" }

/* Record a failure. e: may be NULL (only the number is passed on). code: positive errno value.
 * Returns -code, so that "return err_set(...)" works. Never fails, never allocates. Thread-safe for distinct e. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set with ": <strerror(code)>" appended: for failed system calls. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put context in front of the recorded text ("attach disk 'a': no such file"). Returns -e->code (or -EIO if e is
 * NULL or holds no error). */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
