/*
 * gdb_session.c - the commands of GDB's remote serial protocol.
 *
 * Source: "Debugging with GDB", appendix E.
 *
 * Theory of operation
 *
 * Each packet finds its row in gdb_commands[] by prefix; the handler parses
 * its arguments with rsp_get_*() and writes a reply to s->out, which is sent
 * when it returns GDB_REPLY.  What it does not know gets the empty reply.
 *
 * Threads of the protocol are vCPUs, numbered from 1.  The machine stops and
 * goes on as a whole ("all-stop"): stepping one vCPU leaves the others, and
 * guest time, standing still, which also makes gdb's stepping over a
 * breakpoint safe.  A vCPU in HLT is the exception: see gdb_step_halted().
 *
 * Breakpoints never touch guest memory: the engines compare addresses with
 * s->debug, and the MMU keeps watched pages out of the TLB.
 *
 * Deliberately missing: non-stop mode, several inferiors, reverse execution,
 * access to device memory (reading it can change a device).
 */
#include "machine/gdb_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/gdb_cmd.h"
#include "machine/gdb_regs.h"

/* --- Replies -------------------------------------------------------------- */

void gdb_send(struct gdb_session *s)
{
	char packet[RSP_PACKET_MAX];
	size_t n = rsp_frame(&s->out, packet);

	s->host->send(s->host->opaque, packet, n);
}

enum gdb_reply gdb_error(struct gdb_session *s, unsigned code)
{
	rsp_clear(&s->out);
	rsp_printf(&s->out, "E%02x", code);
	return GDB_REPLY;
}

enum gdb_reply gdb_ok(struct gdb_session *s)
{
	rsp_printf(&s->out, "OK");
	return GDB_REPLY;
}

/* --- Threads -------------------------------------------------------------- */

bool gdb_get_thread(const struct gdb_session *s, const char **p, unsigned *cpu,
		    bool *all)
{
	uint64_t id;

	*all = true;
	if (strncmp(*p, "-1", 2) == 0) {
		*p += 2;
		return true;
	}
	if (!rsp_get_number(p, &id) || id > s->host->xm->cpu_count)
		return false;
	if (id) {
		*all = false;
		*cpu = (unsigned)id - 1;
	}
	return true;
}

/* Hg for registers and memory, Hc for stepping. */
static enum gdb_reply gdb_cmd_select(struct gdb_session *s, const char *p)
{
	char what = *p;
	unsigned cpu = s->cpu;
	bool all;

	if (what != 'g' && what != 'c')
		return gdb_error(s, GDB_E_ARGUMENT);
	p++;
	if (!gdb_get_thread(s, &p, &cpu, &all) || *p)
		return gdb_error(s, GDB_E_ARGUMENT);
	if (what == 'g')
		s->cpu = cpu;
	else if (!all)
		s->step_cpu = cpu;
	return gdb_ok(s);
}

static enum gdb_reply gdb_cmd_alive(struct gdb_session *s, const char *p)
{
	unsigned cpu;
	bool all;

	if (!gdb_get_thread(s, &p, &cpu, &all) || all || *p)
		return gdb_error(s, GDB_E_ARGUMENT);
	return gdb_ok(s);
}

static enum gdb_reply gdb_cmd_current(struct gdb_session *s, const char *p)
{
	rsp_printf(&s->out, "QC%x", s->cpu + 1);
	return GDB_REPLY;
}

static enum gdb_reply gdb_cmd_threads(struct gdb_session *s, const char *p)
{
	for (unsigned i = 0; i < s->host->xm->cpu_count; i++)
		rsp_printf(&s->out, "%c%x", i ? ',' : 'm', i + 1);
	return GDB_REPLY;
}

static enum gdb_reply gdb_cmd_no_more(struct gdb_session *s, const char *p)
{
	rsp_printf(&s->out, "l");
	return GDB_REPLY;
}

static enum gdb_reply gdb_cmd_thread_info(struct gdb_session *s, const char *p)
{
	static const char *const activity[] = {
		[X86_ACTIVE] = "running",
		[X86_HALTED] = "halted",
		[X86_WAIT_SIPI] = "waits for start-up IPI",
	};
	char text[64];
	unsigned cpu, a;
	bool all;

	if (!gdb_get_thread(s, &p, &cpu, &all) || all || *p)
		return gdb_error(s, GDB_E_ARGUMENT);
	a = gdb_cpu(s, cpu)->activity;
	snprintf(text, sizeof(text), "vCPU %u [%s]", cpu,
		 a <= X86_WAIT_SIPI ? activity[a] : "?");
	rsp_put_hex(&s->out, text, strlen(text));
	return GDB_REPLY;
}

/* --- Queries -------------------------------------------------------------- */

static enum gdb_reply gdb_cmd_supported(struct gdb_session *s, const char *p)
{
	s->reports_breaks = strstr(p, "swbreak+") && strstr(p, "hwbreak+");
	rsp_printf(&s->out,
		   "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;"
		   "vContSupported+;swbreak+;hwbreak+",
		   RSP_PAYLOAD_MAX);
	return GDB_REPLY;
}

static enum gdb_reply gdb_cmd_no_ack(struct gdb_session *s, const char *p)
{
	s->no_ack = true;
	return gdb_ok(s);
}

static enum gdb_reply gdb_cmd_attached(struct gdb_session *s, const char *p)
{
	rsp_printf(&s->out, "1"); /* so gdb detaches rather than kills */
	return GDB_REPLY;
}

/* target.xml:OFFSET,LEN */
static enum gdb_reply gdb_cmd_features(struct gdb_session *s, const char *p)
{
	static const char annex[] = "target.xml:";
	uint64_t offset, len;
	size_t size = strlen(s->xml);

	if (strncmp(p, annex, sizeof(annex) - 1) != 0)
		return gdb_error(s, 0);
	p += sizeof(annex) - 1;
	if (!gdb_get_range(&p, &offset, &len) || *p)
		return gdb_error(s, GDB_E_ARGUMENT);
	if (offset > size)
		offset = size;
	if (len > RSP_PAYLOAD_MAX / 2)
		len = RSP_PAYLOAD_MAX / 2;
	if (len > size - offset)
		len = size - offset;
	rsp_printf(&s->out, offset + len < size ? "m" : "l");
	rsp_put_binary(&s->out, s->xml + offset, len);
	return GDB_REPLY;
}

/* Text for gdb's user: O packets. */
static void gdb_print(struct gdb_session *s, const char *text, size_t len)
{
	const size_t part_max = RSP_PAYLOAD_MAX / 4;

	for (size_t at = 0, n; at < len; at += n) {
		n = len - at < part_max ? len - at : part_max;
		rsp_clear(&s->out);
		rsp_printf(&s->out, "O");
		rsp_put_hex(&s->out, text + at, n);
		gdb_send(s);
	}
	rsp_clear(&s->out);
}

static enum gdb_reply gdb_cmd_monitor(struct gdb_session *s, const char *p)
{
	char line[256] = "", *text = NULL;
	size_t n = strlen(p) / 2, len;
	FILE *f;

	if (n >= sizeof(line) || !rsp_get_hex(&p, line, n) || *p)
		return gdb_error(s, GDB_E_ARGUMENT);
	f = open_memstream(&text, &len);
	if (!f)
		return gdb_error(s, GDB_E_FULL);
	gdb_monitor(s, line, f);
	fclose(f);
	gdb_print(s, text, len);
	free(text);
	return gdb_ok(s);
}

/* --- Dispatch ------------------------------------------------------------- */

static const struct gdb_command {
	const char *prefix;
	gdb_cmd_fn *fn;
	bool exact; /* no arguments */
} gdb_commands[] = {
	{ "?", gdb_cmd_why, true },
	{ "g", gdb_cmd_read_regs, true },
	{ "G", gdb_cmd_write_regs, false },
	{ "p", gdb_cmd_read_reg, false },
	{ "P", gdb_cmd_write_reg, false },
	{ "m", gdb_cmd_read_mem, false },
	{ "M", gdb_cmd_write_mem, false },
	{ "X", gdb_cmd_write_mem, false },
	{ "c", gdb_cmd_continue, false },
	{ "C", gdb_cmd_signal, false },
	{ "s", gdb_cmd_step, false },
	{ "S", gdb_cmd_signal, false },
	{ "vCont?", gdb_cmd_vcont_query, true },
	{ "vCont;", gdb_cmd_vcont, false },
	{ "Z", gdb_cmd_insert, false },
	{ "z", gdb_cmd_remove, false },
	{ "H", gdb_cmd_select, false },
	{ "T", gdb_cmd_alive, false },
	{ "qC", gdb_cmd_current, true },
	{ "qfThreadInfo", gdb_cmd_threads, true },
	{ "qsThreadInfo", gdb_cmd_no_more, true },
	{ "qThreadExtraInfo,", gdb_cmd_thread_info, false },
	{ "qSupported", gdb_cmd_supported, false },
	{ "qAttached", gdb_cmd_attached, false },
	{ "qXfer:features:read:", gdb_cmd_features, false },
	{ "qRcmd,", gdb_cmd_monitor, false },
	{ "QStartNoAckMode", gdb_cmd_no_ack, true },
	{ "D", gdb_cmd_detach, false },
	{ "k", gdb_cmd_kill, true },
	{ "vKill", gdb_cmd_kill, false },
};

static const struct gdb_command *gdb_find_command(const char *payload)
{
	for (size_t i = 0; i < sizeof(gdb_commands) / sizeof(*gdb_commands);
	     i++) {
		const struct gdb_command *c = &gdb_commands[i];
		size_t n = strlen(c->prefix);

		if (strncmp(payload, c->prefix, n) == 0 &&
		    !(c->exact && payload[n]))
			return c;
	}
	return NULL;
}

/* gdb speaks only while the machine stands still; whoever does not, waits. */
static void gdb_packet(struct gdb_session *s)
{
	const struct gdb_command *c = gdb_find_command(s->in.payload);
	enum gdb_reply reply = GDB_REPLY;

	rsp_clear(&s->out);
	if (s->running)
		gdb_error(s, GDB_E_ARGUMENT);
	else if (c)
		reply = c->fn(s, s->in.payload + strlen(c->prefix));
	if (s->out.overflow)
		gdb_error(s, GDB_E_FULL);
	if (reply == GDB_REPLY)
		gdb_send(s);
}

static void gdb_ack(struct gdb_session *s, char c)
{
	if (!s->no_ack)
		s->host->send(s->host->opaque, &c, 1);
}

void gdb_session_input(struct gdb_session *s, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n && !s->over; i++)
		switch (rsp_feed(&s->in, b[i])) {
		case RSP_PACKET:
			gdb_ack(s, '+');
			gdb_packet(s);
			break;
		case RSP_DAMAGED:
			gdb_ack(s, '-');
			break;
		case RSP_INTERRUPT:
			gdb_interrupt(s);
			break;
		case RSP_NAK:
			if (!s->no_ack)
				gdb_send(s);
			break;
		case RSP_NONE:
			break;
		}
}

/* --- Life ----------------------------------------------------------------- */

int gdb_session_begin(struct gdb_session *s, const struct gdb_host *host)
{
	memset(s, 0, sizeof(*s));
	s->host = host;
	s->debug.watch_hit = GDB_NO_WATCH;
	s->xml = gdb_regs_xml();
	if (!s->xml)
		return -ENOMEM;
	return 0;
}

void gdb_session_end(struct gdb_session *s)
{
	if (s->running)
		s->host->stop(s->host->opaque);
	gdb_point_remove_all(s);
	gdb_point_commit(s);
	free(s->xml);
	s->xml = NULL;
	s->host->go(s->host->opaque);
}
