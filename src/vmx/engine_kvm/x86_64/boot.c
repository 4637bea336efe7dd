// SPDX-License-Identifier: Apache-2.0
// Loading a kernel; see boot.h. Below 1 MiB: start info and command line at BOOT_INFO, page tables at BOOT_TABLES, ACPI tables at
// ACPI_BASE; an ELF kernel where its headers say, a bzImage at 1 MiB; the initramfs at the end of the memory below 4 GiB.
#include "boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmx/engine_kvm/x86_64/layout.h"

#define SEGMENTS_MAX 32
#define NOTES_MAX (1u << 20)
#define NOTE_PHYS32_ENTRY 18
#define PAGE 4096u
#define LINUX_MAGIC 0x53726448u   // "HdrS"
#define LINUX_VERSION 0x020c      // of the boot protocol: the 64-bit entry, and how much memory a kernel needs to unpack itself
#define E820_RAM 1
#define E820_RESERVED 2
#define E820_ACPI 3

// The start info of the PVH protocol, version 1.
struct start_info {
	uint32_t magic, version, flags, nmodules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t nmemmap, reserved;
};
struct start_module { uint64_t addr, size, cmdline, reserved; };
struct start_memory { uint64_t addr, size; uint32_t type, reserved; };

enum { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3 };

#define MAP_MAX 8
struct boot_page {                // at BOOT_INFO
	struct start_info info;
	struct start_module initrd;
	struct start_memory map[MAP_MAX];
	char cmdline[2048];
	struct boot_params linux_params;
};
_Static_assert(BOOT_INFO + sizeof(struct boot_page) <= BOOT_TABLES, "the start info fits");

enum protocol { PVH, LINUX32, LINUX64 };

struct kernel {                   // as loaded
	enum protocol protocol;
	uint64_t entry, end;      // the memory up to end is its own while it starts
	struct setup_header setup;   // of a bzImage
};

static int read_at(int fd, void *to, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

static int truncated(struct err *e) { return err_set(e, ENOEXEC, "the kernel's file is truncated"); }

// Find the entry point in a segment of notes.
static int find_entry(int fd, const Elf64_Phdr *p, uint32_t *eip, struct err *e)
{
	if (p->p_filesz > NOTES_MAX || p->p_offset > INT64_MAX - NOTES_MAX)
		return err_set(e, ENOEXEC, "the kernel's notes are too long");
	for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= p->p_filesz;) {
		Elf64_Nhdr n;
		char name[4];
		if (read_at(fd, &n, sizeof(n), p->p_offset + at))
			return truncated(e);
		uint64_t desc = at + sizeof(n) + ((n.n_namesz + 3ull) & ~3ull);
		if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 && n.n_descsz >= 4 && desc + 4 <= p->p_filesz) {
			if (read_at(fd, name, 4, p->p_offset + at + sizeof(n)) || read_at(fd, eip, 4, p->p_offset + desc))
				return truncated(e);
			if (!memcmp(name, "Xen", 4))
				return 1;
		}
		at = desc + ((n.n_descsz + 3ull) & ~3ull);
	}
	return 0;
}

static int load_segment(const struct guest_mem *mem, int fd, const Elf64_Phdr *p, uint64_t *end, struct err *e)
{
	if (!p->p_memsz)
		return 0;
	void *to = p->p_paddr >= HIGH_START ? gmem_at(mem, p->p_paddr, p->p_memsz, GMEM_WRITE) : NULL;
	if (!to)
		return err_set(e, ENOMEM, "the kernel wants %llu bytes at address 0x%llx, where this VM has no memory",
			       (unsigned long long)p->p_memsz, (unsigned long long)p->p_paddr);
	if (p->p_filesz > p->p_memsz || read_at(fd, to, p->p_filesz, p->p_offset))
		return truncated(e);
	if (p->p_paddr + p->p_memsz > *end)
		*end = p->p_paddr + p->p_memsz;
	return 0;
}

static int load_elf(const struct guest_mem *mem, int fd, const Elf64_Ehdr *h, struct kernel *k, struct err *e)
{
	Elf64_Phdr p[SEGMENTS_MAX];
	uint32_t eip = 0;
	int found = 0;
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64)
		return err_set(e, ENOEXEC, "the kernel is an ELF file, but not for x86-64");
	if (!h->e_phnum || h->e_phnum > SEGMENTS_MAX || h->e_phentsize != sizeof(p[0]) ||
	    read_at(fd, p, h->e_phnum * sizeof(p[0]), h->e_phoff))
		return err_set(e, ENOEXEC, "the kernel's program headers are not usable");
	k->end = HIGH_START;
	for (unsigned i = 0; i < h->e_phnum; i++) {
		int rc = 0;
		if (p[i].p_type == PT_NOTE && !found)
			rc = found = find_entry(fd, &p[i], &eip, e);
		else if (p[i].p_type == PT_LOAD)
			rc = load_segment(mem, fd, &p[i], &k->end, e);
		if (rc < 0)
			return rc;
	}
	k->protocol = found ? PVH : LINUX64;
	k->entry = found ? eip : h->e_entry;
	return k->entry >= HIGH_START && k->entry < k->end ? 0 :
	       err_set(e, ENOEXEC, "the kernel has no PVH entry point (ELF note of type 18), and its entry point is outside of it");
}

static int load_bzimage(const struct guest_mem *mem, int fd, struct kernel *k, struct err *e)
{
	const struct setup_header *h = &k->setup;
	struct stat st;
	if (read_at(fd, &k->setup, sizeof(k->setup), offsetof(struct boot_params, hdr)) || fstat(fd, &st))
		return truncated(e);
	if (h->version < LINUX_VERSION || !(h->loadflags & LOADED_HIGH))
		return err_set(e, ENOEXEC, "the kernel is a bzImage of boot protocol %u.%02u; wanted: 2.12 or later", h->version >> 8,
			       h->version & 0xff);
	uint64_t start = ((h->setup_sects ? h->setup_sects : 4) + 1) * 512ull, size = (uint64_t)st.st_size;
	k->end = (h->pref_address > HIGH_START ? h->pref_address : HIGH_START) + h->init_size;
	if (size <= start)
		return truncated(e);
	void *to = k->end <= mem->r[0].len && size - start < k->end - HIGH_START ?
		   gmem_at(mem, HIGH_START, size - start, GMEM_WRITE) : NULL;
	if (!to)
		return err_set(e, ENOMEM, "the kernel needs %llu MiB to unpack itself, more than this VM has",
			       (unsigned long long)(k->end >> 20));
	if (read_at(fd, to, size - start, start))
		return truncated(e);
	k->protocol = LINUX32;
	k->entry = HIGH_START;
	return 0;
}

static int load_kernel(const struct guest_mem *mem, int fd, struct kernel *k, struct err *e)
{
	union { Elf64_Ehdr elf; uint8_t bytes[1024]; } head = {.bytes = {0}};
	uint32_t magic;
	if (pread(fd, &head, sizeof(head), 0) < 0)
		return err_sys(e, errno, "read the kernel");
	memcpy(&magic, head.bytes + offsetof(struct boot_params, hdr.header), sizeof(magic));
	if (!memcmp(head.elf.e_ident, ELFMAG, SELFMAG))
		return load_elf(mem, fd, &head.elf, k, e);
	if (magic == LINUX_MAGIC)
		return load_bzimage(mem, fd, k, e);
	return err_set(e, ENOEXEC, "the kernel is neither an x86-64 ELF file (vmlinux) nor a bzImage");
}

// ---- what Linux wants to know

static void fill_linux(struct boot_page *b, const struct kernel *k)
{
	struct boot_params *p = &b->linux_params;
	p->hdr = k->setup;
	p->hdr.boot_flag = 0xaa55;
	p->hdr.header = LINUX_MAGIC;
	p->hdr.type_of_loader = 0xff;
	p->hdr.cmd_line_ptr = (uint32_t)b->info.cmdline;
	p->hdr.cmdline_size = (uint32_t)sizeof(b->cmdline) - 1;
	p->hdr.ramdisk_image = (uint32_t)b->initrd.addr;
	p->hdr.ramdisk_size = (uint32_t)b->initrd.size;
	p->acpi_rsdp_addr = b->info.rsdp;
	for (unsigned i = 0; i < b->info.nmemmap; i++)
		p->e820_table[i] = (struct boot_e820_entry){.addr = b->map[i].addr, .size = b->map[i].size, .type = b->map[i].type};
	p->e820_entries = (uint8_t)b->info.nmemmap;
}
_Static_assert(MEMORY_RAM == E820_RAM && MEMORY_RESERVED == E820_RESERVED && MEMORY_ACPI == E820_ACPI, "the same numbers");

// The first 4 GiB, each address at itself, in pages of 2 MiB.
static bool write_tables(const struct guest_mem *mem)
{
	uint64_t *t = gmem_at(mem, BOOT_TABLES, 6 * PAGE, GMEM_WRITE);
	if (!t)
		return false;
	memset(t, 0, 2 * PAGE);
	t[0] = (BOOT_TABLES + PAGE) | 3;
	for (uint64_t i = 0; i < 4; i++)
		t[512 + i] = (BOOT_TABLES + (2 + i) * PAGE) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		t[1024 + i] = i << 21 | 0x83;
	return true;
}

static int load_initrd(const struct guest_mem *mem, int fd, uint64_t kernel_end, struct start_module *m, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_sys(e, errno, "look at the initramfs");
	uint64_t size = (uint64_t)st.st_size, room = (size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	uint64_t top = mem->r[0].len;
	if (room > top || top - room < kernel_end)
		return err_set(e, ENOMEM, "%llu MiB of memory are too little for kernel and initramfs",
			       (unsigned long long)top >> 20);
	void *to = gmem_at(mem, top - room, size, GMEM_WRITE);
	int rc = to ? read_at(fd, to, size, 0) : -EFAULT;
	if (rc)
		return err_sys(e, -rc, "read the initramfs");
	*m = (struct start_module){.addr = top - room, .size = size};
	return 0;
}

static void map_add(struct boot_page *b, uint64_t from, uint64_t to, uint32_t type)
{
	b->map[b->info.nmemmap++] = (struct start_memory){.addr = from, .size = to - from, .type = type};
}

static void fill_map(struct boot_page *b, const struct guest_mem *mem)
{
	map_add(b, 0, LOW_RAM_END, MEMORY_RAM);
	map_add(b, ACPI_BASE, HIGH_START, MEMORY_ACPI);
	for (unsigned i = 0; i < mem->n; i++) {
		uint64_t from = mem->r[i].gpa ? mem->r[i].gpa : HIGH_START;
		map_add(b, from, mem->r[i].gpa + mem->r[i].len, MEMORY_RAM);
	}
	map_add(b, DEVICES_BASE, 1ull << 32, MEMORY_RESERVED);
}

int boot_load(const struct guest_mem *mem, int kernel_fd, int initrd_fd, const char *cmdline, gpa_t rsdp,
	      struct boot_entry *out, struct err *e)
{
	struct boot_page b = {.info = {
		.magic = 0x336ec578, .version = 1, .rsdp = rsdp, .cmdline = BOOT_INFO + offsetof(struct boot_page, cmdline),
		.memmap = BOOT_INFO + offsetof(struct boot_page, map),
	}};
	struct kernel k = {.entry = 0};
	void *page = gmem_at(mem, BOOT_INFO, sizeof(b), GMEM_WRITE);
	if (!page || mem->r[0].len <= HIGH_START)
		return err_set(e, ENOMEM, "the VM has too little memory");
	if (strlen(cmdline) >= sizeof(b.cmdline))
		return err_set(e, E2BIG, "the kernel's command line is longer than %zu bytes", sizeof(b.cmdline) - 1);
	strcpy(b.cmdline, cmdline);
	int rc = load_kernel(mem, kernel_fd, &k, e);
	if (!rc && initrd_fd >= 0)
		rc = load_initrd(mem, initrd_fd, k.end, &b.initrd, e);
	if (rc)
		return rc;
	if (b.initrd.size) {
		b.info.nmodules = 1;
		b.info.modules = BOOT_INFO + offsetof(struct boot_page, initrd);
	}
	fill_map(&b, mem);
	fill_linux(&b, &k);
	memcpy(page, &b, sizeof(b));
	if (k.protocol == LINUX64 && !write_tables(mem))
		return err_set(e, ENOMEM, "the VM has too little memory");
	*out = (struct boot_entry){.rip = k.entry, .rbx = k.protocol == PVH ? BOOT_INFO : 0, .rsi = k.protocol == PVH ? 0 :
				   BOOT_INFO + offsetof(struct boot_page, linux_params), .cr3 = k.protocol == LINUX64 ? BOOT_TABLES : 0};
	return 0;
}
