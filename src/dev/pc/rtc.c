/*
 * rtc.c - the real-time clock with its CMOS memory.
 *
 * Theory of operation
 *
 * The clock is a number: calendar time in ns = guest time + `offset`.  The
 * time registers are made from it when they are read; a write turns them back
 * into an offset.  While SET (B bit 7) or the divider's reset (A, DV = 11x)
 * holds the clock, they are plain memory, and `fraction` keeps the part of a
 * second; leaving the divider's reset starts it at one half, as the data
 * sheet says.
 *
 * Flags (C) are worked out when looked at: rtc_catch_up() asks what lay
 * between `checked` and now: a period of the rate selector, the end of a
 * second, a match of the alarm.  The host timer is armed only for flags whose
 * interrupt is enabled, so an idle clock costs nothing.
 *
 * Periods that nobody acknowledged are one flag, as in the chip: they are
 * not made up for.  Daylight saving (DSE) and SQW are not done.
 */
#include "dev/pc/rtc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RTC_PORT   0x70
#define RTC_NS     1000000000ull
#define RTC_UIP_NS 244141ull /* UIP rises so long before the update */
#define RTC_HZ     32768u
#define RTC_LATEST 9000000000ll /* s: ns of it fit in 63 bits */

enum rtc_reg {
	RTC_SEC,
	RTC_SEC_ALARM,
	RTC_MIN,
	RTC_MIN_ALARM,
	RTC_HOUR,
	RTC_HOUR_ALARM,
	RTC_DOW,
	RTC_DAY,
	RTC_MONTH,
	RTC_YEAR,
	RTC_A,
	RTC_B,
	RTC_C,
	RTC_D,
	RTC_CENTURY = 0x32,
};

#define RTC_A_UIP    0x80
#define RTC_A_RESET  0x60 /* DV = 11x holds the divider */
#define RTC_B_SET    0x80
#define RTC_B_PIE    0x40
#define RTC_B_AIE    0x20
#define RTC_B_UIE    0x10
#define RTC_B_BINARY 0x04
#define RTC_B_24H    0x02
#define RTC_C_IRQF   0x80
#define RTC_C_PF     0x40
#define RTC_C_AF     0x20
#define RTC_C_UF     0x10
#define RTC_D_VRT    0x80
#define RTC_ANY      0xc0 /* alarm: 11xxxxxx matches everything */
#define RTC_PM       0x80

struct rtc {
	struct dev dev;
	struct vclock *clock;
	struct irq irq;
	struct timer timer;
	pthread_mutex_t lock; /* guards all below */
	uint8_t index[2];     /* ports 70 and 72 */
	uint8_t ram[256];     /* ram[RTC_C] is the flags without IRQF */
	uint64_t offset;      /* calendar ns - guest ns, modulo 2^64 */
	uint64_t fraction;    /* of the second, while held */
	uint64_t checked;     /* guest ns up to which flags are known */
	uint8_t dow_shift;    /* what the guest's weekday differs, 0..6 */
};

/* --- Calendar ------------------------------------------------------------- */

static bool rtc_held(const struct rtc *r)
{
	return (r->ram[RTC_B] & RTC_B_SET) ||
	       (r->ram[RTC_A] & RTC_A_RESET) == RTC_A_RESET;
}

static uint8_t rtc_encode(const struct rtc *r, unsigned v)
{
	if (r->ram[RTC_B] & RTC_B_BINARY)
		return (uint8_t)v;
	return (uint8_t)(v / 10 % 10 << 4 | v % 10);
}

static unsigned rtc_decode(const struct rtc *r, uint8_t v)
{
	if (r->ram[RTC_B] & RTC_B_BINARY)
		return v;
	return (v >> 4) * 10 + (v & 15);
}

static uint8_t rtc_encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->ram[RTC_B] & RTC_B_24H)
		return rtc_encode(r, hour);
	return rtc_encode(r, hour % 12 ? hour % 12 : 12) |
	       (hour >= 12 ? RTC_PM : 0);
}

static unsigned rtc_decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->ram[RTC_B] & RTC_B_24H)
		return rtc_decode(r, v);
	return rtc_decode(r, v & ~RTC_PM) % 12 + (v & RTC_PM ? 12 : 0);
}

/* Makes the time registers from the clock. */
static void rtc_load(struct rtc *r, uint64_t now)
{
	time_t t = (time_t)((now + r->offset) / RTC_NS);
	struct tm tm;

	if (rtc_held(r) || !gmtime_r(&t, &tm))
		return;
	unsigned year = (unsigned)tm.tm_year + 1900;
	r->ram[RTC_SEC] = rtc_encode(r, (unsigned)tm.tm_sec);
	r->ram[RTC_MIN] = rtc_encode(r, (unsigned)tm.tm_min);
	r->ram[RTC_HOUR] = rtc_encode_hour(r, (unsigned)tm.tm_hour);
	r->ram[RTC_DOW] = (uint8_t)((tm.tm_wday + r->dow_shift) % 7 + 1);
	r->ram[RTC_DAY] = rtc_encode(r, (unsigned)tm.tm_mday);
	r->ram[RTC_MONTH] = rtc_encode(r, (unsigned)tm.tm_mon + 1);
	r->ram[RTC_YEAR] = rtc_encode(r, year % 100);
	r->ram[RTC_CENTURY] = rtc_encode(r, year / 100);
}

/*
 * Sets the clock from the time registers.  They may hold anything: timegm()
 * normalises, and what does not fit between 1970 and 2255 is cut.
 */
static void rtc_store(struct rtc *r, uint64_t now, uint64_t fraction)
{
	struct tm tm = {
		.tm_sec = (int)rtc_decode(r, r->ram[RTC_SEC]),
		.tm_min = (int)rtc_decode(r, r->ram[RTC_MIN]),
		.tm_hour = (int)rtc_decode_hour(r, r->ram[RTC_HOUR]),
		.tm_mday = (int)rtc_decode(r, r->ram[RTC_DAY]),
		.tm_mon = (int)rtc_decode(r, r->ram[RTC_MONTH]) - 1,
		.tm_year = (int)(rtc_decode(r, r->ram[RTC_CENTURY]) * 100 +
				 rtc_decode(r, r->ram[RTC_YEAR])) -
			   1900,
	};
	time_t t = timegm(&tm);

	if (t < 0)
		t = 0;
	if (t > RTC_LATEST)
		t = RTC_LATEST;
	r->offset = (uint64_t)t * RTC_NS + fraction - now;
	r->dow_shift = (uint8_t)(r->ram[RTC_DOW] + 7 - 1 - tm.tm_wday) % 7;
}

static uint64_t rtc_fraction(const struct rtc *r, uint64_t now)
{
	return (now + r->offset) % RTC_NS;
}

/* --- Alarm ---------------------------------------------------------------- */

static bool rtc_alarm_matches(uint8_t alarm, uint8_t value)
{
	return (alarm & RTC_ANY) == RTC_ANY || alarm == value;
}

/*
 * The first second after `t` (calendar seconds) that the alarm matches; 0: it
 * never does.  A part that does not match is skipped as a whole.
 */
static uint64_t rtc_next_alarm(const struct rtc *r, uint64_t t)
{
	uint64_t end = t + 86400;

	for (t++; t <= end;) {
		unsigned hour = t / 3600 % 24, min = t / 60 % 60, sec = t % 60;

		if (!rtc_alarm_matches(r->ram[RTC_HOUR_ALARM],
				       rtc_encode_hour(r, hour)))
			t += 3600 - t % 3600;
		else if (!rtc_alarm_matches(r->ram[RTC_MIN_ALARM],
					    rtc_encode(r, min)))
			t += 60 - t % 60;
		else if (!rtc_alarm_matches(r->ram[RTC_SEC_ALARM],
					    rtc_encode(r, sec)))
			t++;
		else
			return t;
	}
	return 0;
}

/* --- Flags and the interrupt ---------------------------------------------- */

/* Length of a period in 1/32768 s (data sheet, table 5); 0: off. */
static unsigned rtc_period(const struct rtc *r)
{
	unsigned rs = r->ram[RTC_A] & 15;

	if (rs == 0 || (r->ram[RTC_A] & RTC_A_RESET) == RTC_A_RESET)
		return 0;
	return 1u << (rs < 3 ? rs + 6 : rs - 1);
}

static uint64_t rtc_ticks(uint64_t ns)
{
	return (uint64_t)((__uint128_t)ns * RTC_HZ / RTC_NS);
}

static void rtc_update_irq(struct rtc *r)
{
	irq_set(&r->irq, r->ram[RTC_C] & r->ram[RTC_B] &
				 (RTC_C_PF | RTC_C_AF | RTC_C_UF));
}

/* Sets the flags of what happened since `checked`. */
static void rtc_catch_up(struct rtc *r, uint64_t now)
{
	unsigned period = rtc_period(r);
	uint64_t before = (r->checked + r->offset) / RTC_NS;
	uint64_t after = (now + r->offset) / RTC_NS;

	if (period && rtc_ticks(now) / period != rtc_ticks(r->checked) / period)
		r->ram[RTC_C] |= RTC_C_PF;
	if (!rtc_held(r) && after > before) {
		uint64_t alarm = rtc_next_alarm(r, before);

		r->ram[RTC_C] |= RTC_C_UF;
		if (alarm && alarm <= after)
			r->ram[RTC_C] |= RTC_C_AF;
	}
	r->checked = now;
}

static uint64_t rtc_earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Arms the timer for the next flag whose interrupt is enabled. */
static void rtc_arm(struct rtc *r, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	uint8_t want = r->ram[RTC_B] & ~r->ram[RTC_C];
	unsigned period = rtc_period(r);
	uint64_t second = (now + r->offset) / RTC_NS;

	if ((want & RTC_B_PIE) && period) {
		__uint128_t tick = (rtc_ticks(now) / period + 1) * period;

		next = (uint64_t)((tick * RTC_NS + RTC_HZ - 1) / RTC_HZ);
	}
	if ((want & RTC_B_UIE) && !rtc_held(r))
		next = rtc_earlier(next, (second + 1) * RTC_NS - r->offset);
	if ((want & RTC_B_AIE) && !rtc_held(r)) {
		uint64_t alarm = rtc_next_alarm(r, second);

		if (alarm)
			next = rtc_earlier(next, alarm * RTC_NS - r->offset);
	}
	if (next <= now) /* a restored clock that is about to wrap */
		next = now + RTC_NS;
	if (next != UINT64_MAX)
		timer_arm(&r->timer, next);
}

static void rtc_timer(void *opaque)
{
	struct rtc *r = opaque;

	pthread_mutex_lock(&r->lock);
	uint64_t now = vclock_now(r->clock);
	rtc_catch_up(r, now);
	rtc_update_irq(r);
	rtc_arm(r, now);
	pthread_mutex_unlock(&r->lock);
}

/* --- Registers ------------------------------------------------------------ */

static bool rtc_is_time(unsigned reg)
{
	return reg == RTC_CENTURY ||
	       (reg <= RTC_YEAR && reg != RTC_SEC_ALARM &&
		reg != RTC_MIN_ALARM && reg != RTC_HOUR_ALARM);
}

static uint8_t rtc_read_reg(struct rtc *r, unsigned reg, uint64_t now)
{
	uint8_t value;

	if (rtc_is_time(reg))
		rtc_load(r, now);
	value = r->ram[reg];
	if (reg == RTC_A && !rtc_held(r) &&
	    rtc_fraction(r, now) >= RTC_NS - RTC_UIP_NS)
		value |= RTC_A_UIP;
	if (reg != RTC_C)
		return value;
	if (value & r->ram[RTC_B])
		value |= RTC_C_IRQF;
	r->ram[RTC_C] = 0; /* reading clears */
	return value;
}

/* A and B may start or stop the clock; SET also disables UIE. */
static void rtc_write_control(struct rtc *r, unsigned reg, uint8_t value,
			      uint64_t now)
{
	bool was_held = rtc_held(r);
	bool was_reset = (r->ram[RTC_A] & RTC_A_RESET) == RTC_A_RESET;

	if (!was_held) {
		rtc_load(r, now);
		r->fraction = rtc_fraction(r, now);
	}
	if (reg == RTC_B && (value & RTC_B_SET))
		value &= ~RTC_B_UIE;
	r->ram[reg] = reg == RTC_A ? value & ~RTC_A_UIP : value;
	if (was_reset && (r->ram[RTC_A] & RTC_A_RESET) != RTC_A_RESET)
		r->fraction = RTC_NS / 2;
	if (was_held && !rtc_held(r))
		rtc_store(r, now, r->fraction);
}

static void rtc_write_reg(struct rtc *r, unsigned reg, uint8_t value,
			  uint64_t now)
{
	if (reg == RTC_C || reg == RTC_D)
		return;
	if (reg == RTC_A || reg == RTC_B) {
		rtc_write_control(r, reg, value, now);
	} else if (!rtc_is_time(reg) || rtc_held(r)) {
		r->ram[reg] = value;
	} else {
		rtc_load(r, now);
		r->ram[reg] = value;
		rtc_store(r, now, rtc_fraction(r, now));
	}
}

/* Offsets 0 and 2 select (they cannot be read), 1 and 3 are data. */
static uint64_t rtc_read(void *dev, uint64_t offset, unsigned size)
{
	struct rtc *r = dev;
	unsigned bank = offset >> 1 & 1;

	if (!(offset & 1))
		return 0xff;
	pthread_mutex_lock(&r->lock);
	uint64_t now = vclock_now(r->clock);
	rtc_catch_up(r, now);
	uint8_t value = rtc_read_reg(r, r->index[bank] + bank * 128, now);
	rtc_update_irq(r);
	rtc_arm(r, now);
	pthread_mutex_unlock(&r->lock);
	return value;
}

static void rtc_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct rtc *r = dev;
	unsigned bank = offset >> 1 & 1;

	pthread_mutex_lock(&r->lock);
	if (offset & 1) {
		uint64_t now = vclock_now(r->clock);

		rtc_catch_up(r, now);
		rtc_write_reg(r, r->index[bank] + bank * 128, (uint8_t)value,
			      now);
		r->checked = now;
		rtc_update_irq(r);
		rtc_arm(r, now);
	} else {
		r->index[bank] = value & 0x7f;
	}
	pthread_mutex_unlock(&r->lock);
}

static const struct io_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
	.max_size = 1,
};

void rtc_set_nvram(struct rtc *rtc, uint8_t index, uint8_t value)
{
	pthread_mutex_lock(&rtc->lock);
	if (index > RTC_D && index != RTC_CENTURY)
		rtc->ram[index] = value;
	pthread_mutex_unlock(&rtc->lock);
}

uint8_t rtc_get_nvram(struct rtc *rtc, uint8_t index)
{
	pthread_mutex_lock(&rtc->lock);
	uint8_t value = rtc->ram[index];
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

/* --- Life ----------------------------------------------------------------- */

/* The battery keeps time and memory; RESET clears enables and flags. */
static void rtc_reset(struct dev *dev)
{
	struct rtc *r = (struct rtc *)dev;

	pthread_mutex_lock(&r->lock);
	r->ram[RTC_B] &= ~(RTC_B_PIE | RTC_B_AIE | RTC_B_UIE);
	r->ram[RTC_C] = 0;
	r->index[0] = r->index[1] = 0;
	rtc_update_irq(r);
	pthread_mutex_unlock(&r->lock);
}

static void rtc_walk(struct dev *dev, struct walk *w)
{
	struct rtc *r = (struct rtc *)dev;

	if (!walk_section(w, "rtc", 0, 1))
		return;
	pthread_mutex_lock(&r->lock);
	walk_bytes(w, "index", r->index, sizeof(r->index));
	walk_bytes(w, "ram", r->ram, sizeof(r->ram));
	walk_u64(w, "offset", &r->offset);
	walk_u64(w, "fraction", &r->fraction);
	walk_u64(w, "checked", &r->checked);
	walk_u8(w, "dow_shift", &r->dow_shift);
	walk_end(w);
	if (walk_restoring(w)) {
		r->index[0] &= 0x7f;
		r->index[1] &= 0x7f;
		r->fraction %= RTC_NS;
		r->dow_shift %= 7;
		rtc_arm(r, vclock_now(r->clock));
	}
	pthread_mutex_unlock(&r->lock);
}

static void rtc_free(struct dev *dev)
{
	struct rtc *r = (struct rtc *)dev;

	timer_disarm(&r->timer);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void rtc_put16(struct rtc *r, unsigned index, uint64_t value)
{
	if (value > 0xffff)
		value = 0xffff;
	r->ram[index] = (uint8_t)value;
	r->ram[index + 1] = (uint8_t)(value >> 8);
}

/*
 * The fields of the AT's CMOS map that BIOSes look at: equipment, memory
 * sizes (KiB below and above 1 MiB; 64 KiB units above 16 MiB and 4 GiB) and
 * the checksum of 10h..2dh in 2eh (high), 2fh (low).
 */
static void rtc_init_nvram(struct rtc *r, uint64_t low, uint64_t high)
{
	uint64_t above_1m = low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0;
	uint64_t above_16m = low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0;
	uint64_t above_4g = high >> 16;
	unsigned sum = 0;

	r->ram[0x14] = 0x02; /* a coprocessor */
	rtc_put16(r, 0x15, 640);
	rtc_put16(r, 0x17, above_1m);
	rtc_put16(r, 0x30, above_1m);
	rtc_put16(r, 0x34, above_16m);
	if (above_4g > 0xffffff)
		above_4g = 0xffffff;
	r->ram[0x5b] = (uint8_t)above_4g;
	r->ram[0x5c] = (uint8_t)(above_4g >> 8);
	r->ram[0x5d] = (uint8_t)(above_4g >> 16);
	for (unsigned i = 0x10; i <= 0x2d; i++)
		sum += r->ram[i];
	r->ram[0x2e] = (uint8_t)(sum >> 8);
	r->ram[0x2f] = (uint8_t)sum;
}

int rtc_new(struct rtc **out, const struct dev_env *env,
	    const struct rtc_config *config, struct err *err)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(err, ENOMEM, "no memory for the clock");
	r->dev = (struct dev){ .name = "rtc",
			       .reset = rtc_reset,
			       .walk = rtc_walk,
			       .free = rtc_free };
	r->clock = env->clock;
	r->irq = config->irq;
	r->checked = vclock_now(env->clock);
	r->offset = clock_real_ns() - r->checked;
	r->ram[RTC_A] = 0x26; /* 32768 Hz, 1024 periods a second */
	r->ram[RTC_B] = RTC_B_24H;
	r->ram[RTC_D] = RTC_D_VRT;
	rtc_init_nvram(r, config->ram_low, config->ram_high);
	pthread_mutex_init(&r->lock, NULL);
	timer_init(&r->timer, env->loop, rtc_timer, r);
	int rc = mem_map_ports(env->mem, RTC_PORT, 4, &rtc_ops, r, "rtc");
	mem_coalesce(env->mem, 'p', RTC_PORT, 1); /* the index */
	if (rc < 0) {
		rtc_free(&r->dev);
		return err_set(err, -rc, "clock: ports in use");
	}
	*out = r;
	return 0;
}
