/*
 * aml.h - writing ACPI machine language.
 *
 * Source: ACPI specification 6.5, chapter 20 (AML grammar) and 6.4 (resource
 * descriptors).
 *
 * A writer appends to a buffer of fixed size; what does not fit sets
 * `overflow` and is dropped, so callers check once at the end.  Constructs
 * nest: each aml_begin_*() needs its aml_end().  Names are one or two segments
 * ("A.B") of at most four characters, padded with '_'; a leading '\' is the
 * root.
 */
#ifndef HOSTEL_MACHINE_AML_H
#define HOSTEL_MACHINE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_DEPTH 8

struct aml {
	uint8_t *buf;
	size_t len, cap;
	bool overflow;
	unsigned depth;
	size_t open[AML_DEPTH]; /* where the open constructs' lengths go */
	size_t resources;       /* where the open buffer's size goes */
};

void aml_init(struct aml *a, void *buf, size_t cap);

/* --- Data ------------------------------------------------------------- */

void aml_int(struct aml *a, uint64_t value);
void aml_string(struct aml *a, const char *s);
/* "PNP0A03" as the integer that encodes it. */
void aml_eisa_id(struct aml *a, const char *id);

/* --- Named objects ------------------------------------------------------ */

/* Name (name, <what is written next>) */
void aml_name(struct aml *a, const char *name);
void aml_name_int(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *s);
void aml_name_eisa_id(struct aml *a, const char *name, const char *id);

/* --- Constructs ------------------------------------------------------------
 */

void aml_begin_scope(struct aml *a, const char *name);
void aml_begin_device(struct aml *a, const char *name);
void aml_begin_package(struct aml *a, uint8_t elements);
/* Serialized. */
void aml_begin_method(struct aml *a, const char *name, unsigned args);
/* What is written next is the condition, then what is done. */
void aml_begin_if(struct aml *a);
void aml_begin_else(struct aml *a);
void aml_end(struct aml *a);

/* In a PCI function's device: bytes of its configuration space by name. */
void aml_pci_bytes(struct aml *a, const char *region, uint8_t offset,
		   const char *const *names, uint8_t count);

/* Ports as a region, and dwords of it: a field_dword for each, aml_end(). */
void aml_region_io(struct aml *a, const char *name, uint16_t base,
		   uint16_t len);
void aml_begin_field(struct aml *a, const char *region);
void aml_field_dword(struct aml *a, const char *name);

/* --- Terms ---------------------------------------------------------------- */

/* Operators come before their operands, the target last. */
enum aml_op {
	AML_OP_NOTHING = 0x00, /* as a target */
	AML_OP_LOCAL0 = 0x60,
	AML_OP_ARG0 = 0x68,
	AML_OP_STORE = 0x70,
	AML_OP_SUBTRACT = 0x74,
	AML_OP_SHIFT_LEFT = 0x79,
	AML_OP_AND = 0x7b,
	AML_OP_OR = 0x7d,
	AML_OP_NOTIFY = 0x86,     /* object, value */
	AML_OP_FIND_RIGHT = 0x82, /* lowest bit that is set, from 1 */
	AML_OP_WORD_FIELD = 0x8b, /* buffer, offset, new name */
	AML_OP_RETURN = 0xa4,
};
void aml_op(struct aml *a, enum aml_op op);
/* The object of that name (or path): what it holds, or a call of it. */
void aml_ref(struct aml *a, const char *name);

/* Name (name, ResourceTemplate () { ... }), closed by aml_end_resources(). */
void aml_begin_resources(struct aml *a, const char *name);
void aml_end_resources(struct aml *a);

/* Ports [base, base+len), decoded with 16 bits, fixed. */
void aml_io(struct aml *a, uint16_t base, uint8_t len);
/* ISA IRQ 0..15: edge, active high, exclusive. */
void aml_irq(struct aml *a, unsigned irq);
/* A choice of ISA IRQs, one bit each: level, active low, shared. */
void aml_irqs_shared(struct aml *a, uint16_t irqs);
/* A global interrupt: level, active high, shared. */
void aml_gsi(struct aml *a, uint32_t gsi);
/* Fixed memory, writable. */
void aml_memory32(struct aml *a, uint32_t base, uint32_t len);

/* What a bridge passes on: [min, max]. */
void aml_window_bus(struct aml *a, uint16_t min, uint16_t max);
void aml_window_io(struct aml *a, uint16_t min, uint16_t max);
void aml_window_mem32(struct aml *a, uint32_t min, uint32_t max);
void aml_window_mem64(struct aml *a, uint64_t min, uint64_t max);

#endif
