/*
 * config_check.c - what options say to each other.  A word that would change
 * nothing is refused: whoever wrote it meant something.
 */
#include "machine/config_check.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* --- Disks ---------------------------------------------------------------- */

static bool check_is(const char *value, const char *usual, const char *what)
{
	return !strcmp(value ? value : usual, what);
}

int config_check_disk(const struct vm_disk *d, struct err *err)
{
	bool ahci = check_is(d->bus, "virtio", "ahci");

	if (ahci && (d->packed || d->queues))
		return err_set(err, EINVAL,
			       "--disk: packed and queues are of virtio: a "
			       "disk with bus=ahci has neither");
	if (d->slot && !check_is(d->bus, "virtio", "virtio"))
		return err_set(err, EINVAL,
			       "--disk: slot is a place on the PCI bus: a disk "
			       "with bus=%s has none",
			       d->bus);
	if (d->bps_burst && !d->bps)
		return err_set(err, EINVAL, "--disk: bps_burst needs bps");
	if (d->iops_burst && !d->iops)
		return err_set(err, EINVAL, "--disk: iops_burst needs iops");
	return 0;
}

/* --- Network cards -------------------------------------------------------- */

static bool check_has_keys(const struct vm_net *n)
{
	return n->mac || n->nic || n->vlan || n->trunk || n->rate || n->burst ||
	       n->queues || n->pcap || n->fault || n->mirror || n->uplink ||
	       n->packed || n->loopback || n->tftp || n->bootfile || n->slot;
}

int config_check_net(const struct vm_net *n, struct err *err)
{
	bool e1000 = check_is(n->nic, "virtio", "e1000");

	if (!strcmp(n->kind, "none") && check_has_keys(n))
		return err_set(err, EINVAL,
			       "--net: none is no card, and has no keys");
	if (e1000 && (n->packed || n->queues))
		return err_set(err, EINVAL,
			       "--net: packed and queues are of virtio: "
			       "nic=e1000 has neither");
	if (n->burst && !n->rate)
		return err_set(err, EINVAL, "--net: burst needs rate");
	return 0;
}

static int check_nets(const struct vm_config *c, struct err *err)
{
	bool none = false;
	int rc = 0;

	for (unsigned i = 0; i < c->net_count && !rc; i++) {
		none |= !strcmp(c->nets[i].kind, "none");
		rc = config_check_net(&c->nets[i], err);
	}
	if (!rc && none && c->net_count > 1)
		rc = err_set(err, EINVAL,
			     "--net: none and another one contradict each "
			     "other");
	return rc;
}

/* --- Directories ---------------------------------------------------------- */

/* "HOSTDIR:TAG[:ro]": where the tag is, and its length. */
static const char *check_tag(const char *volume, size_t *len)
{
	const char *end = volume + strlen(volume), *tag;

	if (end - volume > 3 && !strcmp(end - 3, ":ro"))
		end -= 3;
	for (tag = end; tag > volume && tag[-1] != ':';)
		tag--;
	*len = (size_t)(end - tag);
	return tag;
}

static bool check_same_tag(const char *a, const char *b)
{
	size_t a_len, b_len;

	a = check_tag(a, &a_len);
	b = check_tag(b, &b_len);
	return a_len == b_len && !memcmp(a, b, a_len);
}

/* The guest would mount one of them, and nobody knows which. */
static int check_volumes(const struct vm_config *c, struct err *err)
{
	for (unsigned i = 0; i < c->volume_count; i++)
		for (unsigned k = 0; k < i; k++)
			if (check_same_tag(c->volumes[i], c->volumes[k]))
				return err_set(err, EINVAL,
					       "-v %.200s: another directory "
					       "has that tag; choose a second "
					       "one",
					       c->volumes[i]);
	return 0;
}

/* --- Firmware ------------------------------------------------------------- */

static int check_firmware(const struct vm_config *c, struct err *err)
{
	const struct {
		const char *option, *value;
	} only[] = {
		{ "boot", c->boot },
		{ "nvram", c->nvram },
	};

	for (size_t i = 0; i < sizeof(only) / sizeof(only[0]); i++)
		if (only[i].value && c->kernel)
			return err_set(err, EINVAL,
				       "--%s is for firmware, and --kernel "
				       "starts a kernel without",
				       only[i].option);
	if (c->screenshot && (c->kernel || c->vga) &&
	    !check_is(c->vga, "none", "std"))
		return err_set(err, EINVAL,
			       "--screenshot: the guest has no display; add "
			       "--vga std");
	return 0;
}

static int check_virtio(const struct vm_config *c, struct err *err)
{
	if (check_is(c->virtio, "pci", "pci") ||
	    check_is(c->virtio, "pci", "mmio"))
		return 0;
	return err_set(
		err, EINVAL,
		"--virtio %.64s: give pci, or mmio for devices on no bus",
		c->virtio);
}

int config_check(const struct vm_config *c, struct err *err)
{
	int rc = check_nets(c, err);

	if (!rc)
		rc = check_virtio(c, err);

	for (unsigned i = 0; i < c->disk_count && !rc; i++)
		rc = config_check_disk(&c->disks[i], err);
	if (!rc)
		rc = check_volumes(c, err);
	return rc ? rc : check_firmware(c, err);
}
