/*
 * ext4.c - see ext4.h.
 *
 * A path is walked from the root inode: each directory is read whole and
 * searched entry by entry (the hashed index, where there is one, is laid out
 * so that this works).  Files are read through their extent tree:
 *
 *	inode.i_block: header, entries ──depth>0──> block: header, entries ...
 *	                          └─────depth 0: [logical, length, physical]
 *
 * Bounds: a tree is at most EXT4_DEPTH_MAX deep and EXT4_EXTENTS_MAX entries
 * are looked at for a file, a path has at most EXT4_LINKS_MAX links and
 * EXT4_PATH_MAX bytes; sizes are checked against what the caller takes.
 *
 * Layout: Documentation/filesystems/ext4 of the Linux kernel.
 */
#include "image/ext4.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/bytes.h"

#define EXT4_SUPER_AT    1024
#define EXT4_SUPER_LEN   1024
#define EXT4_MAGIC       0xef53
#define EXT4_EXT_MAGIC   0xf30a
#define EXT4_ROOT_INODE  2
#define EXT4_INODE_READ  128 /* what we need of an inode */
#define EXT4_FL_EXTENTS  0x80000
#define EXT4_FL_ENCRYPT  0x800
#define EXT4_IBLOCK      0x28
#define EXT4_IBLOCK_LEN  60
#define EXT4_ENTRY_LEN   12 /* of an extent tree */
#define EXT4_UNWRITTEN   32768
#define EXT4_DEPTH_MAX   5
#define EXT4_EXTENTS_MAX 100000
#define EXT4_LINKS_MAX   8
#define EXT4_PATH_MAX    1024
#define EXT4_DIR_MAX     (16u << 20)

/* Incompatible features that we know how to read, or that do not matter. */
#define EXT4_INCOMPAT_64BIT 0x80
#define EXT4_INCOMPAT_KNOWN                                            \
	(0x2 /* filetype */ | 0x4 /* recover */ | 0x40 /* extents */ | \
	 EXT4_INCOMPAT_64BIT | 0x100 /* mmp */ | 0x200 /* flex_bg */ | \
	 0x400 /* ea_inode */ | 0x2000 /* csum_seed */ |               \
	 0x4000 /* largedir */)

struct ext4 {
	struct source s;
	uint64_t offset, length;
	uint32_t block_size;
	uint32_t inode_size;
	uint32_t inodes_per_group, inodes;
	uint32_t desc_size;
	uint64_t desc_at; /* bytes */
};

struct ext4_inode {
	uint16_t mode;
	uint32_t flags;
	uint64_t size;
	uint8_t iblock[EXT4_IBLOCK_LEN];
};

/* Reading a file: where to, and how much may still be looked at. */
struct ext4_copy {
	struct ext4 *fs;
	uint8_t *to;
	uint64_t size;
	unsigned left;
};

static int ext4_read(struct ext4 *fs, void *buf, uint64_t at, size_t len)
{
	if (at > fs->length || len > fs->length - at)
		return -EIO;
	return source_read(&fs->s, buf, fs->offset + at, len);
}

/* --- The superblock ------------------------------------------------------- */

static int ext4_parse_super(struct ext4 *fs, const uint8_t *sb, struct err *err)
{
	uint32_t incompat = bytes_get32(sb + 0x60);
	uint32_t shift = bytes_get32(sb + 0x18);

	if (bytes_get16(sb + 0x38) != EXT4_MAGIC)
		return err_set(err, EINVAL, "this is no ext4 file system");
	if (incompat & ~EXT4_INCOMPAT_KNOWN)
		return err_set(err, ENOTSUP,
			       "this ext4 file system has features that "
			       "Hostel cannot read (%#x)",
			       incompat & ~EXT4_INCOMPAT_KNOWN);
	fs->inodes = bytes_get32(sb);
	fs->inodes_per_group = bytes_get32(sb + 0x28);
	fs->inode_size = bytes_get16(sb + 0x58);
	fs->desc_size =
		incompat & EXT4_INCOMPAT_64BIT ? bytes_get16(sb + 0xfe) : 32;
	if (shift > 6 || !fs->inodes_per_group || fs->desc_size < 32 ||
	    fs->desc_size > 1024 || fs->inode_size < EXT4_INODE_READ ||
	    fs->inode_size > 4096)
		return err_set(err, EINVAL, "the ext4 superblock is damaged");
	fs->block_size = 1024u << shift;
	fs->desc_at = ((uint64_t)bytes_get32(sb + 0x14) + 1) * fs->block_size;
	return 0;
}

int ext4_open(struct ext4 **out, const struct source *s, uint64_t offset,
	      uint64_t length, struct err *err)
{
	uint8_t sb[EXT4_SUPER_LEN];
	struct ext4 *fs = calloc(1, sizeof(*fs));
	int rc;

	if (!fs)
		return err_set(err, ENOMEM, "out of memory");
	fs->s = *s;
	fs->offset = offset;
	fs->length = length;
	rc = ext4_read(fs, sb, EXT4_SUPER_AT, sizeof(sb));
	if (rc)
		err_set(err, -rc, "cannot read a file system: %s",
			strerror(-rc));
	else
		rc = ext4_parse_super(fs, sb, err);
	if (rc)
		ext4_close(fs);
	else
		*out = fs;
	return rc;
}

void ext4_close(struct ext4 *fs)
{
	free(fs);
}

/* --- Inodes and their bytes ----------------------------------------------- */

static int ext4_get_inode(struct ext4 *fs, uint32_t number,
			  struct ext4_inode *inode)
{
	uint8_t desc[64] = { 0 }, raw[EXT4_INODE_READ];
	uint32_t group, index;
	uint64_t table;
	int rc;

	if (!number || number > fs->inodes)
		return -EIO;
	group = (number - 1) / fs->inodes_per_group;
	index = (number - 1) % fs->inodes_per_group;
	rc = ext4_read(fs, desc, fs->desc_at + (uint64_t)group * fs->desc_size,
		       fs->desc_size < sizeof(desc) ? fs->desc_size
						    : sizeof(desc));
	if (rc)
		return rc;
	table = bytes_get32(desc + 8);
	if (fs->desc_size >= 64)
		table |= (uint64_t)bytes_get32(desc + 0x28) << 32;
	if (table > fs->length / fs->block_size)
		return -EIO;
	rc = ext4_read(fs, raw,
		       table * fs->block_size +
			       (uint64_t)index * fs->inode_size,
		       sizeof(raw));
	if (rc)
		return rc;
	inode->mode = bytes_get16(raw);
	inode->flags = bytes_get32(raw + 0x20);
	inode->size = bytes_get32(raw + 4) | (uint64_t)bytes_get32(raw + 0x6c)
						     << 32;
	memcpy(inode->iblock, raw + EXT4_IBLOCK, EXT4_IBLOCK_LEN);
	return 0;
}

static int ext4_copy_extent(struct ext4_copy *c, const uint8_t *e)
{
	uint64_t at = (uint64_t)bytes_get32(e) * c->fs->block_size;
	uint64_t len = bytes_get16(e + 4);
	uint64_t from = bytes_get32(e + 8) | (uint64_t)bytes_get16(e + 6) << 32;

	if (len > EXT4_UNWRITTEN || at >= c->size)
		return 0; /* preallocated: zeroes */
	len *= c->fs->block_size;
	if (len > c->size - at)
		len = c->size - at;
	return ext4_read(c->fs, c->to + at, from * c->fs->block_size, len);
}

static int ext4_copy_tree(struct ext4_copy *c, const uint8_t *node, size_t size,
			  unsigned depth)
{
	unsigned entries = bytes_get16(node + 2);
	uint8_t *below;
	int rc = 0;

	if (bytes_get16(node) != EXT4_EXT_MAGIC ||
	    bytes_get16(node + 6) != depth || depth > EXT4_DEPTH_MAX ||
	    entries > size / EXT4_ENTRY_LEN - 1)
		return -EIO;
	below = depth ? malloc(c->fs->block_size) : NULL;
	if (depth && !below)
		return -ENOMEM;
	for (unsigned i = 1; i <= entries && !rc; i++) {
		const uint8_t *e = node + i * EXT4_ENTRY_LEN;
		uint64_t leaf =
			bytes_get32(e + 4) | (uint64_t)bytes_get16(e + 8) << 32;

		if (!c->left--)
			rc = -EIO;
		else if (!depth)
			rc = ext4_copy_extent(c, e);
		else
			rc = ext4_read(c->fs, below, leaf * c->fs->block_size,
				       c->fs->block_size);
		if (!rc && depth)
			rc = ext4_copy_tree(c, below, c->fs->block_size,
					    depth - 1);
	}
	free(below);
	return rc;
}

/* The bytes of a file or directory, with a NUL behind them. */
static int ext4_get_data(struct ext4 *fs, const struct ext4_inode *inode,
			 size_t max, uint8_t **data)
{
	struct ext4_copy c = { fs, NULL, inode->size, EXT4_EXTENTS_MAX };
	int rc;

	if (inode->size > max || inode->size > fs->length)
		return -EFBIG;
	if (!(inode->flags & EXT4_FL_EXTENTS) ||
	    (inode->flags & EXT4_FL_ENCRYPT))
		return -ENOTSUP;
	c.to = calloc(1, inode->size + 1);
	if (!c.to)
		return -ENOMEM;
	rc = ext4_copy_tree(&c, inode->iblock, EXT4_IBLOCK_LEN,
			    bytes_get16(inode->iblock + 6));
	if (rc)
		free(c.to);
	else
		*data = c.to;
	return rc;
}

/* --- Paths ---------------------------------------------------------------- */

static uint32_t ext4_search(const uint8_t *dir, size_t size, const char *name,
			    size_t name_len)
{
	for (size_t at = 0; at + 8 <= size;) {
		uint32_t number = bytes_get32(dir + at);
		uint16_t len = bytes_get16(dir + at + 4);
		uint8_t n = dir[at + 6];

		if (len < 8 || len > size - at || n > len - 8)
			return 0;
		if (number && n == name_len &&
		    !memcmp(dir + at + 8, name, name_len))
			return number;
		at += len;
	}
	return 0;
}

static int ext4_look_up(struct ext4 *fs, uint32_t in, const char *name,
			size_t name_len, uint32_t *number)
{
	struct ext4_inode inode;
	uint8_t *dir;
	int rc = ext4_get_inode(fs, in, &inode);

	if (!rc && !S_ISDIR(inode.mode))
		rc = -ENOTDIR;
	if (!rc)
		rc = ext4_get_data(fs, &inode, EXT4_DIR_MAX, &dir);
	if (rc)
		return rc;
	*number = ext4_search(dir, inode.size, name, name_len);
	free(dir);
	return *number ? 0 : -ENOENT;
}

/* The target of a link: in the inode itself if it is short. */
static int ext4_read_link(struct ext4 *fs, const struct ext4_inode *inode,
			  char out[EXT4_PATH_MAX])
{
	uint8_t *data;
	int rc;

	if (inode->size < EXT4_IBLOCK_LEN) {
		memcpy(out, inode->iblock, inode->size);
		out[inode->size] = '\0';
		return 0;
	}
	rc = ext4_get_data(fs, inode, EXT4_PATH_MAX - 1, &data);
	if (rc)
		return rc;
	memcpy(out, data, inode->size + 1);
	free(data);
	return 0;
}

/* Puts a link's target in place of the name that was just looked up. */
static int ext4_splice(char path[EXT4_PATH_MAX], const char *target,
		       const char *rest)
{
	char joined[EXT4_PATH_MAX];
	size_t a = strlen(target), b = strlen(rest);

	if (a + b + 2 > sizeof(joined))
		return -ENAMETOOLONG;
	memcpy(joined, target, a);
	joined[a] = '/';
	memcpy(joined + a + 1, rest, b + 1);
	memcpy(path, joined, a + b + 2);
	return 0;
}

static int ext4_walk(struct ext4 *fs, const char *path,
		     struct ext4_inode *inode)
{
	char todo[EXT4_PATH_MAX], link[EXT4_PATH_MAX];
	uint32_t dir = EXT4_ROOT_INODE, number = EXT4_ROOT_INODE;
	unsigned links = 0;
	char *at = todo;
	int rc;

	if (strlen(path) >= sizeof(todo))
		return -ENAMETOOLONG;
	strcpy(todo, path);
	for (;;) {
		size_t n;

		at += strspn(at, "/");
		n = strcspn(at, "/");
		if (!n)
			return ext4_get_inode(fs, number, inode);
		dir = number;
		rc = ext4_look_up(fs, dir, at, n, &number);
		if (!rc)
			rc = ext4_get_inode(fs, number, inode);
		at += n;
		if (rc || !S_ISLNK(inode->mode)) {
			if (rc)
				return rc;
			continue;
		}
		if (++links > EXT4_LINKS_MAX)
			return -ELOOP;
		rc = ext4_read_link(fs, inode, link);
		if (!rc)
			rc = ext4_splice(todo, link, at);
		if (rc)
			return rc;
		number = link[0] == '/' ? EXT4_ROOT_INODE : dir;
		at = todo;
	}
}

int ext4_read_file(struct ext4 *fs, const char *path, size_t max,
		   uint8_t **data, size_t *len, struct err *err)
{
	struct ext4_inode inode;
	int rc = ext4_walk(fs, path, &inode);

	if (!rc && !S_ISREG(inode.mode))
		rc = -EINVAL;
	if (!rc)
		rc = ext4_get_data(fs, &inode, max, data);
	if (rc)
		return err_set(err, -rc, "cannot read %s on the disk: %s", path,
			       strerror(-rc));
	*len = inode.size;
	return 0;
}
