/*
 * fuzz_image.c - what lies on a guest's disk is the guest's: its file system,
 * its partition table, its grub.cfg; and lists of checksums are anybody's.
 * The first byte says which.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "image/ext4.h"
#include "image/fetch.h"
#include "image/gpt.h"
#include "image/kernel.h"

#define FUZZ_FILE_MAX (1 << 20)

struct fuzz_bytes {
	const uint8_t *data;
	size_t len;
};

static const char *const fuzz_texts[] = {
	("gset default=\"0\"\nmenuentry 'a' {\n\tlinux\t/vmlinuz root=/dev/vda "
	 "ro\n\tinitrd\t/initrd.img\n}\n"),
	"gset default=\"${saved_entry}\"\nlinux $x\n",
	"s00112233  a.img\n44556677 *b.img\n",
};

#define FUZZ_TEXTS (sizeof(fuzz_texts) / sizeof(fuzz_texts[0]))

/* A small file system, by mke2fs; none where there is no mke2fs. */
static size_t fuzz_make_ext4(uint8_t *buf, size_t cap)
{
	char command[512], dir[] = "/tmp/hostel-fuzz-XXXXXX";
	size_t n = 0;
	FILE *f;

	if (cap < 2 || !mkdtemp(dir))
		return 0;
	snprintf(command, sizeof(command),
		 "cd %s && PATH=$PATH:/sbin:/usr/sbin && mkdir -p t/boot/grub "
		 "&& echo 'linux /k' >t/boot/grub/grub.cfg && ln -s boot/k t/k "
		 "&& seq 500 >t/boot/k && mke2fs -q -t ext4 -b 1024 -N 24 -O "
		 "^has_journal,^resize_inode -d t fs 96k >/dev/null 2>&1; cat "
		 "fs 2>/dev/null;"
		 " rm -rf %s",
		 dir, dir);
	f = popen(command, "r");
	if (!f)
		return 0;
	buf[0] = 'e';
	n = fread(buf + 1, 1, cap - 1, f);
	pclose(f);
	return n ? n + 1 : 0;
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	size_t n;

	if (i >= FUZZ_TEXTS)
		return i == FUZZ_TEXTS ? fuzz_make_ext4(buf, cap) : 0;
	n = strlen(fuzz_texts[i]);
	memcpy(buf, fuzz_texts[i], n < cap ? n : cap);
	return n < cap ? n : cap;
}

static int fuzz_read(void *opaque, void *buf, uint64_t offset, size_t len)
{
	const struct fuzz_bytes *b = opaque;

	if (offset > b->len || len > b->len - offset)
		abort(); /* source_read() lets nothing like that through */
	memcpy(buf, b->data + offset, len);
	return 0;
}

static void fuzz_ext4(const struct source *s)
{
	static const char *const paths[] = { "/boot/grub/grub.cfg", "/k",
					     "/lost+found/x" };
	struct ext4 *fs;
	uint8_t *file;
	size_t len;

	if (ext4_open(&fs, s, 0, s->size, NULL))
		return;
	for (unsigned i = 0; i < 3; i++)
		if (!ext4_read_file(fs, paths[i], FUZZ_FILE_MAX, &file, &len,
				    NULL))
			free(file);
	ext4_close(fs);
}

static void fuzz_text(char which, const uint8_t *data, size_t len)
{
	char *text = calloc(1, len + 1), hex[16];
	struct kernel_entry entry;

	memcpy(text, data, len);
	if (which == 'g')
		kernel_parse_grub(text, &entry, NULL);
	else
		fetch_find_sum(text, "b.img", 8, hex);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_bytes bytes = { data + 1, len - 1 };
	struct source s = { fuzz_read, &bytes, len - 1 };
	struct gpt_part parts[8];
	unsigned count;

	if (!len)
		return 0;
	if (data[0] == 'e') {
		fuzz_ext4(&s);
		gpt_read(&s, parts, 8, &count, NULL);
	} else {
		fuzz_text((char)data[0], data + 1, len - 1);
	}
	return 0;
}
