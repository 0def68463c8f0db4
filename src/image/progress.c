#include "image/progress.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define PROGRESS_PAUSE_NS 100000000u
#define PROGRESS_MB       1000000.0

void progress_init(struct progress *p, FILE *f)
{
	*p = (struct progress){ .f = f, .tty = f && isatty(fileno(f)) };
}

static void progress_line(struct progress *p, const char *beside)
{
	fprintf(p->f, "\r\033[K%s%s%.60s", p->step, *beside ? "  " : "",
		beside);
	fflush(p->f);
	p->open = true;
}

void progress_step(struct progress *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->step, sizeof(p->step), fmt, ap);
	va_end(ap);
	p->next_ns = 0;
	if (p->f && p->tty)
		progress_line(p, "");
	else if (p->f)
		fprintf(p->f, "hostel: %s\n", p->step);
}

void progress_note(struct progress *p, const char *note)
{
	uint64_t now;

	if (!p->f || !p->tty)
		return;
	now = clock_mono_ns();
	if (now < p->next_ns)
		return;
	p->next_ns = now + PROGRESS_PAUSE_NS;
	progress_line(p, note);
}

void progress_bytes(struct progress *p, uint64_t done, uint64_t total)
{
	char note[64];

	if (total)
		snprintf(note, sizeof(note), "%3u%%  %.0f of %.0f MB",
			 (unsigned)((double)done * 100 / (double)total),
			 (double)done / PROGRESS_MB,
			 (double)total / PROGRESS_MB);
	else
		snprintf(note, sizeof(note), "%.0f MB",
			 (double)done / PROGRESS_MB);
	progress_note(p, note);
}

void progress_end(struct progress *p)
{
	if (p->f && p->open)
		fputs("\r\033[K", p->f);
	if (p->f)
		fflush(p->f);
	p->open = false;
}
