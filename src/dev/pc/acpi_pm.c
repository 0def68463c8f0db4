/*
 * acpi_pm.c - the ACPI fixed hardware.
 *
 * Theory of operation
 *
 * ACPI 6.5, 4.8.3: PM1_STS bits are set by hardware and cleared by writing 1;
 * the SCI is up while a set status bit is enabled.  The PM timer is a counter
 * of 3.579545 MHz computed from guest time; TMR_STS is set when its top bit
 * (31, as TMR_VAL_EXT is set) changes: a host timer is armed for that only
 * while TMR_EN asks for it.
 *
 * Missing: S1 to S4, the sleep button, SMIs.  SLP_EN with another SLP_TYP
 * than S5's does nothing.
 */
#include "dev/pc/acpi_pm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ACPI_PM_PORTS 0x30

/* PM1_STS and PM1_EN share most bits. */
#define ACPI_PM_TMR_BIT    0x0001
#define ACPI_PM_GBL_BIT    0x0020
#define ACPI_PM_PWRBTN_BIT 0x0100
#define ACPI_PM_SLPBTN_BIT 0x0200
#define ACPI_PM_RTC_BIT    0x0400
#define ACPI_PM_EN_BITS                                           \
	(ACPI_PM_TMR_BIT | ACPI_PM_GBL_BIT | ACPI_PM_PWRBTN_BIT | \
	 ACPI_PM_RTC_BIT)
#define ACPI_PM_STS_WAK 0x8000
#define ACPI_PM_STS_BITS \
	(ACPI_PM_EN_BITS | ACPI_PM_SLPBTN_BIT | ACPI_PM_STS_WAK | 0x0010)

/* PM1_CNT: 13 SLP_EN, 12..10 SLP_TYP, 1 BM_RLD, 0 SCI_EN. */
#define ACPI_PM_SCI_EN  0x0001
#define ACPI_PM_BM_RLD  0x0002
#define ACPI_PM_SLP_TYP 0x1c00
#define ACPI_PM_SLP_EN  0x2000

/* Offsets of bytes in the block. */
#define ACPI_PM_O_STS     0x00
#define ACPI_PM_O_EN      0x02
#define ACPI_PM_O_CNT     0x04
#define ACPI_PM_O_TMR     0x08
#define ACPI_PM_O_GPE_STS 0x20
#define ACPI_PM_O_GPE_EN  0x28
#define ACPI_PM_GPE_BYTES 8

struct acpi_pm {
	struct dev dev;
	struct vclock *clock;
	struct irq sci;
	struct dev_hook power_off;
	struct timer timer;
	pthread_mutex_t lock; /* guards all below */
	uint16_t sts, en, cnt;
	uint64_t gpe_sts, gpe_en;
	uint64_t half; /* half-periods of the timer that TMR_STS knows of */
};

/* --- The timer ------------------------------------------------------------ */

static uint64_t acpi_pm_ticks(const struct acpi_pm *pm)
{
	__uint128_t ns = vclock_now(pm->clock);

	return (uint64_t)(ns * ACPI_PM_TIMER_HZ / 1000000000u);
}

static void acpi_pm_arm(struct acpi_pm *pm)
{
	__uint128_t ticks = (__uint128_t)(pm->half + 1) << 31;

	timer_arm(&pm->timer,
		  (uint64_t)((ticks * 1000000000u + ACPI_PM_TIMER_HZ - 1) /
			     ACPI_PM_TIMER_HZ));
}

/* TMR_STS: bit 31 of the counter has changed since last looked at. */
static void acpi_pm_update_timer(struct acpi_pm *pm)
{
	uint64_t half = acpi_pm_ticks(pm) >> 31;

	if (half != pm->half)
		pm->sts |= ACPI_PM_TMR_BIT;
	pm->half = half;
	if (pm->en & ACPI_PM_TMR_BIT)
		acpi_pm_arm(pm);
}

static void acpi_pm_update_sci(struct acpi_pm *pm)
{
	bool level = (pm->sts & pm->en) || (pm->gpe_sts & pm->gpe_en);

	irq_set(&pm->sci, level);
}

static void acpi_pm_timer(void *opaque)
{
	struct acpi_pm *pm = opaque;

	pthread_mutex_lock(&pm->lock);
	acpi_pm_update_timer(pm);
	acpi_pm_update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->sts |= ACPI_PM_PWRBTN_BIT;
	acpi_pm_update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned n)
{
	if (n >= ACPI_PM_GPE_BYTES * 8)
		return;
	pthread_mutex_lock(&pm->lock);
	pm->gpe_sts |= 1ull << n;
	acpi_pm_update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* --- Registers ------------------------------------------------------------ */

/* The block as bytes: any width, any place, as AML and old drivers do. */
static void acpi_pm_image(const struct acpi_pm *pm,
			  uint8_t image[ACPI_PM_PORTS])
{
	uint32_t ticks = (uint32_t)acpi_pm_ticks(pm);
	uint16_t cnt = pm->cnt | ACPI_PM_SCI_EN;

	memset(image, 0, ACPI_PM_PORTS);
	memcpy(image + ACPI_PM_O_STS, &pm->sts, 2);
	memcpy(image + ACPI_PM_O_EN, &pm->en, 2);
	memcpy(image + ACPI_PM_O_CNT, &cnt, 2);
	memcpy(image + ACPI_PM_O_TMR, &ticks, 4);
	memcpy(image + ACPI_PM_O_GPE_STS, &pm->gpe_sts, 8);
	memcpy(image + ACPI_PM_O_GPE_EN, &pm->gpe_en, 8);
}

/* The timer is what is read all the time: it takes no lock. */
static uint64_t acpi_pm_read(void *dev, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = dev;
	uint8_t image[ACPI_PM_PORTS + 4] = { 0 };
	uint32_t value;

	if (offset == ACPI_PM_O_TMR && size == 4)
		return (uint32_t)acpi_pm_ticks(pm);
	pthread_mutex_lock(&pm->lock);
	acpi_pm_update_timer(pm);
	acpi_pm_update_sci(pm);
	acpi_pm_image(pm, image);
	pthread_mutex_unlock(&pm->lock);
	memcpy(&value, image + offset, 4);
	return value;
}

static void acpi_pm_write_byte(struct acpi_pm *pm, unsigned offset,
			       uint8_t byte)
{
	unsigned hi = (offset & 1) * 8;
	unsigned gpe = (offset & 7) * 8;

	switch (offset) {
	case ACPI_PM_O_STS:
	case ACPI_PM_O_STS + 1:
		pm->sts &= ~(byte << hi & ACPI_PM_STS_BITS);
		break;
	case ACPI_PM_O_EN:
	case ACPI_PM_O_EN + 1:
		pm->en = (pm->en & ~(0xff << hi)) |
			 (byte << hi & ACPI_PM_EN_BITS);
		break;
	case ACPI_PM_O_CNT:
	case ACPI_PM_O_CNT + 1:
		pm->cnt = (pm->cnt & ~(0xff << hi)) |
			  (byte << hi & (ACPI_PM_BM_RLD | ACPI_PM_SLP_TYP));
		break;
	case ACPI_PM_O_GPE_STS ... ACPI_PM_O_GPE_STS + 7:
		pm->gpe_sts &= ~((uint64_t)byte << gpe);
		break;
	case ACPI_PM_O_GPE_EN ... ACPI_PM_O_GPE_EN + 7:
		pm->gpe_en = (pm->gpe_en & ~(0xffull << gpe)) | (uint64_t)byte
									<< gpe;
		break;
	}
}

/* Does this write set SLP_EN, with S5's type in force? */
static bool acpi_pm_sleeps(const struct acpi_pm *pm, unsigned offset,
			   unsigned size, uint64_t value)
{
	if (offset > ACPI_PM_O_CNT + 1 || offset + size < ACPI_PM_O_CNT + 2)
		return false;
	uint8_t high = (uint8_t)(value >> (ACPI_PM_O_CNT + 1 - offset) * 8);

	return (high << 8 & ACPI_PM_SLP_EN) &&
	       (pm->cnt & ACPI_PM_SLP_TYP) == ACPI_PM_SLP_TYP_S5 << 10;
}

static void acpi_pm_write(void *dev, uint64_t offset, unsigned size,
			  uint64_t value)
{
	struct acpi_pm *pm = dev;

	pthread_mutex_lock(&pm->lock);
	acpi_pm_update_timer(pm);
	for (unsigned i = 0; i < size; i++)
		acpi_pm_write_byte(pm, (unsigned)offset + i,
				   (uint8_t)(value >> i * 8));
	bool sleeps = acpi_pm_sleeps(pm, (unsigned)offset, size, value);
	if (pm->en & ACPI_PM_TMR_BIT)
		acpi_pm_arm(pm);
	acpi_pm_update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
	if (sleeps)
		dev_hook_call(&pm->power_off, 0);
}

static const struct io_ops acpi_pm_ops = {
	.read = acpi_pm_read,
	.write = acpi_pm_write,
	.max_size = 4,
};

/* --- Life ----------------------------------------------------------------- */

static void acpi_pm_reset(struct dev *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	pthread_mutex_lock(&pm->lock);
	pm->sts = pm->en = pm->cnt = 0;
	pm->gpe_sts = pm->gpe_en = 0;
	pm->half = acpi_pm_ticks(pm) >> 31;
	acpi_pm_update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

static void acpi_pm_walk(struct dev *dev, struct walk *w)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	if (!walk_section(w, "acpi-pm", 0, 1))
		return;
	pthread_mutex_lock(&pm->lock);
	walk_u16(w, "sts", &pm->sts);
	walk_u16(w, "en", &pm->en);
	walk_u16(w, "cnt", &pm->cnt);
	walk_u64(w, "gpe_sts", &pm->gpe_sts);
	walk_u64(w, "gpe_en", &pm->gpe_en);
	walk_u64(w, "half", &pm->half);
	walk_end(w);
	if (walk_restoring(w)) {
		pm->sts &= ACPI_PM_STS_BITS;
		pm->en &= ACPI_PM_EN_BITS;
		acpi_pm_update_timer(pm);
	}
	pthread_mutex_unlock(&pm->lock);
}

static void acpi_pm_free(struct dev *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	timer_disarm(&pm->timer);
	pthread_mutex_destroy(&pm->lock);
	free(pm);
}

int acpi_pm_new(struct acpi_pm **out, const struct dev_env *env, struct irq sci,
		struct dev_hook power_off, struct err *err)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));

	if (!pm)
		return err_set(err, ENOMEM, "no memory for the ACPI block");
	pm->dev = (struct dev){ .name = "acpi-pm",
				.reset = acpi_pm_reset,
				.walk = acpi_pm_walk,
				.free = acpi_pm_free };
	pm->clock = env->clock;
	pm->sci = sci;
	pm->power_off = power_off;
	pthread_mutex_init(&pm->lock, NULL);
	timer_init(&pm->timer, env->loop, acpi_pm_timer, pm);
	int rc = mem_map_ports(env->mem, ACPI_PM_BASE, ACPI_PM_PORTS,
			       &acpi_pm_ops, pm, "acpi-pm");
	if (rc < 0) {
		acpi_pm_free(&pm->dev);
		return err_set(err, -rc, "ACPI block: ports in use");
	}
	acpi_pm_reset(&pm->dev);
	*out = pm;
	return 0;
}
