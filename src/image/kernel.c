#include "image/kernel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/ext4.h"
#include "image/gpt.h"
#include "image/home.h"

#define KERNEL_MAX   (256u << 20)
#define INITRD_MAX   (512u << 20)
#define GRUB_CFG_MAX (256u << 10)
#define KERNEL_PARTS 16

/* --- grub.cfg ------------------------------------------------------------- */

/* Does the line (no end) have `word` first?  Then what follows it. */
static const char *kernel_after(const char *line, const char *word)
{
	size_t n = strlen(word);

	line += strspn(line, " \t");
	if (strncmp(line, word, n) || !line[n] || !strchr(" \t", line[n]))
		return NULL;
	return line + n + strspn(line + n, " \t");
}

static bool kernel_default_ok(const char *line)
{
	const char *v = kernel_after(line, "set");

	if (!v || strncmp(v, "default=", 8))
		return true;
	v += 8;
	return !strcmp(v, "0") || !strcmp(v, "\"0\"") ||
	       !strcmp(v, "\"${next_entry}\"");
}

/* GRUB's own language, which we do not speak. */
static bool kernel_plain(const char *s)
{
	return !strpbrk(s, "$'\"\\");
}

static int kernel_take(char *out, size_t size, const char *s, size_t len,
		       struct err *err)
{
	if (len >= size)
		return err_set(err, ENOTSUP, "grub.cfg: a line is too long");
	memcpy(out, s, len);
	out[len] = '\0';
	return 0;
}

static int kernel_parse_linux(const char *rest, struct kernel_entry *e,
			      struct err *err)
{
	size_t n = strcspn(rest, " \t");
	const char *args = rest + n + strspn(rest + n, " \t");

	if (!kernel_plain(rest))
		return err_set(err, ENOTSUP, "grub.cfg: '%.80s' needs GRUB",
			       rest);
	return kernel_take(e->linux_path, sizeof(e->linux_path), rest, n, err)
		       ?: kernel_take(e->append, sizeof(e->append), args,
				      strlen(args), err);
}

static int kernel_parse_initrd(const char *rest, struct kernel_entry *e,
			       struct err *err)
{
	size_t n = strcspn(rest, " \t");

	if (!kernel_plain(rest) || rest[n + strspn(rest + n, " \t")])
		return err_set(err, ENOTSUP, "grub.cfg: '%.80s' needs GRUB",
			       rest);
	return kernel_take(e->initrd_path, sizeof(e->initrd_path), rest, n,
			   err);
}

static int kernel_parse_line(const char *line, struct kernel_entry *e,
			     bool *done, struct err *err)
{
	const char *rest;

	if (!kernel_default_ok(line))
		return err_set(err, ENOTSUP,
			       "grub.cfg: the default is not its first entry");
	if (!e->linux_path[0] && (rest = kernel_after(line, "linux")))
		return kernel_parse_linux(rest, e, err);
	if (e->linux_path[0] && !e->initrd_path[0] &&
	    (rest = kernel_after(line, "initrd")))
		return kernel_parse_initrd(rest, e, err);
	*done = e->linux_path[0] && line[strspn(line, " \t")] == '}';
	return 0;
}

int kernel_parse_grub(const char *text, struct kernel_entry *entry,
		      struct err *err)
{
	char line[sizeof(entry->append) + 512];
	bool done = false;
	int rc = 0;

	memset(entry, 0, sizeof(*entry));
	while (*text && !done && !rc) {
		size_t n = strcspn(text, "\n");

		if (n < sizeof(line)) {
			memcpy(line, text, n);
			line[n] = '\0';
			while (n && strchr(" \t\r", line[n - 1]))
				line[--n] = '\0';
			rc = kernel_parse_line(line, entry, &done, err);
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	if (rc || entry->linux_path[0])
		return rc;
	return err_set(err, ENOENT, "grub.cfg has no Linux to boot");
}

/* --- The disk ------------------------------------------------------------- */

static int kernel_copy(struct ext4 *fs, const char *path, size_t max,
		       const char *dir, const char *name, struct err *err)
{
	char to[PATH_MAX];
	uint8_t *data;
	size_t len;
	int rc = home_path(to, err, "%s/%s", dir, name);

	if (!rc)
		rc = ext4_read_file(fs, path, max, &data, &len, err);
	if (rc)
		return rc;
	rc = len ? home_write(to, data, len, 0600, err)
		 : err_set(err, EINVAL, "%s on the disk is empty", path);
	free(data);
	return rc;
}

static int kernel_put_line(const char *dir, const char *line, struct err *err)
{
	char to[PATH_MAX];
	int rc = home_path(to, err, "%s/cmdline", dir);

	return rc ? rc : home_write(to, line, strlen(line), 0600, err);
}

static int kernel_from(struct ext4 *fs, const char *dir, struct kernel_entry *e,
		       struct err *err)
{
	uint8_t *text;
	size_t len;
	int rc = ext4_read_file(fs, "/boot/grub/grub.cfg", GRUB_CFG_MAX, &text,
				&len, err);

	/* A partition that is /boot itself. */
	if (rc)
		rc = ext4_read_file(fs, "/grub/grub.cfg", GRUB_CFG_MAX, &text,
				    &len, err);
	if (rc)
		return rc;
	rc = kernel_parse_grub((const char *)text, e, err);
	free(text);
	if (!rc && !strstr(e->append, "console=ttyS0"))
		rc = err_set(err, ENOTSUP,
			     "grub.cfg: the kernel's console is not ttyS0");
	if (!rc)
		rc = kernel_copy(fs, e->linux_path, KERNEL_MAX, dir, "kernel",
				 err);
	if (!rc && e->initrd_path[0])
		rc = kernel_copy(fs, e->initrd_path, INITRD_MAX, dir, "initrd",
				 err);
	return rc ? rc : kernel_put_line(dir, e->append, err);
}

int kernel_extract(const struct source *disk, const char *dir,
		   struct kernel_entry *entry, struct err *err)
{
	struct gpt_part parts[KERNEL_PARTS];
	unsigned count;
	struct ext4 *fs;
	int rc = gpt_read(disk, parts, KERNEL_PARTS, &count, err);

	if (rc)
		return rc;
	rc = err_set(err, ENOENT, "no partition has a grub.cfg");
	for (unsigned i = 0; i < count; i++) {
		const struct gpt_part *p = &parts[i];

		if (ext4_open(&fs, disk, p->first * GPT_SECTOR,
			      (p->last - p->first + 1) * GPT_SECTOR, NULL))
			continue;
		rc = kernel_from(fs, dir, entry, err);
		ext4_close(fs);
		if (!rc || rc == -ENOTSUP)
			break;
	}
	return rc;
}
