/* fuzz_gdb.c - whoever reaches the debugger's port may send any bytes. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gdb_bench.h"

static const char *const fuzz_gdb_packets[] = {
	"qSupported:swbreak+;hwbreak+",
	"?",
	"g",
	"Hg2",
	"Hc-1",
	"T1",
	"qC",
	"qfThreadInfo",
	"qsThreadInfo",
	"qThreadExtraInfo,2",
	"p10",
	"P0=0011223344556677",
	"P11=ffffffff00000000",
	"m1000,100",
	"M1ff0,4:01020304",
	"X1000,3:a}]b",
	"Z0,1000,1",
	"z0,1000,1",
	"Z2,1000,4",
	"Z3,1ffe,8",
	"Z4,fffffffffffff000,1000",
	"z4,0,1",
	"s",
	"c1234",
	"C05;1000",
	"vCont?",
	"vCont;s:1;c",
	"vCont;c:-1",
	"qXfer:features:read:target.xml:0,ffb",
	"qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff",
	"qRcmd,68656c70",
	"qRcmd,696e666f20726567697374657273",
	"QStartNoAckMode",
	"D",
};

#define FUZZ_GDB_COUNT (sizeof(fuzz_gdb_packets) / sizeof(*fuzz_gdb_packets))

/* Seeds: each packet framed, then all of them in one stream. */
static size_t fuzz_gdb_frame(const char *payload, uint8_t *buf)
{
	struct rsp_writer *w = calloc(1, sizeof(*w));
	size_t n;

	rsp_put(w, payload, strlen(payload));
	n = rsp_frame(w, (char *)buf);
	free(w);
	return n;
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	size_t n = 0;

	if (cap < 4096 || i > FUZZ_GDB_COUNT)
		return 0;
	if (i < FUZZ_GDB_COUNT)
		return fuzz_gdb_frame(fuzz_gdb_packets[i], buf);
	for (size_t k = 0; k < FUZZ_GDB_COUNT; k++)
		n += fuzz_gdb_frame(fuzz_gdb_packets[k], buf + n);
	return n;
}

/*
 * Mutations mostly break checksums, so the bytes go in twice: as they are, and
 * as the payload of a good packet.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct gdb_bench *b = gdb_bench_new();
	struct rsp_writer *w = calloc(1, sizeof(*w));
	char *packet = malloc(RSP_PACKET_MAX);
	const uint8_t *start = memchr(data, '$', len);

	start = start ? start + 1 : data;
	rsp_put(w, start, (size_t)(data + len - start));
	if (w->len >= 3 && w->payload[w->len - 3] == '#')
		w->len -= 3;
	gdb_session_input(&b->s, packet, rsp_frame(w, packet));
	gdb_session_input(&b->s, data, len);
	if (b->s.running)
		gdb_session_stopped(&b->s, 1);
	gdb_session_input(&b->s, data, len);
	gdb_session_exited(&b->s, 1);
	gdb_bench_free(b);
	free(packet);
	free(w);
	return 0;
}
