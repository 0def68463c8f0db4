/* sata.c - see sata.h. */
#include "machine/sata.h"

#include <errno.h>
#include <string.h>

#include "machine/vm.h"

/* What of the adapter's configuration is filled in, and to be given back. */
struct sata {
	struct ahci_config config;
	unsigned count;
	struct disks_entry *entry[AHCI_PORTS];
};

static int sata_full(struct err *err)
{
	return err_set(err, ENOSPC,
		       "at most %d SATA drives (--disk with bus=ahci, "
		       "--cdrom); use bus=virtio for the others",
		       AHCI_PORTS);
}

static int sata_disk(struct sata *s, struct disks *disks,
		     const struct vm_disk *disk, struct err *err)
{
	unsigned n = s->count;

	if (n == AHCI_PORTS)
		return sata_full(err);
	s->entry[n] = disks_add(disks, disk);
	s->config.port[n].drive = AHCI_DISK;
	s->config.port[n].full = disks_full_hook(s->entry[n]);
	s->count++;
	return disks_open(&s->config.port[n].block, disk, err);
}

int sata_open_cdrom(struct block **out, const char *file, struct err *err)
{
	struct block_open how = {
		.path = file,
		.format = "raw",
		.readonly = true,
	};

	*out = NULL;
	return strcmp(file, "none") ? block_open(out, &how, err) : 0;
}

static int sata_cdrom(struct sata *s, const char *file, struct err *err)
{
	int rc;

	if (s->count == AHCI_PORTS)
		return sata_full(err);
	rc = sata_open_cdrom(&s->config.port[s->count].block, file, err);
	if (rc < 0)
		err_prefix(err, "--cdrom");
	s->config.port[s->count++].drive = AHCI_CDROM;
	return rc;
}

static int sata_open(struct sata *s, const struct vm_config *c,
		     struct disks *disks, struct err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < c->disk_count && rc == 0; i++)
		if (disks_on_bus(&c->disks[i], "ahci"))
			rc = sata_disk(s, disks, &c->disks[i], err);
	if (rc == 0 && c->cdrom)
		rc = sata_cdrom(s, c->cdrom, err);
	for (unsigned n = 0; n < AHCI_PORTS && rc < 0; n++)
		block_close(s->config.port[n].block);
	return rc;
}

static unsigned sata_retry(void *device)
{
	return ahci_retry(device);
}

int sata_new(struct ahci **out, struct vm *vm, struct pci_host *host,
	     struct disks *disks, struct err *err)
{
	struct sata s = { .config = { .slot = AHCI_SLOT, .func = AHCI_FUNC } };
	int rc = sata_open(&s, &vm->config, disks, err);

	*out = NULL;
	if (rc < 0 || !s.count)
		return rc;
	rc = ahci_new(out, host, &s.config, err);
	for (unsigned n = 0; n < AHCI_PORTS && rc == 0; n++) {
		if (!s.entry[n])
			continue;
		s.entry[n]->retry = sata_retry;
		s.entry[n]->device = *out;
	}
	return rc;
}
