// SPDX-License-Identifier: Apache-2.0
// ACPI tables (ACPI 6.4); see acpi.h. The DSDT is guest/kvm.asl, the others are small enough to be written here.
#include "acpi.h"

#include <stddef.h>
#include <string.h>

#include "dsdt.h"
#include "vmx/engine_kvm/x86_64/layout.h"

#define SLOTS_MARK 0x5AA5C33Cu        // the value of SLTS in the DSDT

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
} __attribute__((packed));

struct address { uint8_t space, bits, offset, access; uint64_t at; } __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct fadt {
	struct header h;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint8_t legacy[63];            // fixed hardware, of which there is none
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct address reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct address x_legacy[8];
	struct address sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276 && offsetof(struct fadt, boot_arch) == 109, "as in ACPI 6.4, table 5.9");

#define FADT_NO_VGA (1u << 2)
#define FADT_NO_MSI (1u << 3)
#define FADT_NO_CMOS_CLOCK (1u << 5)
#define FADT_WBINVD (1u << 0)
#define FADT_SLEEP_BUTTON (1u << 5)   // set: it is not a fixed feature
#define FADT_POWER_BUTTON (1u << 4)
#define FADT_RESET_REG (1u << 10)
#define FADT_HW_REDUCED (1u << 20)

struct madt {
	struct header h;
	uint32_t lapic, flags;
} __attribute__((packed));
struct madt_lapic { uint8_t type, length, processor, apic; uint32_t flags; } __attribute__((packed));
struct madt_ioapic { uint8_t type, length, id, reserved; uint32_t at, first; } __attribute__((packed));

struct xsdt { struct header h; uint64_t table[2]; } __attribute__((packed));

struct area { uint8_t *base; gpa_t gpa; size_t len, size; };   // where tables are put one behind the other

static uint8_t checksum(const void *p, size_t len)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += ((const uint8_t *)p)[i];
	return (uint8_t)-sum;
}

static void *reserve(struct area *a, size_t len, gpa_t *gpa)
{
	a->len = (a->len + 15) & ~(size_t)15;
	if (len > a->size - a->len)
		return NULL;
	uint8_t *p = a->base + a->len;
	*gpa = a->gpa + a->len;
	a->len += len;
	return p;
}

static void finish(struct header *h, const char *signature, uint8_t revision, size_t len)
{
	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)len;
	h->revision = revision;
	memcpy(h->oem, "BLKHD ", 6);
	memcpy(h->oem_table, "KVM     ", 8);
	h->oem_revision = h->creator_revision = 1;
	memcpy(&h->creator, "BLKH", 4);
	h->checksum = 0;
	h->checksum = checksum(h, len);
}

static gpa_t put_dsdt(struct area *a, uint32_t slots)
{
	const uint32_t mark = SLOTS_MARK;
	gpa_t gpa;
	uint8_t *p = reserve(a, sizeof(dsdt_aml), &gpa);
	if (!p)
		return 0;
	memcpy(p, dsdt_aml, sizeof(dsdt_aml));
	uint8_t *at = memmem(p, sizeof(dsdt_aml), &mark, sizeof(mark));
	if (!at)
		return 0;
	memcpy(at, &slots, sizeof(slots));
	finish((struct header *)p, "DSDT", 2, sizeof(dsdt_aml));
	return gpa;
}

static struct address port(uint16_t at) { return (struct address){.space = 1, .bits = 8, .access = 1, .at = at}; }

static gpa_t put_fadt(struct area *a, gpa_t dsdt)
{
	gpa_t gpa;
	struct fadt *f = reserve(a, sizeof(*f), &gpa);
	if (!f || !dsdt)
		return 0;
	*f = (struct fadt){
		.dsdt = (uint32_t)dsdt, .x_dsdt = dsdt, .minor = 4,
		.boot_arch = FADT_NO_VGA | FADT_NO_MSI | FADT_NO_CMOS_CLOCK,
		.flags = FADT_WBINVD | FADT_POWER_BUTTON | FADT_SLEEP_BUTTON | FADT_RESET_REG | FADT_HW_REDUCED,
		.reset_reg = port(PORT_RESET), .reset_value = 1,
		.sleep_control = port(PORT_SLEEP_CONTROL), .sleep_status = port(PORT_SLEEP_STATUS),
	};
	finish(&f->h, "FACP", 6, sizeof(*f));
	return gpa;
}

static gpa_t put_madt(struct area *a, unsigned vcpus)
{
	gpa_t gpa;
	size_t len = sizeof(struct madt) + vcpus * sizeof(struct madt_lapic) + sizeof(struct madt_ioapic);
	struct madt *m = reserve(a, len, &gpa);
	if (!m)
		return 0;
	*m = (struct madt){.lapic = (uint32_t)LAPIC_BASE};
	struct madt_lapic *l = (struct madt_lapic *)(m + 1);
	for (unsigned i = 0; i < vcpus; i++)
		*l++ = (struct madt_lapic){.type = 0, .length = sizeof(*l), .processor = (uint8_t)i, .apic = (uint8_t)i,
					   .flags = 1};
	*(struct madt_ioapic *)l = (struct madt_ioapic){.type = 1, .length = sizeof(struct madt_ioapic),
							.at = (uint32_t)IOAPIC_BASE};
	finish(&m->h, "APIC", 5, len);
	return gpa;
}

gpa_t acpi_write(const struct guest_mem *mem, unsigned vcpus, uint32_t slots)
{
	struct area a = {.gpa = ACPI_BASE, .size = HIGH_START - ACPI_BASE};
	gpa_t rsdp_at = 0, xsdt_at = 0;
	a.base = gmem_at(mem, a.gpa, a.size, GMEM_WRITE);
	if (!a.base)
		return 0;
	struct rsdp *r = reserve(&a, sizeof(*r), &rsdp_at);
	struct xsdt *x = reserve(&a, sizeof(*x), &xsdt_at);
	gpa_t fadt = put_fadt(&a, put_dsdt(&a, slots)), madt = put_madt(&a, vcpus);
	if (!r || !x || !fadt || !madt)
		return 0;
	*x = (struct xsdt){.table = {fadt, madt}};
	finish(&x->h, "XSDT", 1, sizeof(*x));
	*r = (struct rsdp){.revision = 2, .length = sizeof(*r), .xsdt = xsdt_at};
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem, "BLKHD ", 6);
	r->checksum = checksum(r, offsetof(struct rsdp, length));
	r->extended_checksum = checksum(r, sizeof(*r));
	return rsdp_at;
}
