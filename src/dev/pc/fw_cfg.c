/*
 * fw_cfg.c - tables and settings for firmware.
 *
 * Theory of operation
 *
 * The selector (510, little-endian) chooses an item and rewinds it; each read
 * of 511 gives its next byte, zero behind its end.  DMA: the address of a
 * control block is written big-endian to 514 (high half) and 518 (low half,
 * which starts it); its fields are big-endian as well:
 *
 *	control 32: 31..16 selector, 3 select, 4 write, 2 skip, 1 read, 0 error
 *	length 32
 *	address 64
 *
 * Done, `control` is written back as 0, or 1 for an error.  Items cannot be
 * written.  Transfers happen in the writing vCPU's thread, in pieces.
 */
#include "dev/pc/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FW_CFG_PORT      0x510
#define FW_CFG_PORT_DMA  0x514
#define FW_CFG_FILE_BASE 0x20
#define FW_CFG_FILES     0x100
#define FW_CFG_ARCH      0x20 /* keys from 0x8000 on: so many */
#define FW_CFG_KEYS      (FW_CFG_FILE_BASE + FW_CFG_FILES + FW_CFG_ARCH)
#define FW_CFG_NAME      56
#define FW_CFG_HAS_DMA   0x2
#define FW_CFG_HAS_PORTS 0x1
#define FW_CFG_PIECE     4096u

#define FW_CFG_DMA_ERROR  0x01
#define FW_CFG_DMA_READ   0x02
#define FW_CFG_DMA_SKIP   0x04
#define FW_CFG_DMA_SELECT 0x08
#define FW_CFG_DMA_WRITE  0x10

struct fw_cfg_item {
	uint8_t *data;
	uint32_t len;
	fw_cfg_make *make; /* NULL: the data stay as they are */
	void *opaque;
};

/* An entry of the directory; numbers big-endian. */
struct fw_cfg_file {
	uint32_t size;
	uint16_t select;
	uint16_t reserved;
	char name[FW_CFG_NAME];
};

struct fw_cfg_dma {
	uint32_t control;
	uint32_t length;
	uint64_t address;
};

struct fw_cfg {
	struct dev dev;
	struct mem *mem;
	struct fw_cfg_item items[FW_CFG_KEYS];
	unsigned file_count;
	pthread_mutex_t lock; /* guards all below */
	uint16_t selector;
	uint32_t offset;
	uint64_t dma;
};

/* --- Items ---------------------------------------------------------------- */

/* NULL: no such key. */
static struct fw_cfg_item *fw_cfg_item(struct fw_cfg *f, uint16_t key)
{
	const unsigned plain = FW_CFG_FILE_BASE + FW_CFG_FILES;

	if (key < plain)
		return &f->items[key];
	if (key >= 0x8000 && key < 0x8000 + FW_CFG_ARCH)
		return &f->items[plain + key - 0x8000];
	return NULL;
}

static int fw_cfg_set(struct fw_cfg_item *item, const void *data, uint32_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	free(item->data);
	item->data = copy;
	item->len = len;
	return 0;
}

int fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, uint32_t len)
{
	struct fw_cfg_item *item = fw_cfg_item(f, key);

	if (!item)
		return -ENOSPC;
	return item->data ? -EEXIST : fw_cfg_set(item, data, len);
}

int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value)
{
	value = htole16(value);
	return fw_cfg_add(f, key, &value, sizeof(value));
}

int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value)
{
	value = htole32(value);
	return fw_cfg_add(f, key, &value, sizeof(value));
}

int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value)
{
	value = htole64(value);
	return fw_cfg_add(f, key, &value, sizeof(value));
}

/* The directory: a count and its entries, sorted by name. */
static int fw_cfg_add_entry(struct fw_cfg *f, const struct fw_cfg_file *file)
{
	struct fw_cfg_item *dir = &f->items[FW_CFG_FILE_DIR];
	uint32_t len = 4 + (f->file_count + 1) * sizeof(*file);
	uint8_t *data = malloc(len);
	uint32_t count = htobe32(f->file_count + 1);
	unsigned at = 0;

	if (!data)
		return -ENOMEM;
	while (at < f->file_count) {
		const struct fw_cfg_file *old =
			(const struct fw_cfg_file
				 *)(const void *)(dir->data + 4 +
						  at * sizeof(*old));

		if (strcmp(old->name, file->name) > 0)
			break;
		at++;
	}
	memcpy(data, &count, 4);
	memcpy(data + 4, dir->data + 4, at * sizeof(*file));
	memcpy(data + 4 + at * sizeof(*file), file, sizeof(*file));
	memcpy(data + 4 + (at + 1) * sizeof(*file),
	       dir->data + 4 + at * sizeof(*file),
	       (f->file_count - at) * sizeof(*file));
	free(dir->data);
	dir->data = data;
	dir->len = len;
	f->file_count++;
	return 0;
}

static bool fw_cfg_has_file(const struct fw_cfg *f, const char *name)
{
	const uint8_t *entry = f->items[FW_CFG_FILE_DIR].data + 4;

	for (unsigned i = 0; i < f->file_count; i++) {
		struct fw_cfg_file old;

		memcpy(&old, entry + i * sizeof(old), sizeof(old));
		if (!strcmp(old.name, name))
			return true;
	}
	return false;
}

int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data,
		    uint32_t len)
{
	uint16_t key = (uint16_t)(FW_CFG_FILE_BASE + f->file_count);
	struct fw_cfg_file file = { .size = htobe32(len),
				    .select = htobe16(key) };
	int rc;

	if (f->file_count == FW_CFG_FILES || strlen(name) >= FW_CFG_NAME)
		return -ENOSPC;
	if (fw_cfg_has_file(f, name))
		return -EEXIST;
	memcpy(file.name, name, strlen(name));
	rc = fw_cfg_set(&f->items[key], data, len);
	return rc ? rc : fw_cfg_add_entry(f, &file);
}

int fw_cfg_add_made(struct fw_cfg *f, const char *name, uint32_t len,
		    fw_cfg_make *make, void *opaque)
{
	struct fw_cfg_item *item = &f->items[FW_CFG_FILE_BASE + f->file_count];
	uint8_t *zeros = calloc(1, len);
	int rc = zeros ? fw_cfg_add_file(f, name, zeros, len) : -ENOMEM;

	free(zeros);
	if (rc == 0) {
		item->make = make;
		item->opaque = opaque;
	}
	return rc;
}

/* --- Reading -------------------------------------------------------------- */

static void fw_cfg_select(struct fw_cfg *f, uint16_t key)
{
	struct fw_cfg_item *item = fw_cfg_item(f, key);

	f->selector = key;
	f->offset = 0;
	if (item && item->make)
		item->make(item->opaque, item->data, item->len);
}

/* Takes the next n bytes; zeros where the item has ended. */
static void fw_cfg_take(struct fw_cfg *f, uint8_t *out, uint32_t n)
{
	const struct fw_cfg_item *item = fw_cfg_item(f, f->selector);
	uint32_t left =
		item && f->offset < item->len ? item->len - f->offset : 0;
	uint32_t have = n < left ? n : left;

	if (have)
		memcpy(out, item->data + f->offset, have);
	memset(out + have, 0, n - have);
	f->offset += have;
}

static void fw_cfg_skip(struct fw_cfg *f, uint32_t n)
{
	const struct fw_cfg_item *item = fw_cfg_item(f, f->selector);
	uint32_t left =
		item && f->offset < item->len ? item->len - f->offset : 0;

	f->offset += n < left ? n : left;
}

static uint64_t fw_cfg_read(void *dev, uint64_t offset, unsigned size)
{
	struct fw_cfg *f = dev;
	uint8_t byte = 0;

	if (offset != 1) /* the selector cannot be read */
		return 0xff;
	pthread_mutex_lock(&f->lock);
	fw_cfg_take(f, &byte, 1);
	pthread_mutex_unlock(&f->lock);
	return byte;
}

static void fw_cfg_write(void *dev, uint64_t offset, unsigned size,
			 uint64_t value)
{
	struct fw_cfg *f = dev;

	if (offset != 0)
		return;
	pthread_mutex_lock(&f->lock);
	fw_cfg_select(f, (uint16_t)value);
	pthread_mutex_unlock(&f->lock);
}

/* --- DMA ------------------------------------------------------------------ */

/*
 * Zeros for more than the item holds go on as asked: the length is the
 * guest's, but it ends at the first page that is not RAM.
 */
static int fw_cfg_dma_read(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
	uint8_t piece[FW_CFG_PIECE];

	while (len) {
		uint32_t n = len < FW_CFG_PIECE ? len : FW_CFG_PIECE;

		fw_cfg_take(f, piece, n);
		if (mem_write(f->mem, gpa, piece, n))
			return -EFAULT;
		gpa += n;
		len -= n;
	}
	return 0;
}

static int fw_cfg_dma_do(struct fw_cfg *f, const struct fw_cfg_dma *dma)
{
	uint32_t control = be32toh(dma->control);
	uint32_t len = be32toh(dma->length);

	if (control & FW_CFG_DMA_SELECT)
		fw_cfg_select(f, (uint16_t)(control >> 16));
	if (control & FW_CFG_DMA_READ)
		return fw_cfg_dma_read(f, be64toh(dma->address), len);
	if (control & FW_CFG_DMA_WRITE)
		return -EPERM;
	if (control & FW_CFG_DMA_SKIP)
		fw_cfg_skip(f, len);
	return 0;
}

static void fw_cfg_dma_start(struct fw_cfg *f)
{
	struct fw_cfg_dma dma;
	uint64_t gpa = f->dma;
	uint32_t result;

	f->dma = 0;
	if (mem_read(f->mem, gpa, &dma, sizeof(dma)))
		return;
	result = htobe32(fw_cfg_dma_do(f, &dma) ? FW_CFG_DMA_ERROR : 0);
	mem_write(f->mem, gpa, &result, sizeof(result));
}

/* Reading gives the interface's signature, "QEMU CFG". */
static uint64_t fw_cfg_dma_port_read(void *dev, uint64_t offset, unsigned size)
{
	static const char signature[8] = "QEMU CFG";
	uint64_t value = 0;

	if (offset + size > sizeof(signature))
		return UINT64_MAX;
	memcpy(&value, signature + offset, size);
	return value;
}

static void fw_cfg_dma_port_write(void *dev, uint64_t offset, unsigned size,
				  uint64_t value)
{
	struct fw_cfg *f = dev;

	if (size != 4)
		return;
	pthread_mutex_lock(&f->lock);
	if (offset == 0) {
		f->dma = (uint64_t)be32toh((uint32_t)value) << 32;
	} else if (offset == 4) {
		f->dma |= be32toh((uint32_t)value);
		fw_cfg_dma_start(f);
	}
	pthread_mutex_unlock(&f->lock);
}

static const struct io_ops fw_cfg_ops = {
	.read = fw_cfg_read,
	.write = fw_cfg_write,
	.max_size = 2,
};

static const struct io_ops fw_cfg_dma_ops = {
	.read = fw_cfg_dma_port_read,
	.write = fw_cfg_dma_port_write,
	.max_size = 4,
};

/* --- Life ----------------------------------------------------------------- */

static void fw_cfg_reset(struct dev *dev)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	pthread_mutex_lock(&f->lock);
	fw_cfg_select(f, 0);
	f->dma = 0;
	pthread_mutex_unlock(&f->lock);
}

static void fw_cfg_walk(struct dev *dev, struct walk *w)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	if (!walk_section(w, "fw_cfg", 0, 1))
		return;
	pthread_mutex_lock(&f->lock);
	walk_u16(w, "selector", &f->selector);
	walk_u32(w, "offset", &f->offset);
	walk_u64(w, "dma", &f->dma);
	pthread_mutex_unlock(&f->lock);
	walk_end(w);
}

static void fw_cfg_free(struct dev *dev)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	for (unsigned i = 0; i < FW_CFG_KEYS; i++)
		free(f->items[i].data);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* The items that make the interface recognisable. */
static int fw_cfg_init(struct fw_cfg *f)
{
	const uint32_t no_files = 0;
	int rc = fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);

	if (rc == 0)
		rc = fw_cfg_add_u32(f, FW_CFG_ID,
				    FW_CFG_HAS_PORTS | FW_CFG_HAS_DMA);
	if (rc == 0)
		rc = fw_cfg_add(f, FW_CFG_FILE_DIR, &no_files, 4);
	if (rc == 0)
		rc = mem_map_ports(f->mem, FW_CFG_PORT, 2, &fw_cfg_ops, f,
				   "fw_cfg");
	if (rc == 0)
		rc = mem_map_ports(f->mem, FW_CFG_PORT_DMA, 8, &fw_cfg_dma_ops,
				   f, "fw_cfg-dma");
	return rc;
}

int fw_cfg_new(struct fw_cfg **out, const struct dev_env *env, struct err *err)
{
	struct fw_cfg *f = calloc(1, sizeof(*f));

	if (!f)
		return err_set(err, ENOMEM, "no memory for fw_cfg");
	f->dev = (struct dev){ .name = "fw_cfg",
			       .reset = fw_cfg_reset,
			       .walk = fw_cfg_walk,
			       .free = fw_cfg_free };
	f->mem = env->mem;
	pthread_mutex_init(&f->lock, NULL);
	int rc = fw_cfg_init(f);
	if (rc < 0) {
		fw_cfg_free(&f->dev);
		return err_set(err, -rc, "fw_cfg: cannot be set up");
	}
	*out = f;
	return 0;
}
