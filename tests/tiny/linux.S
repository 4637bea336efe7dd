// SPDX-License-Identifier: Apache-2.0
// A kernel entered by the boot protocols of Linux: 64-bit code as an ELF file without PVH note, 32-bit code as a bzImage (BITS 64
// or 32). It looks for the boot parameters at rsi, writes a letter and powers off.
	.section .text.start, "ax"
	.global start
#if BITS == 64
	.code64
#else
	.code32
#endif
start:
	movb $'-', %al
	cmpl $0x53726448, 0x202(%esi)     // the header's magic
	jne 1f
	movb $'L', %al
1:	movw $0x3f8, %dx
	outb %al, %dx
	movb $'\n', %al
	outb %al, %dx
	movw $0x600, %dx
	movb $0x34, %al
	outb %al, %dx
2:	jmp 2b
	.section .note.GNU-stack, "", @progbits
