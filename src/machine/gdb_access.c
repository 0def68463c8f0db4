/* gdb_access.c - registers, memory and breakpoints, as gdb asks for them. */
#include "cpu/x86/mmu.h"
#include "machine/gdb_cmd.h"
#include "machine/gdb_regs.h"

/* --- Registers ------------------------------------------------------------ */

void gdb_put_reg(struct gdb_session *s, unsigned cpu, unsigned n)
{
	uint8_t value[GDB_REG_SIZE_MAX];

	gdb_reg_read(gdb_cpu(s, cpu), n, value);
	rsp_put_hex(&s->out, value, gdb_reg_size(n));
}

enum gdb_reply gdb_cmd_read_regs(struct gdb_session *s, const char *p)
{
	for (unsigned i = 0; i < gdb_reg_count(); i++)
		gdb_put_reg(s, s->cpu, i);
	return GDB_REPLY;
}

/* Those that cannot be written keep their value. */
enum gdb_reply gdb_cmd_write_regs(struct gdb_session *s, const char *p)
{
	uint8_t value[GDB_REG_SIZE_MAX];

	for (unsigned i = 0; i < gdb_reg_count() && *p; i++) {
		if (!rsp_get_hex(&p, value, gdb_reg_size(i)))
			return gdb_error(s, GDB_E_ARGUMENT);
		gdb_reg_write(gdb_cpu(s, s->cpu), i, value);
	}
	return *p ? gdb_error(s, GDB_E_ARGUMENT) : gdb_ok(s);
}

enum gdb_reply gdb_cmd_read_reg(struct gdb_session *s, const char *p)
{
	uint64_t n;

	if (!rsp_get_number(&p, &n) || *p || n >= gdb_reg_count())
		return gdb_error(s, GDB_E_ARGUMENT);
	gdb_put_reg(s, s->cpu, (unsigned)n);
	return GDB_REPLY;
}

enum gdb_reply gdb_cmd_write_reg(struct gdb_session *s, const char *p)
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

bool gdb_get_range(const char **p, uint64_t *addr, uint64_t *len)
{
	return rsp_get_number(p, addr) && rsp_get_char(p, ',') &&
	       rsp_get_number(p, len);
}

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

/* ADDR,LEN: as much as there is, from the first byte on. */
enum gdb_reply gdb_cmd_read_mem(struct gdb_session *s, const char *p)
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
enum gdb_reply gdb_cmd_write_mem(struct gdb_session *s, const char *p)
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

enum gdb_reply gdb_cmd_insert(struct gdb_session *s, const char *p)
{
	struct gdb_point point;

	if (!gdb_get_point(p, &point))
		return gdb_error(s, GDB_E_ARGUMENT);
	if (gdb_point_add(s, &point))
		return gdb_error(s, GDB_E_FULL);
	return gdb_ok(s);
}

enum gdb_reply gdb_cmd_remove(struct gdb_session *s, const char *p)
{
	struct gdb_point point;

	if (!gdb_get_point(p, &point))
		return gdb_error(s, GDB_E_ARGUMENT);
	gdb_point_remove(s, &point);
	return gdb_ok(s);
}
