/*
 * rtc.h - the MC146818 real-time clock with its CMOS memory.
 *
 * Source: Motorola MC146818A data sheet; Intel ICH9 13.6 (second bank).
 * Ports 70-71 (bank 0, also with the NMI mask in bit 7) and 72-73 (bank 1).
 * Time starts as the host's UTC and then runs with the guest's clock.
 *
 * Threads: ports from any vCPU; timer from the loop.
 */
#ifndef HOSTEL_DEV_PC_RTC_H
#define HOSTEL_DEV_PC_RTC_H

#include "dev/dev.h"

struct rtc;

struct rtc_config {
	struct irq irq;    /* IRQ 8 */
	uint64_t ram_low;  /* bytes below 4 GiB, for the CMOS size fields */
	uint64_t ram_high; /* bytes from 4 GiB on */
};

int rtc_new(struct rtc **out, const struct dev_env *env,
	    const struct rtc_config *config, struct err *err);

/* CMOS byte `index` (0x0e..0xff), e.g. boot order for a BIOS. Any thread. */
void rtc_set_nvram(struct rtc *rtc, uint8_t index, uint8_t value);
uint8_t rtc_get_nvram(struct rtc *rtc, uint8_t index);

#endif
