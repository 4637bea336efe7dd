// SPDX-License-Identifier: Apache-2.0
// A tiny guest's entry: PVH note, a stack, guest_main(start info).
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.section .text.start, "ax"
	.code32
	.global start
start:
	movl $stack_top, %esp
	pushl %ebx
	call guest_main
	hlt

	.bss
	.align 16
	.skip 16384
stack_top:
	.section .note.GNU-stack, "", @progbits
