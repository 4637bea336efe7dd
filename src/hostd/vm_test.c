// SPDX-License-Identifier: Apache-2.0
// VMs that an earlier hostd left: ended, or there and silent. (Those that answer are seen in tests/e2e.)
#include "vm.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/usock.h"

static char dir[] = "/tmp/bh-vm-test-XXXXXX";

static void control_path(char out[64]) { snprintf(out, 64, "%s/control.sock", dir); }

/* A process with the VM's control socket that answers nonsense at once, as often as it is asked. */
static pid_t nonsense(void)
{
	char path[64];
	control_path(path);
	int listener = usock_listen(path, SOCK_SEQPACKET, 0600, NULL);
	assert_true(listener >= 0);
	pid_t pid = fork();
	if (!pid) {
		for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
			char in[VMX_MSG_MAX];
			struct pollfd p = {fd, POLLIN, 0};
			if (poll(&p, 1, 50) > 0 && recv(fd, in, sizeof(in), 0) > 0)
				send(fd, "no", 2, MSG_NOSIGNAL);
		}
		_exit(0);
	}
	close(listener);
	return pid;
}

static void silent(void **state)
{
	(void)state;
	char path[64];
	struct stat st;
	int gone = -1;
	uid_t uid = 77;
	pid_t pid = nonsense();
	control_path(path);
	assert_int_equal(stat(path, &st), 0);
	assert_false(vm_ended_leftover(dir, &gone, &uid));   // it is in no group that could be killed
	assert_int_equal(uid, st.st_gid);
	assert_true(gone >= 0);
	struct pollfd p = {gone, POLLIN, 0};
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(poll(&p, 1, 5000), 1);
	close(gone);
}

static void ended(void **state)
{
	(void)state;
	char path[64];
	int gone = -1;
	uid_t uid = 77;
	control_path(path);
	unlink(path);
	assert_true(vm_ended_leftover(dir, &gone, &uid));    // it never was
	int listener = usock_listen(path, SOCK_SEQPACKET, 0600, NULL);
	assert_true(listener >= 0);
	close(listener);
	assert_true(vm_ended_leftover(dir, &gone, &uid));    // nobody listens any more
	assert_int_equal(gone, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(silent), cmocka_unit_test(ended)};
	if (!mkdtemp(dir))
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	return dir_remove(dir, NULL) ? 1 : rc;
}
