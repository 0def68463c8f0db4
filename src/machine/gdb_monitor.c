/* gdb_monitor.c - gdb's `monitor` command: words of our own. */
#include <string.h>

#include "machine/gdb_regs.h"
#include "machine/gdb_session.h"

static void gdb_mon_help(struct gdb_session *s, FILE *f);

static void gdb_mon_registers(struct gdb_session *s, FILE *f)
{
	gdb_regs_print(s->host->xm->cpus[s->cpu], f);
}

static void gdb_mon_nmi(struct gdb_session *s, FILE *f)
{
	x86_pend(s->host->xm->cpus[s->cpu], X86_PEND_NMI);
	fprintf(f, "vCPU %u gets an NMI when it goes on.\n", s->cpu);
}

static void gdb_mon_reset(struct gdb_session *s, FILE *f)
{
	s->host->reset(s->host->opaque);
	fputs("The guest starts anew when it goes on.\n", f);
}

static void gdb_mon_quit(struct gdb_session *s, FILE *f)
{
	s->host->end(s->host->opaque);
	s->over = true;
	fputs("The guest has ended.\n", f);
}

static const struct {
	const char *words, *help;
	void (*fn)(struct gdb_session *s, FILE *f);
} gdb_mon_table[] = {
	{ "help", "these lines", gdb_mon_help },
	{ "info registers", "the vCPU, hidden parts of segments too",
	  gdb_mon_registers },
	{ "nmi", "a non-maskable interrupt for the vCPU", gdb_mon_nmi },
	{ "reset", "as the reset button", gdb_mon_reset },
	{ "quit", "ends the guest", gdb_mon_quit },
};

#define GDB_MON_COUNT (sizeof(gdb_mon_table) / sizeof(*gdb_mon_table))

static void gdb_mon_help(struct gdb_session *s, FILE *f)
{
	for (size_t i = 0; i < GDB_MON_COUNT; i++)
		fprintf(f, "monitor %-16s %s\n", gdb_mon_table[i].words,
			gdb_mon_table[i].help);
}

void gdb_monitor(struct gdb_session *s, const char *line, FILE *f)
{
	for (size_t i = 0; i < GDB_MON_COUNT; i++)
		if (strcmp(line, gdb_mon_table[i].words) == 0) {
			gdb_mon_table[i].fn(s, f);
			return;
		}
	fputs("Unknown; try: monitor help\n", f);
}
