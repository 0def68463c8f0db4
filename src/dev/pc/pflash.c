/*
 * pflash.c - a NOR flash chip; see pflash.h.
 *
 * Theory of operation
 *
 * The contents are a window of guest memory.  In array mode the window is
 * mapped MEM_ROM, so that only writes come here; in every other mode it is
 * MEM_DEVICE and all accesses do.  A firmware programs byte by byte without
 * leaving that mode, so changing the mode, which costs every vCPU its TLB, is
 * rare: once for a variable.
 *
 * Commands are one byte; the chip is one byte wide, and wider writes of a
 * guest are cut up by the dispatcher.
 */
#include "dev/pc/pflash.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum pflash_mode {
	PFLASH_ARRAY,
	PFLASH_STATUS,
	PFLASH_ID,
	PFLASH_QUERY,
	PFLASH_PROGRAM,      /* the byte follows */
	PFLASH_ERASE,        /* d0 follows */
	PFLASH_BUFFER_COUNT, /* n - 1 follows */
	PFLASH_BUFFER_DATA,
	PFLASH_BUFFER_GO, /* d0 follows */
	PFLASH_MODES
};

#define PFLASH_CMD_PROGRAM2 0x10
#define PFLASH_CMD_ERASE    0x20
#define PFLASH_CMD_PROGRAM  0x40
#define PFLASH_CMD_CLEAR    0x50
#define PFLASH_CMD_STATUS   0x70
#define PFLASH_CMD_ID       0x90
#define PFLASH_CMD_QUERY    0x98
#define PFLASH_CMD_CONFIRM  0xd0
#define PFLASH_CMD_BUFFER   0xe8
#define PFLASH_CMD_ARRAY    0xff

#define PFLASH_READY     0x80
#define PFLASH_SEQ_ERROR 0x30 /* erase and program: not a sequence */
#define PFLASH_QUERY_LEN 0x40

struct pflash {
	struct dev dev;
	struct mem *mem;
	struct mem_window *window;
	struct pflash_config config;
	uint8_t *data; /* the window's bytes */
	uint8_t query[PFLASH_QUERY_LEN];
	pthread_mutex_t lock; /* guards all below, and data */
	uint8_t mode;         /* enum pflash_mode */
	uint8_t status;
	uint8_t count; /* bytes of the buffer that are awaited, and there */
	uint8_t got;
	uint32_t at; /* where the buffer goes */
	uint8_t buffer[PFLASH_BUFFER];
	uint32_t dirty_from, dirty_to; /* not in the file yet */
	bool told;                     /* that the file cannot be written */
};

struct mem_window *pflash_window(struct pflash *p)
{
	return p->window;
}

/* --- The file ------------------------------------------------------------- */

/* What was programmed goes into the file; the lock is held. */
static void pflash_save(struct pflash *p)
{
	uint32_t at = p->dirty_from;

	while (p->config.fd >= 0 && at < p->dirty_to) {
		ssize_t n = pwrite(p->config.fd, p->data + at, p->dirty_to - at,
				   at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!p->told)
				log_error("%s: cannot keep the firmware's "
					  "variables: %s",
					  p->config.name, strerror(errno));
			p->told = true;
			break;
		}
		at += (uint32_t)n;
	}
	p->dirty_from = UINT32_MAX;
	p->dirty_to = 0;
}

static void pflash_changed(struct pflash *p, uint32_t at, uint32_t len)
{
	if (at < p->dirty_from)
		p->dirty_from = at;
	if (at + len > p->dirty_to)
		p->dirty_to = at + len;
	mem_window_written(p->mem, p->window, at, len);
}

/* --- Commands (lock held) ---------------------------------------------------
 */

static void pflash_enter(struct pflash *p, enum pflash_mode mode)
{
	p->mode = mode;
	if (mode == PFLASH_ARRAY && p->dirty_to)
		pflash_save(p);
	mem_window_set(p->mem, p->window, p->config.base,
		       mode == PFLASH_ARRAY ? MEM_ROM : MEM_DEVICE);
}

static void pflash_program(struct pflash *p, uint32_t at, uint8_t byte)
{
	p->data[at] &= byte;
	pflash_changed(p, at, 1);
}

static void pflash_erase(struct pflash *p, uint32_t at)
{
	at -= at % PFLASH_BLOCK;
	memset(p->data + at, 0xff, PFLASH_BLOCK);
	pflash_changed(p, at, PFLASH_BLOCK);
}

static void pflash_command(struct pflash *p, uint8_t command)
{
	static const struct {
		uint8_t command;
		uint8_t mode;
	} modes[] = {
		{ PFLASH_CMD_PROGRAM, PFLASH_PROGRAM },
		{ PFLASH_CMD_PROGRAM2, PFLASH_PROGRAM },
		{ PFLASH_CMD_ERASE, PFLASH_ERASE },
		{ PFLASH_CMD_STATUS, PFLASH_STATUS },
		{ PFLASH_CMD_ID, PFLASH_ID },
		{ PFLASH_CMD_QUERY, PFLASH_QUERY },
		{ PFLASH_CMD_BUFFER, PFLASH_BUFFER_COUNT },
	};

	if (command == PFLASH_CMD_CLEAR)
		p->status = 0;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (modes[i].command == command) {
			pflash_enter(p, modes[i].mode);
			return;
		}
	}
	pflash_enter(p, PFLASH_ARRAY); /* ff, and what is no command */
}

/* Done, well or not: the status can be read. */
static void pflash_done(struct pflash *p, bool good)
{
	p->status |= PFLASH_READY | (good ? 0 : PFLASH_SEQ_ERROR);
	pflash_enter(p, PFLASH_STATUS);
}

static void pflash_buffer_count(struct pflash *p, uint32_t at, uint8_t value)
{
	p->at = at;
	p->got = 0;
	p->count = value + 1;
	if (value >= PFLASH_BUFFER || p->count > p->config.size - at)
		pflash_done(p, false);
	else
		pflash_enter(p, PFLASH_BUFFER_DATA);
}

static void pflash_buffer_data(struct pflash *p, uint8_t value)
{
	p->buffer[p->got++] = value;
	if (p->got == p->count)
		pflash_enter(p, PFLASH_BUFFER_GO);
}

static void pflash_buffer_go(struct pflash *p, uint8_t value)
{
	bool good = value == PFLASH_CMD_CONFIRM;

	for (unsigned i = 0; good && i < p->count; i++)
		pflash_program(p, p->at + i, p->buffer[i]);
	pflash_done(p, good);
}

static void pflash_step(struct pflash *p, uint32_t at, uint8_t value)
{
	switch (p->mode) {
	case PFLASH_PROGRAM:
		pflash_program(p, at, value);
		pflash_done(p, true);
		break;
	case PFLASH_ERASE:
		if (value == PFLASH_CMD_CONFIRM)
			pflash_erase(p, at);
		pflash_done(p, value == PFLASH_CMD_CONFIRM);
		break;
	case PFLASH_BUFFER_COUNT:
		pflash_buffer_count(p, at, value);
		break;
	case PFLASH_BUFFER_DATA:
		pflash_buffer_data(p, value);
		break;
	case PFLASH_BUFFER_GO:
		pflash_buffer_go(p, value);
		break;
	default:
		pflash_command(p, value);
	}
}

/* --- Access --------------------------------------------------------------- */

static uint8_t pflash_read_id(const struct pflash *p, uint64_t at)
{
	static const uint8_t id[] = { 0x89, 0x18, 0 };

	return at < sizeof(id) ? id[at] : 0;
}

static uint64_t pflash_read(void *dev, uint64_t offset, unsigned size)
{
	struct pflash *p = dev;
	uint8_t value;

	pthread_mutex_lock(&p->lock);
	switch (p->mode) {
	case PFLASH_ARRAY:
		value = p->data[offset];
		break;
	case PFLASH_ID:
		value = pflash_read_id(p, offset);
		break;
	case PFLASH_QUERY:
		value = offset < PFLASH_QUERY_LEN ? p->query[offset] : 0;
		break;
	default:
		value = p->status;
	}
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void pflash_write(void *dev, uint64_t offset, unsigned size,
			 uint64_t value)
{
	struct pflash *p = dev;

	if (p->config.readonly)
		return;
	pthread_mutex_lock(&p->lock);
	pflash_step(p, (uint32_t)offset, (uint8_t)value);
	pthread_mutex_unlock(&p->lock);
}

static const struct io_ops pflash_ops = {
	.read = pflash_read,
	.write = pflash_write,
	.max_size = 1,
};

/* --- Life ----------------------------------------------------------------- */

static void pflash_reset(struct dev *dev)
{
	struct pflash *p = (struct pflash *)dev;

	pthread_mutex_lock(&p->lock);
	p->status = PFLASH_READY;
	p->count = p->got = 0;
	p->at = 0;
	pflash_enter(p, PFLASH_ARRAY);
	pthread_mutex_unlock(&p->lock);
}

/* From a stream: whatever a guest could have reached. */
static void pflash_restored(struct pflash *p)
{
	if (p->mode >= PFLASH_MODES)
		p->mode = PFLASH_ARRAY;
	if (p->count > PFLASH_BUFFER || p->at > p->config.size ||
	    p->count > p->config.size - p->at ||
	    (p->mode == PFLASH_BUFFER_DATA && p->got >= p->count) ||
	    p->got > PFLASH_BUFFER)
		p->mode = PFLASH_STATUS;
	if (!p->config.readonly)
		pflash_changed(p, 0, p->config.size);
	pflash_enter(p, p->mode);
}

/* A chip that nobody can write needs not be saved: its file has it. */
static void pflash_walk(struct dev *dev, struct walk *w)
{
	struct pflash *p = (struct pflash *)dev;

	if (p->config.readonly || !walk_section(w, dev->name, dev->instance, 1))
		return;
	pthread_mutex_lock(&p->lock);
	walk_bytes(w, "data", p->data, p->config.size);
	walk_u8(w, "mode", &p->mode);
	walk_u8(w, "status", &p->status);
	walk_u8(w, "count", &p->count);
	walk_u8(w, "got", &p->got);
	walk_u32(w, "at", &p->at);
	walk_bytes(w, "buffer", p->buffer, sizeof(p->buffer));
	walk_end(w);
	if (walk_restoring(w))
		pflash_restored(p);
	pthread_mutex_unlock(&p->lock);
}

static void pflash_free(struct dev *dev)
{
	struct pflash *p = (struct pflash *)dev;

	pflash_save(p);
	if (p->config.fd >= 0) {
		fdatasync(p->config.fd);
		close(p->config.fd);
	}
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* The CFI table: what drivers of other systems look at (AN 646, 4). */
static void pflash_make_query(struct pflash *p)
{
	uint8_t *q = p->query;
	unsigned blocks = p->config.size / PFLASH_BLOCK, bits = 0;

	while (1u << bits < p->config.size)
		bits++;
	memcpy(q + 0x10, "QRY", 3);
	q[0x13] = 1; /* Intel's extended command set */
	q[0x15] = 0x31;
	q[0x1b] = 0x45; /* volts: 4.5 to 5.5 */
	q[0x1c] = 0x55;
	q[0x1f] = 7; /* typical times, powers of two */
	q[0x20] = 7;
	q[0x21] = 10;
	q[0x23] = 4; /* at most, times that */
	q[0x24] = 4;
	q[0x25] = 4;
	q[0x27] = (uint8_t)bits;
	q[0x2a] = 6; /* PFLASH_BUFFER */
	q[0x2c] = 1; /* one run of equal blocks */
	q[0x2d] = (uint8_t)(blocks - 1);
	q[0x2e] = (uint8_t)((blocks - 1) >> 8);
	q[0x2f] = PFLASH_BLOCK >> 8 & 0xff;
	q[0x30] = PFLASH_BLOCK >> 16;
	memcpy(q + 0x31, "PRI10", 5);
}

static int pflash_map(struct pflash *p, const void *data)
{
	const struct pflash_config *c = &p->config;
	int rc = mem_window_new(p->mem, c->size, &p->window);

	if (rc)
		return rc;
	p->data = mem_window_host(p->mem, p->window);
	memcpy(p->data, data, c->size);
	pflash_make_query(p);
	rc = mem_map_mmio(p->mem, c->base, c->size, &pflash_ops, p, "pflash");
	if (rc == 0)
		mem_window_set(p->mem, p->window, c->base, MEM_ROM);
	return rc;
}

int pflash_new(struct pflash **out, const struct dev_env *env,
	       const struct pflash_config *config, const void *data,
	       struct err *err)
{
	struct pflash *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return err_set(err, ENOMEM, "no memory for flash");
	p->dev = (struct dev){ .name = "pflash",
			       .instance = config->instance,
			       .reset = pflash_reset,
			       .walk = pflash_walk,
			       .free = pflash_free };
	p->mem = env->mem;
	p->config = *config;
	p->status = PFLASH_READY;
	p->dirty_from = UINT32_MAX;
	pthread_mutex_init(&p->lock, NULL);
	rc = pflash_map(p, data);
	if (rc < 0) {
		p->config.fd = -1; /* still the caller's */
		pflash_free(&p->dev);
		return err_set(err, -rc,
			       "the firmware does not fit below "
			       "4 GiB");
	}
	*out = p;
	return 0;
}
