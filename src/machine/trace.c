/* trace.c - see trace.h. */
#include "machine/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/insn.h"
#include "machine/trace_filter.h"

#define TRACE_BUFFER   (1u << 20)
#define TRACE_LINE_MAX 320

struct trace {
	struct trace_filter filter;
	struct x86_machine *xm; /* NULL: not attached */
	struct x86_trace_ops ops;
	pthread_key_t cpu_of_thread; /* struct x86_cpu *, or NULL */
	FILE *f;                     /* locks itself: a line is one call */
	char *path;
	char *buffer;
};

/* --- Lines ---------------------------------------------------------------- */

/* `cpu` is NULL in a thread that runs none. */
static void trace_line(struct trace *t, const struct x86_cpu *cpu,
		       const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void trace_line(struct trace *t, const struct x86_cpu *cpu,
		       const char *fmt, ...)
{
	char line[TRACE_LINE_MAX];
	va_list ap;
	int n;

	if (cpu)
		n = snprintf(line, sizeof(line), "%u %10" PRIu64 " ",
			     cpu->index, cpu->insn_count);
	else
		n = snprintf(line, sizeof(line), "- %10s ", "-");
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > TRACE_LINE_MAX - 2)
		n = TRACE_LINE_MAX - 2;
	line[n++] = '\n';
	fwrite(line, 1, (size_t)n, t->f); /* trace_close() asks ferror() */
}

static bool trace_wants(const struct trace *t, const struct x86_cpu *cpu,
			uint64_t rip)
{
	return trace_filter_match(&t->filter, cpu->index, cpu->cpl == 3, rip);
}

/* --- Instructions and events ---------------------------------------------- */

static void trace_insn(void *opaque, struct x86_cpu *cpu, uint64_t rip,
		       const uint8_t *bytes, unsigned len)
{
	struct trace *t = opaque;
	char text[128], hex[X86_INSN_MAX * 2 + 1] = "";

	if (!trace_wants(t, cpu, rip))
		return;
	for (unsigned i = 0; i < len && i < X86_INSN_MAX; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	x86_disasm(text, sizeof(text), bytes, len, cpu->mode, rip);
	trace_line(t, cpu, "insn   %016" PRIx64 " %-20s %s", rip, hex, text);
}

/* SDM 3A table 6-1; NULL: no name of its own. */
static const char *const trace_vector[] = {
	[X86_VEC_DE] = "#DE", [X86_VEC_DB] = "#DB", [X86_VEC_BP] = "#BP",
	[X86_VEC_OF] = "#OF", [X86_VEC_BR] = "#BR", [X86_VEC_UD] = "#UD",
	[X86_VEC_NM] = "#NM", [X86_VEC_DF] = "#DF", [X86_VEC_TS] = "#TS",
	[X86_VEC_NP] = "#NP", [X86_VEC_SS] = "#SS", [X86_VEC_GP] = "#GP",
	[X86_VEC_PF] = "#PF", [X86_VEC_MF] = "#MF", [X86_VEC_AC] = "#AC",
	[X86_VEC_MC] = "#MC", [X86_VEC_XM] = "#XM",
};

static void trace_event_name(const struct x86_event *ev, char name[32])
{
	const char *known = NULL;

	if (ev->vector < sizeof(trace_vector) / sizeof(*trace_vector))
		known = trace_vector[ev->vector];
	if (ev->type == X86_EV_INTR)
		snprintf(name, 32, "interrupt 0x%x", ev->vector);
	else if (ev->type == X86_EV_NMI)
		snprintf(name, 32, "NMI");
	else if (ev->type == X86_EV_SOFT)
		snprintf(name, 32, "int 0x%x", ev->vector);
	else if (known)
		snprintf(name, 32, "%s", known);
	else
		snprintf(name, 32, "exception 0x%x", ev->vector);
}

static void trace_event(void *opaque, struct x86_cpu *cpu,
			const struct x86_event *ev)
{
	struct trace *t = opaque;
	char name[32], error[24] = "", cr2[32] = "";

	if (!trace_wants(t, cpu, cpu->rip))
		return;
	trace_event_name(ev, name);
	if (ev->has_error)
		snprintf(error, sizeof(error), " error 0x%" PRIx32, ev->error);
	if (ev->vector == X86_VEC_PF && ev->type == X86_EV_FAULT)
		snprintf(cr2, sizeof(cr2), " cr2 0x%" PRIx64, ev->cr2);
	trace_line(t, cpu, "event  %016" PRIx64 " %s%s%s", cpu->rip, name,
		   error, cr2);
}

/* --- Ports and MMIO ------------------------------------------------------- */

static void trace_access(void *opaque, char space, bool write, uint64_t addr,
			 unsigned size, uint64_t value, const char *name)
{
	struct trace *t = opaque;
	struct x86_cpu *cpu = pthread_getspecific(t->cpu_of_thread);
	bool port = space == 'p';

	if (!trace_filter_kind(&t->filter, port ? TRACE_PORT : TRACE_MMIO))
		return;
	if (cpu ? !trace_wants(t, cpu, cpu->rip)
		: !trace_filter_match_other(&t->filter))
		return;
	trace_line(t, cpu, "%s   %s 0x%" PRIx64 ".%u = 0x%" PRIx64 " %s",
		   port ? "port" : "mmio", write ? "write" : "read", addr, size,
		   value, name);
}

/* --- Life ----------------------------------------------------------------- */

static void trace_free(struct trace *t)
{
	pthread_key_delete(t->cpu_of_thread);
	free(t->path);
	free(t->buffer);
	free(t);
}

static int trace_open_file(struct trace *t, const char *path, struct err *err)
{
	t->path = strdup(path);
	t->buffer = malloc(TRACE_BUFFER);
	if (!t->path || !t->buffer)
		return err_set(err, ENOMEM, "no memory for a trace");
	t->f = fopen(path, "we");
	if (!t->f)
		return err_set(err, errno, "cannot open the trace file %s: %s",
			       path, strerror(errno));
	setvbuf(t->f, t->buffer, _IOFBF, TRACE_BUFFER);
	return 0;
}

int trace_open(struct trace **out, const char *path, const char *filter,
	       struct err *err)
{
	struct trace *t = calloc(1, sizeof(*t));
	int rc;

	if (!t || pthread_key_create(&t->cpu_of_thread, NULL)) {
		free(t);
		return err_set(err, ENOMEM, "no memory for a trace");
	}
	rc = trace_filter_parse(&t->filter, filter, err);
	if (!rc)
		rc = trace_open_file(t, path, err);
	if (rc) {
		trace_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void trace_attach(struct trace *t, struct x86_machine *xm)
{
	const struct trace_filter *f = &t->filter;

	t->xm = xm;
	if (trace_filter_kind(f, TRACE_INSN))
		t->ops.insn = trace_insn;
	if (trace_filter_kind(f, TRACE_EVENT))
		t->ops.event = trace_event;
	if (t->ops.insn || t->ops.event) {
		xm->trace = &t->ops;
		xm->trace_opaque = t;
	}
	if (trace_filter_kind(f, TRACE_PORT) ||
	    trace_filter_kind(f, TRACE_MMIO))
		mem_set_tap(xm->mem, trace_access, t);
}

void trace_thread(struct trace *t, struct x86_cpu *cpu)
{
	pthread_setspecific(t->cpu_of_thread, cpu);
}

int trace_close(struct trace *t, struct err *err)
{
	int rc = 0;

	if (!t)
		return 0;
	if (t->xm) {
		t->xm->trace = NULL;
		mem_set_tap(t->xm->mem, NULL, NULL);
	}
	if ((ferror(t->f) != 0) | (fclose(t->f) != 0))
		rc = err_set(err, EIO,
			     "the trace file %s is not complete: the disk may "
			     "be full",
			     t->path);
	trace_free(t);
	return rc;
}
