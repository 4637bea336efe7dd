// SPDX-License-Identifier: Apache-2.0
// Preloaded into pagerd by its tests: every place in the program that allocates or asks the kernel for something fails once.
//	FAIL_FILE: which places have failed already, 8 bytes each: it outlives the process, so that one which cannot start
//	because of a failure gets further the next time.
// A place is the return address of a call, relative to the program. Calls from libraries do not fail.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACES = 512 };

static _Atomic uint64_t *place;
static uintptr_t first, last;   // the program's code

static int find_program(struct dl_phdr_info *i, size_t size, void *user)
{
	(void)size, (void)user;
	for (int k = 0; k < i->dlpi_phnum; k++) {
		const ElfW(Phdr) *p = &i->dlpi_phdr[k];
		if (p->p_type == PT_LOAD && p->p_flags & PF_X) {
			first = i->dlpi_addr + p->p_vaddr;
			last = first + p->p_memsz;
		}
	}
	return 1;                  // the program is the first
}

__attribute__((constructor)) static void shim_init(void)
{
	const char *path = getenv("FAIL_FILE");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0 || ftruncate(fd, PLACES * sizeof(*place)))
		return;
	dl_iterate_phdr(find_program, NULL);
	void *map = mmap(NULL, PLACES * sizeof(*place), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		place = map;
}

/* The first time here? kind tells apart what is called in the same place. */
static int fails(void *from, uint64_t kind)
{
	uint64_t at = (uintptr_t)from, key = (at - first) << 8 | kind;
	if (!place || at < first || at >= last)
		return 0;
	for (int i = 0; i < PLACES; i++) {
		uint64_t was = 0;
		if (atomic_compare_exchange_strong(&place[i], &was, key))
			return 1;
		if (was == key)
			return 0;
	}
	return 0;
}

#define FROM __builtin_return_address(0)
#define EXPORT __attribute__((visibility("default")))
#define REAL(name) \
	static __typeof__(&name) real; \
	if (!real) \
		real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL(kind, code, value) do { \
		if (fails(FROM, kind)) { \
			errno = code; \
			return value; \
		} \
	} while (0)

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

EXPORT void *malloc(size_t n) { FAIL(1, ENOMEM, NULL); return __libc_malloc(n); }
EXPORT void *calloc(size_t n, size_t size) { FAIL(1, ENOMEM, NULL); return __libc_calloc(n, size); }
EXPORT void *realloc(void *p, size_t n) { FAIL(1, ENOMEM, NULL); return __libc_realloc(p, n); }

EXPORT void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	REAL(mmap);
	FAIL(2, ENOMEM, MAP_FAILED);
	return real(at, n, prot, flags, fd, off);
}

EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t off) { REAL(pread); FAIL(3, EIO, -1); return real(fd, buf, n, off); }
EXPORT int fallocate(int fd, int how, off_t at, off_t n) { REAL(fallocate); FAIL(4, ENOSPC, -1); return real(fd, how, at, n); }
EXPORT int ftruncate(int fd, off_t n) { REAL(ftruncate); FAIL(5, ENOSPC, -1); return real(fd, n); }
EXPORT off_t lseek(int fd, off_t at, int how) { REAL(lseek); FAIL(6, EIO, -1); return real(fd, at, how); }
EXPORT int fstat(int fd, struct stat *st) { REAL(fstat); FAIL(7, EIO, -1); return real(fd, st); }
EXPORT int epoll_ctl(int e, int op, int fd, struct epoll_event *ev) { REAL(epoll_ctl); FAIL(8, ENOSPC, -1); return real(e, op, fd, ev); }
EXPORT int epoll_create1(int flags) { REAL(epoll_create1); FAIL(9, EMFILE, -1); return real(flags); }
EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags) { REAL(recvmsg); FAIL(10, ENOMEM, -1); return real(fd, m, flags); }
EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags) { REAL(sendmsg); FAIL(11, ENOBUFS, -1); return real(fd, m, flags); }
EXPORT int accept4(int fd, struct sockaddr *a, socklen_t *n, int flags) { REAL(accept4); FAIL(12, EMFILE, -1); return real(fd, a, n, flags); }

EXPORT int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	REAL(pthread_create);
	if (fails(FROM, 13))
		return EAGAIN;
	return real(t, a, fn, arg);
}

EXPORT int open(const char *path, int flags, ...)
{
	REAL(open);
	va_list ap;
	va_start(ap, flags);
	mode_t mode = va_arg(ap, mode_t);
	va_end(ap);
	FAIL(14, EMFILE, -1);
	return real(path, flags, mode);
}

EXPORT int fcntl(int fd, int what, ...)
{
	REAL(fcntl);
	va_list ap;
	va_start(ap, what);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	FAIL(15, EMFILE, -1);
	return real(fd, what, arg);
}

/* Waking cannot fail in earnest; the others can for want of memory, and several kinds come from one place. */
EXPORT int ioctl(int fd, unsigned long request, ...)
{
	REAL(ioctl);
	va_list ap;
	va_start(ap, request);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	if (request != UFFDIO_WAKE)
		FAIL(16 + request % 200 + (request == UFFDIO_WRITEPROTECT && !((struct uffdio_writeprotect *)arg)->mode), ENOMEM, -1);
	return real(fd, request, arg);
}
