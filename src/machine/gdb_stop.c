/* gdb_stop.c - why the machine stopped, and how it goes on. */
#include <inttypes.h>
#include <string.h>

#include "machine/gdb_cmd.h"
#include "machine/gdb_regs.h"

#define GDB_SIGINT  2
#define GDB_SIGTRAP 5
#define GDB_SIGABRT 6
#define GDB_SIGSEGV 11

/* --- Stops ---------------------------------------------------------------- */

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

void gdb_interrupt(struct gdb_session *s)
{
	if (!s->running)
		return;
	s->host->stop(s->host->opaque);
	gdb_end_waking(s);
	gdb_report(s, GDB_SIGINT, s->cpu, "");
}

enum gdb_reply gdb_cmd_why(struct gdb_session *s, const char *p)
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
	gdb_point_commit(s);
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

enum gdb_reply gdb_cmd_continue(struct gdb_session *s, const char *p)
{
	if (!gdb_take_address(s, s->cpu, p))
		return gdb_error(s, GDB_E_ARGUMENT);
	return gdb_go(s);
}

enum gdb_reply gdb_cmd_step(struct gdb_session *s, const char *p)
{
	if (!gdb_take_address(s, s->step_cpu, p))
		return gdb_error(s, GDB_E_ARGUMENT);
	return gdb_step(s, s->step_cpu);
}

/* SIG[;ADDR]: a machine takes no signals. */
enum gdb_reply gdb_cmd_signal(struct gdb_session *s, const char *p)
{
	bool step = p[-1] == 'S';
	uint64_t signal;

	if (!rsp_get_number(&p, &signal))
		return gdb_error(s, GDB_E_ARGUMENT);
	if (*p && !rsp_get_char(&p, ';'))
		return gdb_error(s, GDB_E_ARGUMENT);
	return step ? gdb_cmd_step(s, p) : gdb_cmd_continue(s, p);
}

/* ACTION[:THREAD][;ACTION[:THREAD]]...; the first step decides. */
enum gdb_reply gdb_cmd_vcont(struct gdb_session *s, const char *p)
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

enum gdb_reply gdb_cmd_vcont_query(struct gdb_session *s, const char *p)
{
	rsp_printf(&s->out, "vCont;c;C;s;S");
	return GDB_REPLY;
}

enum gdb_reply gdb_cmd_detach(struct gdb_session *s, const char *p)
{
	s->over = true;
	return gdb_ok(s);
}

enum gdb_reply gdb_cmd_kill(struct gdb_session *s, const char *p)
{
	s->over = true;
	s->host->end(s->host->opaque);
	return p[-1] == 'k' ? GDB_SILENT : gdb_ok(s);
}
