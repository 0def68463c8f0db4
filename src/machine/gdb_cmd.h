/*
 * gdb_cmd.h - what the files of a gdb_session share; private to them.
 *
 * gdb_session.c	dispatch, replies, threads and queries
 * gdb_stop.c		why the machine stopped, and how it goes on
 * gdb_access.c		registers, memory, breakpoints
 */
#ifndef HOSTEL_MACHINE_GDB_CMD_H
#define HOSTEL_MACHINE_GDB_CMD_H

#include "machine/gdb_session.h"

/* gdb prints these as numbers only; errno's values are as good as any. */
#define GDB_E_ARGUMENT 0x16
#define GDB_E_MEMORY   0x0e
#define GDB_E_FULL     0x1c

/* x86_debug.watch_hit while no watchpoint was met. */
#define GDB_NO_WATCH UINT64_MAX

/* Does s->out hold the answer, or is none due (yet)? */
enum gdb_reply { GDB_REPLY, GDB_SILENT };

/*
 * A command: args follows the prefix by which it was found, in the payload,
 * which ends with NUL; args[-1] is the prefix's last character.
 */
typedef enum gdb_reply gdb_cmd_fn(struct gdb_session *s, const char *args);

gdb_cmd_fn gdb_cmd_why;
gdb_cmd_fn gdb_cmd_continue;
gdb_cmd_fn gdb_cmd_step;
gdb_cmd_fn gdb_cmd_signal;
gdb_cmd_fn gdb_cmd_vcont;
gdb_cmd_fn gdb_cmd_vcont_query;
gdb_cmd_fn gdb_cmd_detach;
gdb_cmd_fn gdb_cmd_kill;

gdb_cmd_fn gdb_cmd_read_regs;
gdb_cmd_fn gdb_cmd_write_regs;
gdb_cmd_fn gdb_cmd_read_reg;
gdb_cmd_fn gdb_cmd_write_reg;
gdb_cmd_fn gdb_cmd_read_mem;
gdb_cmd_fn gdb_cmd_write_mem;
gdb_cmd_fn gdb_cmd_insert;
gdb_cmd_fn gdb_cmd_remove;

/* Sends s->out as a packet. */
void gdb_send(struct gdb_session *s);
enum gdb_reply gdb_ok(struct gdb_session *s);
enum gdb_reply gdb_error(struct gdb_session *s, unsigned code);
/* 03 came: stops a running machine and says so. */
void gdb_interrupt(struct gdb_session *s);
/* A register's value in hex. */
void gdb_put_reg(struct gdb_session *s, unsigned cpu, unsigned n);
/* ID, 0 (any) or -1 (all); *all: one of the latter, and *cpu is as it was. */
bool gdb_get_thread(const struct gdb_session *s, const char **p, unsigned *cpu,
		    bool *all);
/* ADDR,LEN */
bool gdb_get_range(const char **p, uint64_t *addr, uint64_t *len);

static inline struct x86_cpu *gdb_cpu(const struct gdb_session *s, unsigned cpu)
{
	return s->host->xm->cpus[cpu];
}

#endif
