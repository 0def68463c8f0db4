#include "net/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/offload.h"

#define PCAP_MAGIC_NS 0xa1b23c4d
#define PCAP_ETHERNET 1
#define PCAP_BUFFER   (256 * 1024)

struct pcap {
	FILE *file;
	char *name;
	bool failed;
	uint8_t copy[NET_FRAME_MAX];
};

static int pcap_start(struct pcap *c)
{
	const uint32_t header[] = { PCAP_MAGIC_NS, 2 | 4 << 16,  0, 0,
				    NET_FRAME_MAX, PCAP_ETHERNET };

	setvbuf(c->file, NULL, _IOFBF, PCAP_BUFFER);
	if (fwrite(header, sizeof(header), 1, c->file) != 1 || fflush(c->file))
		return -errno;
	return 0;
}

int pcap_open(struct pcap **out, const char *file, struct err *err)
{
	struct pcap *c = calloc(1, sizeof(*c));
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY,
		      0600);
	int rc = fd < 0 ? -errno : 0;

	if (fd >= 0 && c) {
		c->file = fdopen(fd, "w");
		c->name = strdup(file);
		rc = c->file && c->name ? pcap_start(c) : -ENOMEM;
	} else if (rc == 0) {
		close(fd);
		rc = -ENOMEM;
	}
	if (rc < 0) {
		pcap_close(c);
		return err_set(err, -rc, "cannot write the capture %s: %s",
			       file, strerror(-rc));
	}
	*out = c;
	return 0;
}

void pcap_close(struct pcap *c)
{
	if (!c)
		return;
	if (c->file)
		fclose(c->file);
	free(c->name);
	free(c);
}

static void pcap_check(struct pcap *c, bool good)
{
	if (good || c->failed)
		return;
	c->failed = true;
	log_warn("the capture %s ends here: %s", c->name, strerror(errno));
}

void pcap_frame(struct pcap *c, const struct net_hdr *hdr, const uint8_t *frame,
		size_t len)
{
	uint64_t now = clock_real_ns();
	uint32_t header[4] = { (uint32_t)(now / 1000000000),
			       (uint32_t)(now % 1000000000), (uint32_t)len,
			       (uint32_t)len };

	if (c->failed)
		return;
	if (hdr->flags & NET_HDR_NEEDS_CSUM) {
		memcpy(c->copy, frame, len);
		offload_checksum(hdr, c->copy, len);
		frame = c->copy;
	}
	pcap_check(c, fwrite(header, sizeof(header), 1, c->file) == 1 &&
			      fwrite(frame, len, 1, c->file) == 1);
}

void pcap_flush(struct pcap *c)
{
	if (!c->failed)
		pcap_check(c, fflush(c->file) == 0);
}
