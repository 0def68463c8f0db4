/*
 * config.h - the description of a guest, as `hostel run` sends it to
 * hostel-vm: one JSON object, each option of the command line by its name.
 */
#ifndef HOSTEL_MACHINE_CONFIG_H
#define HOSTEL_MACHINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"

#define VM_CPUS_MAX 64

enum vm_console {
	VM_CONSOLE_STDIO, /* the first serial port */
	VM_CONSOLE_NONE,
	VM_CONSOLE_FILE,
	VM_CONSOLE_VIRTIO, /* a virtio console, on stdio */
};

#define VM_DISKS_MAX 24
#define VM_NETS_MAX  8
#define VM_LIST_MAX  64

/* --disk FILE[,format=raw|qcow2|vmdk][,readonly][,KEY=VALUE]... */
struct vm_disk {
	char *file;
	char *format; /* NULL: by content */
	bool readonly;
	char *bus;    /* "virtio" (NULL), "mmio", "ahci" */
	char *cache;  /* "writeback" (NULL), "none", "writethrough", "unsafe" */
	bool packed;  /* offer packed virtqueues */
	bool discard; /* give discarded space back to the host */
	uint64_t bps, iops, bps_burst, iops_burst; /* 0: no limit */
	uint64_t queues; /* 0: one a vCPU, at most 4 */
	char *fault;     /* rules of the fault filter, for tests */
	uint64_t slot;   /* on the PCI bus; 0: the next free one */
};

/*
 * --net nat|none|switch:NAME|tap:DEVICE[,KEY=VALUE]...  Given once or more.
 */
struct vm_net {
	char *kind;           /* as above, with its name */
	char *mac;            /* NULL: made from the guest's name */
	char *nic;            /* "virtio" (NULL), "e1000" */
	uint64_t vlan;        /* switch: access VLAN */
	char *trunk;          /* switch: "10+20+30" */
	uint64_t rate, burst; /* bytes a second, bucket */
	uint64_t queues;
	char *pcap;
	char *fault;
	bool mirror;
	char *uplink;   /* switch: "nat" joins NAT to it */
	bool packed;    /* offer packed virtqueues */
	bool loopback;  /* nat: 10.0.2.2 is the host's 127.0.0.1 */
	char *tftp;     /* nat: a directory whose files 10.0.2.2 gives out */
	char *bootfile; /* nat: DHCP names this of them to firmware */
	uint64_t slot;  /* on the PCI bus; 0: the next free one */
};

/* --vsock path=SOCKET[,cid=N][,packed]  Given once at most. */
struct vm_vsock {
	char *path;
	uint64_t cid; /* 0: the default */
	bool packed;
};

/* Strings are owned by the config; NULL: not given. */
struct vm_config {
	char *name;
	char *kernel;
	char *initrd;
	char *append;
	char *engine;    /* "auto", "translator", "interpreter", "kvm" */
	char *restore;   /* file of a saved guest: state/state.h */
	char *cpu;       /* "host", "v2", "v3", a name: x86/model.c */
	uint64_t memory; /* bytes */
	unsigned cpus;
	enum vm_console console;
	char *console_file;
	bool no_reboot;
	bool stats;
	double timeout;     /* seconds; 0: none */
	char *trace;        /* file */
	char *trace_filter; /* comma list: insn, event, port, mmio, ... */
	char *gdb;          /* [ADDR:]PORT */
	bool gdb_wait;      /* stop before the first instruction */
	char *firmware;     /* "bios", "uefi" or a file */
	char *nvram;        /* file of the firmware's variables */
	char *virtio;       /* "pci" (or NULL), "mmio": where devices are */
	char *vga;          /* "std", "none"; NULL: std with firmware */
	char *screenshot;   /* file for the screen at the guest's end */
	char *boot;         /* bootorder.h */
	char *firmware_log; /* file for what firmware writes to port 402 */
	char *cdrom;        /* file */
	struct vm_disk *disks;
	unsigned disk_count;
	struct vm_net *nets; /* none: no network card */
	unsigned net_count;
	char **forwards; /* -p [ADDR:]HOSTPORT:GUESTPORT[/udp] */
	unsigned forward_count;
	char **volumes; /* -v HOSTDIR:TAG[:ro] */
	unsigned volume_count;
	struct vm_vsock *vsocks;
	unsigned vsock_count;
};

/* Defaults: 512M, 1 CPU, engine NULL (auto), console on stdio. */
void vm_config_init(struct vm_config *c);
void vm_config_free(struct vm_config *c);
/* A new object, owned by the caller; NULL: out of memory. */
json_t *vm_config_to_json(const struct vm_config *c);
/*
 * Untrusted: checks types, ranges, unknown keys; one sentence on failure, and
 * then *c holds the defaults.  "memory" may be a number of bytes or a string
 * for vm_parse_size(); "console" is "stdio", "virtio", "none" or
 * a file's name.
 */
int vm_config_from_json(struct vm_config *c, const json_t *j, struct err *err);
/*
 * Lists ("disk", "net", "p", "v") are arrays, or one entry alone; an entry is
 * a string as on the command line, or (disk, net) an object of its keys with
 * "file" or "kind" for what comes first.
 */
/* "512M", "1G", "262144K", "1073741824": bytes; -EINVAL with a sentence. */
int vm_parse_size(const char *s, uint64_t *out, struct err *err);

#endif
