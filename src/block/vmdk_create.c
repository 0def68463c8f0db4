/*
 * vmdk_create.c - new images.
 *
 *	sparse	header | descriptor | directory, tables (redundant) |
 *		directory, tables | grains
 *	stream	header | descriptor | what is written, and its end when closed
 *	flat	descriptor; the bytes in NAME-flat.vmdk
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/posix.h"
#include "block/vmdk.h"

#define CREATE_ROOM (VMDK_DESC_ROOM * BLOCK_SECTOR)

static const char *create_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* What a child remembers of its parent. */
static int create_parent(struct vmdk_desc *d, const struct block_create *how,
			 struct err *err)
{
	struct block top = { .path = (char *)how->path };
	struct block_open open = { .path = how->path, .no_lock = true };
	const struct vmdk *parent;
	int rc;

	d->parent_cid = VMDK_NO_PARENT;
	if (!how->backing)
		return 0;
	rc = block_open_backing(&top, &open, how->backing, how->backing_format,
				err);
	if (rc < 0)
		return rc;
	if (top.backing->ops == block_vmdk.ops) {
		parent = top.backing->opaque;
		d->parent_cid = parent->desc.cid;
		d->parent = strdup(how->backing);
	} else {
		rc = err_set(err, EINVAL,
			     "a vmdk disk's backing file is a vmdk disk; %s "
			     "is not",
			     how->backing);
	}
	block_close(top.backing);
	if (rc == 0 && !d->parent)
		rc = err_set(err, ENOMEM, "out of memory");
	return rc;
}

/* --- Sparse ----------------------------------------------------------------
 */

static int create_header(struct vmdk_header *h, const struct block_create *how,
			 bool stream, struct err *err)
{
	uint32_t grain = how->cluster_size ? how->cluster_size / BLOCK_SECTOR
					   : VMDK_GRAIN;

	if (grain < 8 || grain > 4096 || (grain & (grain - 1)) ||
	    (how->cluster_size && how->cluster_size % BLOCK_SECTOR))
		return err_set(err, EINVAL,
			       "a grain has 4 KiB to 2 MiB, a power of two, "
			       "not %u bytes",
			       how->cluster_size);
	*h = (struct vmdk_header){
		.version = stream ? 3 : 1,
		.flags = VMDK_FLAG_NEWLINES |
			 (stream ? VMDK_FLAG_PACKED | VMDK_FLAG_MARKERS
				 : VMDK_FLAG_REDUNDANT),
		.capacity = how->size / BLOCK_SECTOR,
		.grain = grain,
		.desc_offset = 1,
		.desc_size = VMDK_DESC_ROOM,
		.gtes = VMDK_GTES,
		.compression = stream,
	};
	return 0;
}

/* Sectors of a directory, and of one table. */
struct create_layout {
	uint64_t tables, gd, gt;
};

static void create_layout(struct vmdk_header *h, struct create_layout *l)
{
	uint64_t span = h->grain * h->gtes, at = 1 + VMDK_DESC_ROOM;

	l->tables = (h->capacity - 1) / span + 1;
	l->gd = (l->tables * 4 + 511) / 512;
	l->gt = h->gtes * 4 / 512;
	h->rgd_offset = at;
	at += l->gd + l->tables * l->gt;
	h->gd_offset = at;
	at += l->gd + l->tables * l->gt;
	h->overhead = (at + h->grain - 1) / h->grain * h->grain;
}

static int create_directory(struct block *file, uint64_t at,
			    const struct create_layout *l)
{
	uint32_t *gd = calloc(l->gd, 512);
	int rc;

	if (!gd)
		return -ENOMEM;
	for (uint64_t i = 0; i < l->tables; i++)
		gd[i] = htole32((uint32_t)(at + l->gd + i * l->gt));
	rc = block_write(file, gd, at * BLOCK_SECTOR, l->gd * 512);
	free(gd);
	return rc;
}

static int create_write_header(struct block *file, const struct vmdk_header *h,
			       const char *text)
{
	uint8_t *head = calloc(1, BLOCK_SECTOR + CREATE_ROOM);
	int rc;

	if (!head)
		return -ENOMEM;
	vmdk_header_put(head, h);
	memcpy(head + BLOCK_SECTOR, text, strlen(text));
	rc = block_write(file, head, 0, BLOCK_SECTOR + CREATE_ROOM);
	free(head);
	return rc;
}

static int create_tables(struct block *file, struct vmdk_header *h,
			 const struct create_layout *l)
{
	int rc = block_resize(file, h->overhead * BLOCK_SECTOR, NULL);

	if (rc == 0)
		rc = create_directory(file, h->rgd_offset, l);
	return rc ? rc : create_directory(file, h->gd_offset, l);
}

static int create_sparse(struct block *file, const struct block_create *how,
			 struct vmdk_desc *d, bool stream, struct err *err)
{
	char extent[VMDK_NAME_MAX], *text;
	struct create_layout l = { 0 };
	struct vmdk_header h;
	int rc = create_header(&h, how, stream, err);

	if (rc < 0)
		return rc;
	strcpy(d->create_type, stream ? "streamOptimized" : "monolithicSparse");
	snprintf(extent, sizeof(extent), "RW %" PRIu64 " SPARSE \"%s\"\n",
		 h.capacity, create_base(how->path));
	text = vmdk_desc_text(d, extent, h.capacity);
	if (!text || strlen(text) > CREATE_ROOM) {
		free(text);
		return err_set(err, EINVAL,
			       "the backing file's name is too "
			       "long for a vmdk disk");
	}
	create_layout(&h, &l);
	if (l.tables > 1u << 22 ||
	    h.overhead + h.capacity > (uint64_t)UINT32_MAX - h.grain) {
		free(text);
		return err_set(err, EFBIG,
			       "a sparse vmdk disk has less than 2 TiB");
	}
	if (stream) {
		h.gd_offset = VMDK_AT_END;
		h.rgd_offset = 0;
		h.overhead = 1 + VMDK_DESC_ROOM;
	} else {
		rc = create_tables(file, &h, &l);
	}
	if (rc == 0)
		rc = create_write_header(file, &h, text);
	free(text);
	return rc ? err_set(err, -rc, "cannot write: %s", strerror(-rc)) : 0;
}

/* --- Flat ------------------------------------------------------------------
 */

/* "disk.vmdk": "disk-flat.vmdk". */
static char *create_flat_path(const char *path)
{
	size_t n = strlen(path);
	char *flat;

	if (n > 5 && !strcmp(path + n - 5, ".vmdk"))
		n -= 5;
	return asprintf(&flat, "%.*s-flat.vmdk", (int)n, path) < 0 ? NULL
								   : flat;
}

/* The bytes are a raw disk: raw.c makes them, thin or thick. */
static int create_flat_file(const char *path, const struct block_create *how,
			    struct err *err)
{
	struct block_create raw = *how;

	raw.path = path;
	raw.format = "raw";
	raw.backing = NULL;
	raw.variant = NULL;
	return block_create(&raw, err);
}

static int create_flat(struct block *file, const struct block_create *how,
		       struct vmdk_desc *d, struct err *err)
{
	char extent[VMDK_NAME_MAX], *path, *text = NULL;
	int rc;

	if (how->backing)
		return err_set(err, EINVAL,
			       "a flat vmdk disk has no backing file");
	path = create_flat_path(how->path);
	if (!path)
		return err_set(err, ENOMEM, "out of memory");
	strcpy(d->create_type, "monolithicFlat");
	snprintf(extent, sizeof(extent), "RW %" PRIu64 " FLAT \"%s\" 0\n",
		 how->size / BLOCK_SECTOR, create_base(path));
	rc = create_flat_file(path, how, err);
	if (rc == 0) {
		text = vmdk_desc_text(d, extent, how->size / BLOCK_SECTOR);
		rc = text ? block_write(file, text, 0, strlen(text)) : -ENOMEM;
		if (rc < 0) {
			err_set(err, -rc, "cannot write: %s", strerror(-rc));
			unlink(path);
		}
	}
	free(text);
	free(path);
	return rc;
}

/* --- All -------------------------------------------------------------------
 */

int vmdk_create(struct block *file, const struct block_create *how,
		struct err *err)
{
	const char *usual = how->compressed ? "stream" : "sparse";
	const char *variant = how->variant ? how->variant : usual;
	struct vmdk_desc d = { .cid = vmdk_random_cid() };
	bool stream = !strcmp(variant, "stream"), flat;
	int rc;

	/* Thick: the bytes as they are; what else a thick disk is. */
	flat = !strcmp(variant, "flat") ||
	       (!how->variant && how->prealloc > BLOCK_PREALLOC_METADATA);
	if (!flat && !stream && strcmp(variant, "sparse"))
		return err_set(err, EINVAL,
			       "vmdk has the variants sparse, stream and flat, "
			       "not '%.32s'",
			       variant);
	if (!flat && how->prealloc > BLOCK_PREALLOC_METADATA)
		return err_set(err, EINVAL,
			       "a thick vmdk disk is of the variant flat");
	rc = create_parent(&d, how, err);
	if (rc == 0)
		rc = flat ? create_flat(file, how, &d, err)
			  : create_sparse(file, how, &d, stream, err);
	vmdk_desc_free(&d);
	return rc;
}
