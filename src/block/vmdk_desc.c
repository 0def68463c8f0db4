/*
 * vmdk_desc.c - the descriptor: lines of text, untrusted.
 *
 *	# Disk DescriptorFile
 *	version=1
 *	CID=fffffffe			changes when the disk is written
 *	parentCID=ffffffff		the parent's CID when this was made
 *	createType="monolithicSparse"
 *	parentFileNameHint="base.vmdk"
 *	RW 4192256 SPARSE "disk-s001.vmdk"
 *	RW 4192256 FLAT "disk-flat.vmdk" 0
 *	RW 63 ZERO
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/vmdk.h"

/* The value of KEY= in one line, without quotes; NULL: another key. */
static char *desc_value(char *line, const char *key)
{
	size_t n = strlen(key);
	char *value, *end;

	if (strncasecmp(line, key, n))
		return NULL;
	value = line + n;
	value += strspn(value, " \t");
	if (*value++ != '=')
		return NULL;
	value += strspn(value, " \t\"");
	end = value + strlen(value);
	while (end > value && strchr(" \t\"", end[-1]))
		*--end = '\0';
	return value;
}

static int desc_set_string(char **to, const char *value)
{
	free(*to);
	*to = strdup(value);
	return *to ? 0 : -ENOMEM;
}

static bool desc_is_extent(const char *line)
{
	return !strncmp(line, "RW ", 3) || !strncmp(line, "RDONLY ", 7) ||
	       !strncmp(line, "NOACCESS ", 9);
}

static int desc_type(const char *word, enum vmdk_type *type)
{
	static const struct {
		const char *word;
		enum vmdk_type type;
	} types[] = {
		{ "FLAT", VMDK_FLAT },
		{ "VMFS", VMDK_FLAT },
		{ "SPARSE", VMDK_SPARSE },
		{ "ZERO", VMDK_ZERO },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(word, types[i].word)) {
			*type = types[i].type;
			return 0;
		}
	return -ENOTSUP;
}

/* ACCESS SECTORS TYPE ["FILE" [OFFSET]] */
static int desc_extent(struct vmdk_line *l, const char *line, const char *path,
		       struct err *err)
{
	char access[16], type[16], name[VMDK_NAME_MAX] = "";
	int n = sscanf(line, "%15s %" SCNu64 " %15s \"%1023[^\"]\" %" SCNu64,
		       access, &l->sectors, type, name, &l->offset);

	if (n < 3 || !l->sectors || l->sectors > INT64_MAX / BLOCK_SECTOR ||
	    l->offset > INT64_MAX / BLOCK_SECTOR)
		return err_set(err, EIO, "%s: a broken extent: %.80s", path,
			       line);
	if (desc_type(type, &l->type))
		return err_set(err, ENOTSUP,
			       "%s: extents of the type %s are not supported",
			       path, type);
	if (l->type != VMDK_ZERO && n < 4)
		return err_set(err, EIO, "%s: an extent without a file: %.80s",
			       path, line);
	l->writable = !strcmp(access, "RW");
	l->file = l->type == VMDK_ZERO ? NULL : strdup(name);
	return l->file || l->type == VMDK_ZERO
		       ? 0
		       : err_set(err, ENOMEM, "out of memory");
}

static int desc_add_extent(struct vmdk_desc *d, const char *line,
			   const char *path, struct err *err)
{
	struct vmdk_line *more;

	if (d->lines == VMDK_EXTENTS)
		return err_set(err, EIO, "%s: more than %d extents", path,
			       VMDK_EXTENTS);
	more = realloc(d->line, (d->lines + 1) * sizeof(*more));
	if (!more)
		return err_set(err, ENOMEM, "out of memory");
	d->line = more;
	memset(&more[d->lines], 0, sizeof(*more));
	return desc_extent(&more[d->lines++], line, path, err);
}

static int desc_line(struct vmdk_desc *d, char *line, const char *path,
		     struct err *err)
{
	const char *v;
	int rc = 0;

	if (desc_is_extent(line))
		return desc_add_extent(d, line, path, err);
	if ((v = desc_value(line, "CID")))
		d->cid = (uint32_t)strtoul(v, NULL, 16);
	else if ((v = desc_value(line, "parentCID")))
		d->parent_cid = (uint32_t)strtoul(v, NULL, 16);
	else if ((v = desc_value(line, "createType")))
		snprintf(d->create_type, sizeof(d->create_type), "%s", v);
	else if ((v = desc_value(line, "parentFileNameHint")))
		rc = desc_set_string(&d->parent, v);
	return rc ? err_set(err, ENOMEM, "out of memory") : 0;
}

int vmdk_desc_parse(struct vmdk_desc *d, const char *text, const char *path,
		    struct err *err)
{
	char *copy = strdup(text), *save, *line;
	int rc = 0;

	memset(d, 0, sizeof(*d));
	d->parent_cid = VMDK_NO_PARENT;
	if (!copy)
		return err_set(err, ENOMEM, "out of memory");
	for (line = strtok_r(copy, "\r\n", &save); line && rc == 0;
	     line = strtok_r(NULL, "\r\n", &save))
		rc = desc_line(d, line + strspn(line, " \t"), path, err);
	free(copy);
	if (rc == 0 && !d->lines)
		rc = err_set(err, EIO, "%s: its descriptor names no extent",
			     path);
	if (rc < 0)
		vmdk_desc_free(d);
	return rc;
}

void vmdk_desc_free(struct vmdk_desc *d)
{
	for (unsigned i = 0; i < d->lines; i++)
		free(d->line[i].file);
	free(d->line);
	free(d->parent);
	memset(d, 0, sizeof(*d));
}

long vmdk_desc_cid_at(const char *text)
{
	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, "CID=", 4))
			continue;
		return strspn(p + 4, "0123456789abcdefABCDEF") == 8
			       ? p + 4 - text
			       : -1;
	}
	return -1;
}

char *vmdk_desc_text(const struct vmdk_desc *d, const char *extents,
		     uint64_t sectors)
{
	char *text, *parent = NULL;
	int n;

	if (d->parent &&
	    asprintf(&parent, "parentFileNameHint=\"%s\"\n", d->parent) < 0)
		return NULL;
	n = asprintf(&text,
		     "# Disk DescriptorFile\n"
		     "version=1\n"
		     "CID=%08x\n"
		     "parentCID=%08x\n"
		     "createType=\"%s\"\n"
		     "%s"
		     "\n"
		     "# Extent description\n"
		     "%s"
		     "\n"
		     "# The Disk Data Base\n"
		     "#DDB\n"
		     "\n"
		     "ddb.virtualHWVersion = \"4\"\n"
		     "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
		     "ddb.geometry.heads = \"16\"\n"
		     "ddb.geometry.sectors = \"63\"\n"
		     "ddb.adapterType = \"ide\"\n",
		     d->cid, d->parent_cid, d->create_type,
		     parent ? parent : "", extents,
		     sectors / 1008 < 16383 ? sectors / 1008 : 16383);
	free(parent);
	return n < 0 ? NULL : text;
}
