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
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/mmu.h"
#include "machine/gdb_regs.h"

#define GDB_SIGINT  2
#define GDB_SIGTRAP 5
#define GDB_SIGABRT 6
#define GDB_SIGSEGV 11

/* gdb prints these as numbers only; errno's values are as good as any. */
#define GDB_E_ARGUMENT 0x16
#define GDB_E_MEMORY   0x0e
#define GDB_E_FULL     0x1c

#define GDB_NO_WATCH UINT64_MAX

enum gdb_reply { GDB_REPLY, GDB_SILENT };

/* --- Replies -------------------------------------------------------------- */

static void gdb_send(struct gdb_session *s)
{
	char packet[RSP_PACKET_MAX];
	size_t n = rsp_frame(&s->out, packet);

	s->host->send(s->host->opaque, packet, n);
}

static enum gdb_reply gdb_error(struct gdb_session *s, unsigned code)
{
	rsp_clear(&s->out);
	rsp_printf(&s->out, "E%02x", code);
	return GDB_REPLY;
}

static enum gdb_reply gdb_ok(struct gdb_session *s)
{
	rsp_printf(&s->out, "OK");
	return GDB_REPLY;
}

static struct x86_cpu *gdb_cpu(const struct gdb_session *s, unsigned cpu)
{
	return s->host->xm->cpus[cpu];
}

/* --- Stops ---------------------------------------------------------------- */

static void gdb_put_reg(struct gdb_session *s, unsigned cpu, unsigned n)
{
	uint8_t value[GDB_REG_SIZE_MAX];

	gdb_reg_read(gdb_cpu(s, cpu), n, value);
	rsp_put_hex(&s->out, value, gdb_reg_size(n));
}

/* The registers that gdb asks for first save it a round trip. */
static void gdb_put_stop(struct gdb_session *s, unsigned signal, unsigned cpu,
			 const char *why)
{
	static const uint8_t reg[] = { GDB_REG_RBP, GDB_REG_RSP, GDB_REG_RIP };

	rsp_clear(&s->out);
	rsp_printf(&s->out, "T%02xthread:%x;%s", signal, cpu + 1, why);
	for (size_t i = 0; i < sizeof(reg); i++) {
		rsp_printf(&s->out, "%02x:", reg[i]);
		gdb_put_reg(s, cpu, reg[i]);
		rsp_printf(&s->out, ";");
	}
}

/* Stopped for this reason; gdb looks at this vCPU next. */
static void gdb_report(struct gdb_session *s, unsigned signal, unsigned cpu,
		       const char *why)
{
	s->running = false;
	s->cpu = s->step_cpu = cpu;
	gdb_put_stop(s, signal, cpu, why);
	gdb_send(s);
}

static uint64_t gdb_linear_rip(const struct x86_cpu *cpu)
{
	if (x86_code64(cpu))
		return cpu->rip;
	return (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
}

/* What a vCPU stopped for, in the words of a stop reply. */
static void gdb_why(struct gdb_session *s, unsigned index, char why[48])
{
	static const char *const watch[] = {
		[GDB_WATCH_WRITE] = "watch",
		[GDB_WATCH_READ] = "rwatch",
		[GDB_WATCH_ACCESS] = "awatch",
	};
	struct x86_cpu *cpu = gdb_cpu(s, index);
	const struct gdb_point *p = gdb_point_at(s, s->debug.watch_hit, true);

	why[0] = 0;
	cpu->watch_pending = false;
	if (s->debug.watch_hit != GDB_NO_WATCH && p) {
		snprintf(why, 48, "%s:%" PRIx64 ";", watch[p->type], p->addr);
	} else if (s->reports_breaks) {
		p = gdb_point_at(s, gdb_linear_rip(cpu), false);
		if (p)
			snprintf(why, 48, "%s:;",
				 p->type == GDB_SOFTWARE_BREAK ? "swbreak"
							       : "hwbreak");
	}
	s->debug.watch_hit = GDB_NO_WATCH;
}

static void gdb_end_waking(struct gdb_session *s)
{
	s->waking = false;
	gdb_point_apply(s);
}

/* Did this vCPU meet the breakpoint that waits for another one? */
static bool gdb_not_for_it(const struct gdb_session *s, unsigned cpu)
{
	return s->waking && cpu != s->waking_cpu &&
	       s->debug.watch_hit == GDB_NO_WATCH &&
	       !gdb_point_at(s, gdb_linear_rip(gdb_cpu(s, cpu)), false);
}

void gdb_session_stopped(struct gdb_session *s, unsigned cpu)
{
	char why[48];

	if (gdb_not_for_it(s, cpu)) {
		s->host->step(s->host->opaque, cpu);
		s->host->go(s->host->opaque);
		return;
	}
	gdb_end_waking(s);
	gdb_why(s, cpu, why);
	gdb_report(s, GDB_SIGTRAP, cpu, why);
}

static void gdb_interrupt(struct gdb_session *s)
{
	if (!s->running)
		return;
	s->host->stop(s->host->opaque);
	gdb_end_waking(s);
	gdb_report(s, GDB_SIGINT, s->cpu, "");
}

static enum gdb_reply gdb_cmd_why(struct gdb_session *s, const char *p)
{
	gdb_put_stop(s, GDB_SIGTRAP, s->cpu, "");
	return GDB_REPLY;
}

void gdb_session_exited(struct gdb_session *s, int status)
{
	if (s->over || !s->running)
		return;
	rsp_clear(&s->out);
	rsp_printf(&s->out, "W%02x", status & 0xff);
	gdb_send(s);
	s->over = true;
}

/* --- Going on ------------------------------------------------------------- */

static enum gdb_reply gdb_go(struct gdb_session *s)
{
	s->running = true;
	s->host->go(s->host->opaque);
	return GDB_SILENT;
}

/* Time stands still while we step: no interrupt would ever end its HLT. */
static enum gdb_reply gdb_step_halted(struct gdb_session *s, unsigned cpu)
{
	s->waking = true;
	s->waking_cpu = cpu;
	s->waking_addr = gdb_linear_rip(gdb_cpu(s, cpu));
	gdb_point_apply(s);
	return gdb_go(s);
}

static enum gdb_reply gdb_step(struct gdb_session *s, unsigned cpu)
{
	bool halted = gdb_cpu(s, cpu)->activity == X86_HALTED;
	enum vcpu_exit exit = s->host->step(s->host->opaque, cpu);
	unsigned signal = GDB_SIGTRAP;
	char why[48];

	if (halted && exit == VCPU_EXIT_HALT)
		return gdb_step_halted(s, cpu);
	if (exit == VCPU_EXIT_SHUTDOWN)
		signal = GDB_SIGSEGV;
	if (exit == VCPU_EXIT_ERROR)
		signal = GDB_SIGABRT;
	gdb_why(s, cpu, why);
	gdb_report(s, signal, cpu, why);
	return GDB_SILENT;
}

/* [ADDR]: where to go on. */
static bool gdb_take_address(struct gdb_session *s, unsigned cpu, const char *p)
{
	uint64_t addr;

	if (!*p)
		return true;
	if (!rsp_get_number(&p, &addr) || *p)
		return false;
	gdb_cpu(s, cpu)->rip = addr;
	return true;
}

static enum gdb_reply gdb_cmd_continue(struct gdb_session *s, const char *p)
{
	if (!gdb_take_address(s, s->cpu, p))
		return gdb_error(s, GDB_E_ARGUMENT);
	return gdb_go(s);
}

static enum gdb_reply gdb_cmd_step(struct gdb_session *s, const char *p)
{
	if (!gdb_take_address(s, s->step_cpu, p))
		return gdb_error(s, GDB_E_ARGUMENT);
	return gdb_step(s, s->step_cpu);
}

/* SIG[;ADDR]: a machine takes no signals. */
static enum gdb_reply gdb_cmd_signal(struct gdb_session *s, const char *p)
{
	bool step = p[-1] == 'S';
	uint64_t signal;

	if (!rsp_get_number(&p, &signal))
		return gdb_error(s, GDB_E_ARGUMENT);
	if (*p && !rsp_get_char(&p, ';'))
		return gdb_error(s, GDB_E_ARGUMENT);
	return step ? gdb_cmd_step(s, p) : gdb_cmd_continue(s, p);
}

/* ID, 0 (any) or -1 (all); *all: one of the latter. */
static bool gdb_get_thread(const struct gdb_session *s, const char **p,
			   unsigned *cpu, bool *all)
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

/* ACTION[:THREAD][;ACTION[:THREAD]]...; the first step decides. */
static enum gdb_reply gdb_cmd_vcont(struct gdb_session *s, const char *p)
{
	do {
		unsigned cpu = s->step_cpu;
		char action = *p;
		uint64_t signal;
		bool all;

		if (!action || !strchr("cCsS", action))
			return gdb_error(s, GDB_E_ARGUMENT);
		p++;
		if ((action == 'C' || action == 'S') &&
		    !rsp_get_number(&p, &signal))
			return gdb_error(s, GDB_E_ARGUMENT);
		if (rsp_get_char(&p, ':') && !gdb_get_thread(s, &p, &cpu, &all))
			return gdb_error(s, GDB_E_ARGUMENT);
		if (action == 's' || action == 'S')
			return gdb_step(s, cpu);
	} while (rsp_get_char(&p, ';'));
	return *p ? gdb_error(s, GDB_E_ARGUMENT) : gdb_go(s);
}

static enum gdb_reply gdb_cmd_vcont_query(struct gdb_session *s, const char *p)
{
	rsp_printf(&s->out, "vCont;c;C;s;S");
	return GDB_REPLY;
}

static enum gdb_reply gdb_cmd_detach(struct gdb_session *s, const char *p)
{
	s->over = true;
	return gdb_ok(s);
}

static enum gdb_reply gdb_cmd_kill(struct gdb_session *s, const char *p)
{
	s->over = true;
	s->host->end(s->host->opaque);
	return p[-1] == 'k' ? GDB_SILENT : gdb_ok(s);
}

/* --- Threads -------------------------------------------------------------- */

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

/* --- Registers ------------------------------------------------------------ */

static enum gdb_reply gdb_cmd_read_regs(struct gdb_session *s, const char *p)
{
	for (unsigned i = 0; i < gdb_reg_count(); i++)
		gdb_put_reg(s, s->cpu, i);
	return GDB_REPLY;
}

/* Those that cannot be written keep their value. */
static enum gdb_reply gdb_cmd_write_regs(struct gdb_session *s, const char *p)
{
	uint8_t value[GDB_REG_SIZE_MAX];

	for (unsigned i = 0; i < gdb_reg_count() && *p; i++) {
		if (!rsp_get_hex(&p, value, gdb_reg_size(i)))
			return gdb_error(s, GDB_E_ARGUMENT);
		gdb_reg_write(gdb_cpu(s, s->cpu), i, value);
	}
	return *p ? gdb_error(s, GDB_E_ARGUMENT) : gdb_ok(s);
}

static enum gdb_reply gdb_cmd_read_reg(struct gdb_session *s, const char *p)
{
	uint64_t n;

	if (!rsp_get_number(&p, &n) || *p || n >= gdb_reg_count())
		return gdb_error(s, GDB_E_ARGUMENT);
	gdb_put_reg(s, s->cpu, (unsigned)n);
	return GDB_REPLY;
}

static enum gdb_reply gdb_cmd_write_reg(struct gdb_session *s, const char *p)
{
	uint8_t value[GDB_REG_SIZE_MAX];
	uint64_t n;

	if (!rsp_get_number(&p, &n) || !rsp_get_char(&p, '=') ||
	    n >= gdb_reg_count() ||
	    !rsp_get_hex(&p, value, gdb_reg_size((unsigned)n)) || *p)
		return gdb_error(s, GDB_E_ARGUMENT);
	if (!gdb_reg_write(gdb_cpu(s, s->cpu), (unsigned)n, value))
		return gdb_error(s, GDB_E_ARGUMENT);
	return gdb_ok(s);
}

/* --- Memory --------------------------------------------------------------- */

/* Bytes from addr that lie in one page of RAM, at *host; 0: none. */
static size_t gdb_span(struct gdb_session *s, uint64_t addr, size_t want,
		       uint64_t *gpa, uint8_t **host)
{
	size_t left = MEM_PAGE_SIZE - (addr & MEM_PAGE_MASK);
	size_t n = want < left ? want : left;

	if (!x86_translate_debug(gdb_cpu(s, s->cpu), addr, gpa))
		return 0;
	*host = mem_host(s->host->xm->mem, *gpa, n);
	return *host ? n : 0;
}

static bool gdb_get_range(const char **p, uint64_t *addr, uint64_t *len)
{
	return rsp_get_number(p, addr) && rsp_get_char(p, ',') &&
	       rsp_get_number(p, len);
}

/* ADDR,LEN: as much as there is, from the first byte on. */
static enum gdb_reply gdb_cmd_read_mem(struct gdb_session *s, const char *p)
{
	uint64_t addr, len, gpa;
	uint8_t *host;
	size_t n;

	if (!gdb_get_range(&p, &addr, &len) || *p)
		return gdb_error(s, GDB_E_ARGUMENT);
	if (len > RSP_PAYLOAD_MAX / 2)
		len = RSP_PAYLOAD_MAX / 2;
	for (; len; addr += n, len -= n) {
		n = gdb_span(s, addr, len, &gpa, &host);
		if (!n)
			break;
		rsp_put_hex(&s->out, host, n);
	}
	if (len && !s->out.len)
		return gdb_error(s, GDB_E_MEMORY);
	return GDB_REPLY;
}

/* All or nothing: first every page is found, then written. */
static bool gdb_write(struct gdb_session *s, uint64_t addr, const uint8_t *p,
		      size_t len)
{
	uint64_t gpa;
	uint8_t *host;

	for (size_t at = 0, n; at < len; at += n) {
		n = gdb_span(s, addr + at, len - at, &gpa, &host);
		if (!n)
			return false;
	}
	for (size_t at = 0, n; at < len; at += n) {
		n = gdb_span(s, addr + at, len - at, &gpa, &host);
		if (!n || mem_write(s->host->xm->mem, gpa, p + at, n))
			return false;
	}
	return true;
}

/* ADDR,LEN:DATA in hex, or with X in binary. */
static enum gdb_reply gdb_cmd_write_mem(struct gdb_session *s, const char *p)
{
	bool binary = p[-1] == 'X', ok;
	uint8_t data[RSP_PAYLOAD_MAX];
	uint64_t addr, len;

	if (!gdb_get_range(&p, &addr, &len) || !rsp_get_char(&p, ':') ||
	    len > sizeof(data))
		return gdb_error(s, GDB_E_ARGUMENT);
	if (binary)
		ok = rsp_get_binary(p, s->in.payload + s->in.len, data, len);
	else
		ok = rsp_get_hex(&p, data, len) && !*p;
	if (!ok)
		return gdb_error(s, GDB_E_ARGUMENT);
	if (!gdb_write(s, addr, data, len))
		return gdb_error(s, GDB_E_MEMORY);
	return gdb_ok(s);
}

/* --- Breakpoints and watchpoints ------------------------------------------ */

/* TYPE,ADDR,KIND; conditions and commands behind ';' were not offered. */
static bool gdb_get_point(const char *p, struct gdb_point *out)
{
	uint64_t type;

	if (!rsp_get_number(&p, &type) || !rsp_get_char(&p, ',') ||
	    !gdb_get_range(&p, &out->addr, &out->len) || *p)
		return false;
	if (type > GDB_WATCH_ACCESS)
		return false;
	out->type = (uint8_t)type;
	if (type < GDB_WATCH_WRITE)
		return true;
	return out->len && out->len <= MEM_PAGE_SIZE &&
	       out->addr + out->len > out->addr;
}

static enum gdb_reply gdb_cmd_insert(struct gdb_session *s, const char *p)
{
	struct gdb_point point;

	if (!gdb_get_point(p, &point))
		return gdb_error(s, GDB_E_ARGUMENT);
	if (gdb_point_add(s, &point))
		return gdb_error(s, GDB_E_FULL);
	return gdb_ok(s);
}

static enum gdb_reply gdb_cmd_remove(struct gdb_session *s, const char *p)
{
	struct gdb_point point;

	if (!gdb_get_point(p, &point))
		return gdb_error(s, GDB_E_ARGUMENT);
	gdb_point_remove(s, &point);
	return gdb_ok(s);
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
	enum gdb_reply (*fn)(struct gdb_session *s, const char *args);
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
	free(s->xml);
	s->xml = NULL;
	s->host->go(s->host->opaque);
}
