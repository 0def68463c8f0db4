/*
 * acpi_pm.h - the ACPI fixed hardware: power management block and PM timer.
 *
 * Source: ACPI specification 6.5, chapter 4; register layout of ICH9 13.8.
 *
 *	600  PM1_STS (16)	608  PM_TMR (32 bits valid)
 *	602  PM1_EN (16)	620  GPE0_STS (8 bytes), 628 GPE0_EN (8)
 *	604  PM1_CNT (16)
 *
 * For the tables: PM1a event block 600 length 4, PM1a control block 604
 * length 2, PM timer 608 length 4 with TMR_VAL_EXT set, GPE0 block 620 length
 * 16, SCI on IRQ 9 (level, active high), SMI_CMD 0 (ACPI is always on),
 * _S5 = { 0, 0, 0, 0 }, reset register: port cf9 value 6 (pci/host.h).
 *
 * Threads: ports from any vCPU; button from any thread; timer from the loop.
 */
#ifndef HOSTEL_DEV_PC_ACPI_PM_H
#define HOSTEL_DEV_PC_ACPI_PM_H

#include "dev/dev.h"

#define ACPI_PM_BASE       0x600
#define ACPI_PM_EVT        (ACPI_PM_BASE + 0x00)
#define ACPI_PM_CNT        (ACPI_PM_BASE + 0x04)
#define ACPI_PM_TMR        (ACPI_PM_BASE + 0x08)
#define ACPI_PM_GPE0       (ACPI_PM_BASE + 0x20)
#define ACPI_PM_GPE0_LEN   16
#define ACPI_PM_SCI_IRQ    9
#define ACPI_PM_SLP_TYP_S5 0
#define ACPI_PM_TIMER_HZ   3579545u

struct acpi_pm;

/* power_off: the guest entered S5 (value 0). */
int acpi_pm_new(struct acpi_pm **out, const struct dev_env *env, struct irq sci,
		struct dev_hook power_off, struct err *err);

/* Someone pressed the power button: PWRBTN_STS, and SCI if enabled. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* Raises general purpose event n (0..63), edge, e.g. for hot-plug. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned n);

#endif
