// SPDX-License-Identifier: Apache-2.0
// A VM number is nobody else's while a process that has it is there.
#include "vm_numbers.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void taken_and_dropped(void **state)
{
	(void)state;
	struct vm_numbers n = {0};
	for (unsigned i = 1; i < VM_NUMBERS; i++)
		assert_int_equal(vm_numbers_take(&n), i);
	assert_int_equal(vm_numbers_take(&n), 0);
	vm_numbers_drop(&n, 7);
	vm_numbers_drop(&n, 9);
	vm_numbers_mark(&n, 7);
	assert_int_equal(vm_numbers_take(&n), 9);
	assert_int_equal(vm_numbers_take(&n), 0);
	vm_numbers_drop(&n, VM_NUMBERS);                   // of nobody
	vm_numbers_mark(&n, VM_NUMBERS);
	assert_int_equal(vm_numbers_take(&n), 0);
	vm_numbers_fini(&n);
}

static pid_t process(int *gone)
{
	pid_t pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	*gone = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(*gone >= 0);
	return pid;
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void held_until_the_process_is_gone(void **state)
{
	(void)state;
	struct vm_numbers n = {0};
	int gone[3];
	pid_t first = process(&gone[0]), second = process(&gone[1]), other = process(&gone[2]);
	assert_int_equal(vm_numbers_take(&n), 1);
	assert_int_equal(vm_numbers_take(&n), 2);
	vm_numbers_hold(&n, 1, gone[0]);                   // two of its processes
	vm_numbers_hold(&n, 1, gone[1]);
	vm_numbers_hold(&n, 2, gone[2]);
	vm_numbers_drop(&n, 1);
	vm_numbers_drop(&n, 2);
	assert_int_equal(vm_numbers_take(&n), 3);
	end(first);
	assert_int_equal(vm_numbers_take(&n), 4);
	end(second);
	assert_int_equal(vm_numbers_take(&n), 1);
	assert_int_equal(vm_numbers_take(&n), 5);
	end(other);
	assert_int_equal(vm_numbers_take(&n), 2);
	vm_numbers_hold(&n, 5, -1);                        // its end cannot be seen
	vm_numbers_drop(&n, 5);
	assert_int_equal(vm_numbers_take(&n), 6);
	other = process(&gone[0]);
	vm_numbers_hold(&n, 6, gone[0]);
	vm_numbers_fini(&n);                               // closes what is left
	assert_int_equal(fcntl(gone[0], F_GETFD), -1);
	end(other);
}

static void not_dropped_yet(void **state)
{
	(void)state;
	struct vm_numbers n = {0};
	int gone;
	pid_t pid = process(&gone);
	assert_int_equal(vm_numbers_take(&n), 1);
	vm_numbers_hold(&n, 1, gone);
	end(pid);
	assert_int_equal(vm_numbers_take(&n), 2);          // whoever has it still has it
	vm_numbers_drop(&n, 1);
	assert_int_equal(vm_numbers_take(&n), 1);
	vm_numbers_fini(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_and_dropped),
		cmocka_unit_test(held_until_the_process_is_gone),
		cmocka_unit_test(not_dropped_yet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
