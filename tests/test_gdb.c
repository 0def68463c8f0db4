/* test_gdb.c - machine/rsp.c, gdb_session.c, gdb_points.c, gdb_regs.c. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/bits.h"
#include "gdb_bench.h"
#include "machine/gdb_listen.h"
#include "machine/gdb_regs.h"

/* --- Packets -------------------------------------------------------------- */

static enum rsp_event feed(struct rsp_reader *r, const char *s)
{
	enum rsp_event ev = RSP_NONE;

	for (; *s; s++)
		ev = rsp_feed(r, (uint8_t)*s);
	return ev;
}

static void packets_are_told_apart(void **state)
{
	struct rsp_reader *r = calloc(1, sizeof(*r));

	assert_int_equal(feed(r, "+junk$OK#9a"), RSP_PACKET);
	assert_string_equal(r->payload, "OK");
	assert_int_equal(feed(r, "$#00"), RSP_PACKET);
	assert_string_equal(r->payload, "");
	assert_int_equal(feed(r, "$OK#9A"), RSP_PACKET);
	assert_int_equal(feed(r, "$OK#9b"), RSP_DAMAGED);
	assert_int_equal(feed(r, "$OK#x0"), RSP_DAMAGED);
	assert_int_equal(feed(r, "$OK#0x"), RSP_DAMAGED);
	assert_int_equal(feed(r, "-"), RSP_NAK);
	assert_int_equal(feed(r, "\3"), RSP_INTERRUPT);
	assert_int_equal(feed(r, "$\3"), RSP_NONE); /* data, inside a packet */
	free(r);
}

static void endless_packet_is_damaged(void **state)
{
	struct rsp_reader *r = calloc(1, sizeof(*r));

	rsp_feed(r, '$');
	for (int i = 0; i < 3 * RSP_PAYLOAD_MAX; i++)
		assert_int_equal(rsp_feed(r, 0), RSP_NONE);
	assert_int_equal(feed(r, "#00"), RSP_DAMAGED);
	assert_int_equal(feed(r, "$OK#9a"), RSP_PACKET);
	free(r);
}

static void binary_is_escaped(void **state)
{
	static const char raw[] = "a$b#c*d}e";
	struct rsp_writer *w = calloc(1, sizeof(*w));
	char back[9];

	rsp_put_binary(w, raw, 9);
	assert_int_equal(w->len, 13);
	assert_null(strpbrk(w->payload, "$#*"));
	assert_true(rsp_get_binary(w->payload, w->payload + w->len, back, 9));
	assert_memory_equal(back, raw, 9);
	assert_false(rsp_get_binary(w->payload, w->payload + w->len, back, 8));
	assert_false(rsp_get_binary("}", "}" + 1, back, 1));
	free(w);
}

static void numbers_have_bounds(void **state)
{
	const char *p = "ffffffffffffffff,";
	uint64_t v;

	assert_true(rsp_get_number(&p, &v));
	assert_true(v == UINT64_MAX);
	p = "10000000000000000";
	assert_false(rsp_get_number(&p, &v));
	p = "x";
	assert_false(rsp_get_number(&p, &v));
}

/* --- A session ------------------------------------------------------------ */

static int setup(void **state)
{
	*state = gdb_bench_new();
	return 0;
}

static int teardown(void **state)
{
	gdb_bench_free(*state);
	return 0;
}

/* Sends a packet; returns the payload of the last answer. */
static const char *ask(struct gdb_bench *b, const char *payload)
{
	static struct rsp_writer w;
	static char packet[RSP_PACKET_MAX];
	char *answer, *end;

	rsp_clear(&w);
	rsp_put(&w, payload, strlen(payload));
	b->sent_len = 0;
	b->sent[0] = 0;
	gdb_session_input(&b->s, packet, rsp_frame(&w, packet));
	answer = strrchr(b->sent, '$');
	if (!answer)
		return "silence";
	end = strchr(answer, '#');
	*end = 0;
	return answer + 1;
}

static void asked(struct gdb_bench *b, const char *payload, const char *want)
{
	assert_string_equal(ask(b, payload), want);
}

static void unknown_gets_the_empty_answer(void **state)
{
	asked(*state, "vMustReplyEmpty", "");
	asked(*state, "", "");
	asked(*state, "qCRC:0,1", "");
	asked(*state, "gg", "");
}

static void acks_until_told_not_to(void **state)
{
	struct gdb_bench *b = *state;

	ask(b, "qC");
	assert_int_equal(b->sent[0], '+');
	gdb_session_input(&b->s, "-", 1);
	assert_int_equal(b->sent_len, 2 * strlen("$QC1#c5") + 1);
	b->sent_len = 0;
	gdb_session_input(&b->s, "$qC#00", 6);
	assert_string_equal(b->sent, "-");
	asked(b, "QStartNoAckMode", "OK");
	ask(b, "qC");
	assert_int_equal(b->sent[0], '$');
}

static void target_description_is_whole(void **state)
{
	struct gdb_bench *b = *state;
	char xml[65536] = "", request[80];
	const char *answer;

	do {
		snprintf(request, sizeof(request),
			 "qXfer:features:read:target.xml:%zx,1ff", strlen(xml));
		answer = ask(b, request);
		strcat(xml, answer + 1); /* it holds nothing to escape */
	} while (*answer == 'm');
	assert_int_equal(*answer, 'l');
	assert_string_equal(xml, b->s.xml);
	assert_non_null(strstr(xml, "org.gnu.gdb.i386.core"));
	assert_string_equal(xml + strlen(xml) - 9, "</target>");
	asked(b, "qXfer:features:read:target.xml:fffffff,10", "l");
	asked(b, "qXfer:features:read:other.xml:0,10", "E00");
}

static void registers_are_read_by_number(void **state)
{
	struct gdb_bench *b = *state;

	b->cpus[0]->gpr[X86_RBX] = 0x1122334455667788;
	b->cpus[1]->gpr[X86_RBX] = 1;
	b->cpus[0]->fpu.b[X86_XMM_OFFSET] = 0xab;
	asked(b, "p1", "8877665544332211");
	asked(b, "Hg2", "OK");
	asked(b, "p1", "0100000000000000");
	asked(b, "Hg1", "OK");
	assert_memory_equal(ask(b, "p28"), "ab00", 4);
	asked(b, "p1000", "E16");
	asked(b, "p", "E16");
}

/* Numbers that gdb takes for granted (its i386-tdep.h). */
static void register_numbers_are_those_of_gdb(void **state)
{
	assert_int_equal(gdb_reg_size(16), 8);  /* rip */
	assert_int_equal(gdb_reg_size(17), 4);  /* eflags */
	assert_int_equal(gdb_reg_size(24), 10); /* st0 */
	assert_int_equal(gdb_reg_size(32), 4);  /* fctrl */
	assert_int_equal(gdb_reg_size(40), 16); /* xmm0 */
	assert_int_equal(gdb_reg_size(56), 4);  /* mxcsr */
	assert_int_equal(gdb_reg_size(57), 16); /* ymm0h */
	assert_int_equal(gdb_reg_size(gdb_reg_count()), 0);
}

static void registers_are_written(void **state)
{
	struct gdb_bench *b = *state;
	struct x86_cpu *cpu = b->cpus[0];

	asked(b, "P0=8877665544332211", "OK");
	assert_true(cpu->gpr[X86_RAX] == 0x1122334455667788);
	asked(b, "P10=0020000000000000", "OK");
	assert_int_equal(cpu->rip, 0x2000);
	asked(b, "P11=d7080000", "OK");
	assert_int_equal(cpu->rflags, 0x8d7);
	asked(b, "P0=00", "E16");
	asked(b, "P0", "E16");
}

static void impossible_values_are_refused(void **state)
{
	struct gdb_bench *b = *state;
	uint64_t cr0 = b->cpus[0]->cr0;
	uint16_t cs = b->cpus[0]->seg[X86_CS].sel;
	char request[64];

	asked(b, "P12=34120000", "E16"); /* cs */
	assert_int_equal(b->cpus[0]->seg[X86_CS].sel, cs);
	asked(b, "P38=00000100", "E16");         /* mxcsr, a reserved bit */
	asked(b, "P49=0000000000800000", "E16"); /* fs_base, not canonical */
	snprintf(request, sizeof(request), "P%x=ffffffffffffffff",
		 gdb_reg_count() - 6);
	asked(b, request, "E16"); /* cr0 */
	assert_true(b->cpus[0]->cr0 == cr0);
	/* Reserved flags and VM stay. */
	asked(b, "P11=ffffffff", "OK");
	assert_int_equal(b->cpus[0]->rflags & 0xffda8028, 0);
}

static void all_registers_go_back_and_forth(void **state)
{
	struct gdb_bench *b = *state;
	char request[4096] = "G";
	struct x86_xsave fpu;

	for (int i = 0; i < 16; i++)
		b->cpus[0]->gpr[i] = 0x0101010101010101ull * (unsigned)i;
	strcat(request, ask(b, "g"));
	fpu = b->cpus[0]->fpu;
	memset(b->cpus[0]->gpr, 0, sizeof(b->cpus[0]->gpr));
	asked(b, request, "OK");
	for (int i = 0; i < 16; i++)
		assert_true(b->cpus[0]->gpr[i] ==
			    0x0101010101010101ull * (unsigned)i);
	assert_memory_equal(&b->cpus[0]->fpu, &fpu, sizeof(fpu));
	strcat(request, "00");
	asked(b, request, "E16");
}

/* SDM 1, 8.1.7: FXSAVE's abridged tags against FSTENV's. */
static void x87_tags_are_made_and_unmade(void **state)
{
	struct gdb_bench *b = *state;
	uint8_t *fpu = b->cpus[0]->fpu.b;

	memset(fpu, 0, 512);
	asked(b, "p22", "ffff0000"); /* all empty */
	fpu[3] = 7 << 3;             /* top = 7: ST0 is register 7 */
	fpu[4] = 0xe0;               /* registers 5, 6, 7: ST6, ST7, ST0 */
	fpu[32 + 7] = 0x80;          /* ST0 = 1.0: valid */
	fpu[32 + 8] = 0xff;
	fpu[32 + 9] = 0x3f;
	fpu[32 + 16 * 7 + 9] = 0x7f; /* ST7: infinity or NaN: special */
	fpu[32 + 16 * 7 + 8] = 0xff;
	asked(b, "p22", "ff270000"); /* 7: 0, 6: 2 special, 5: 1 zero */
	asked(b, "P22=ff3f0000", "OK");
	assert_int_equal(fpu[4], 0x80);
}

static void memory_is_read_and_written(void **state)
{
	struct gdb_bench *b = *state;

	asked(b, "M1ffe,4:01020304", "OK"); /* across pages */
	asked(b, "m1ffe,4", "01020304");
	asked(b, "X3000,4:a}\x03}]b", "OK");
	asked(b, "m3000,4", "61237d62");
	asked(b, "X3000,0:", "OK"); /* gdb's probe for X */
	asked(b, "M3000,2:01", "E16");
	asked(b, "M3000,1:0102", "E16");
	asked(b, "X3000,2:a", "E16");
	asked(b, "M3000:01", "E16");
	asked(b, "m3000", "E16");
}

static void memory_ends_where_ram_ends(void **state)
{
	struct gdb_bench *b = *state;

	asked(b, "mffffe,4", "0000"); /* what there is */
	asked(b, "m100000,4", "E0e");
	asked(b, "mffffffffffffffff,4", "E0e");
	asked(b, "Mffffe,4:01020304", "E0e");
	asked(b, "mffffe,2", "0000"); /* nothing was written */
	assert_int_equal(strlen(ask(b, "m0,ffffffff")), RSP_PAYLOAD_MAX);
}

struct note {
	int calls;
};

static void on_code(void *opaque, uint64_t gpa, uint64_t len)
{
	((struct note *)opaque)->calls++;
}

static void written_code_is_told_to_engines(void **state)
{
	struct gdb_bench *b = *state;
	struct note note = { 0 };

	mem_page_flags(b->xm.mem)[3] = MEM_PAGE_CODE;
	mem_set_code_hook(b->xm.mem, on_code, &note);
	asked(b, "M3000,1:cc", "OK");
	assert_int_equal(note.calls, 1);
}

static void threads_are_vcpus(void **state)
{
	struct gdb_bench *b = *state;

	asked(b, "qfThreadInfo", "m1,2");
	asked(b, "qsThreadInfo", "l");
	asked(b, "qC", "QC1");
	asked(b, "T2", "OK");
	asked(b, "T3", "E16");
	asked(b, "Hg3", "E16");
	asked(b, "Hx1", "E16");
	asked(b, "Hg0", "OK");
	asked(b, "Hc-1", "OK");
	b->cpus[1]->activity = X86_HALTED;
	/* "vCPU 1 [halted]" */
	asked(b, "qThreadExtraInfo,2", "764350552031205b68616c7465645d");
}

static void step_moves_one_vcpu(void **state)
{
	struct gdb_bench *b = *state;

	assert_memory_equal(ask(b, "vCont;s:2;c"), "T05thread:2;", 12);
	assert_int_equal(b->steps, 1);
	assert_int_equal(b->stepped, 1);
	assert_int_equal(b->goes, 0);
	assert_memory_equal(ask(b, "s1234"), "T05thread:2;", 12);
	assert_int_equal(b->cpus[1]->rip, 0x1235);
	asked(b, "Hc1", "OK");
	assert_memory_equal(ask(b, "S05"), "T05thread:1;", 12);
	b->step_exit = VCPU_EXIT_SHUTDOWN;
	assert_memory_equal(ask(b, "s"), "T0bthread:1;", 12);
	asked(b, "sxyz", "E16");
	asked(b, "vCont;r1,2", "E16");
	asked(b, "vCont;s:9", "E16");
	asked(b, "vCont;", "E16");
	asked(b, "vCont?", "vCont;c;C;s;S");
}

static void step_of_a_halted_vcpu_waits_for_it(void **state)
{
	struct gdb_bench *b = *state;

	b->step_exit = VCPU_EXIT_HALT;
	/* The step that executes HLT ends behind it. */
	assert_memory_equal(ask(b, "vCont;s:2"), "T05thread:2;", 12);
	b->cpus[1]->activity = X86_HALTED;
	asked(b, "vCont;s:2", "silence");
	assert_int_equal(b->goes, 1);
	assert_int_equal(b->s.debug.bp_count, 1);
	assert_true(b->s.debug.bp[0] == b->cpus[1]->rip);
	/* Another one comes by and is sent on. */
	b->cpus[0]->rip = b->cpus[1]->rip;
	b->sent_len = 0;
	gdb_session_stopped(&b->s, 0);
	assert_int_equal(b->sent_len, 0);
	assert_int_equal(b->goes, 2);
	assert_int_equal(b->stepped, 0);
	gdb_session_stopped(&b->s, 1);
	assert_memory_equal(b->sent, "$T05thread:2;", 13);
	assert_int_equal(b->s.debug.bp_count, 0);
	/* Nor does an interrupt leave it behind. */
	asked(b, "s", "silence");
	gdb_session_input(&b->s, "\3", 1);
	assert_int_equal(b->s.debug.bp_count, 0);
}

static void interrupt_stops(void **state)
{
	struct gdb_bench *b = *state;

	asked(b, "c", "silence");
	assert_true(b->s.running);
	assert_int_equal(b->goes, 1);
	asked(b, "g", "E16"); /* not while it runs */
	b->sent_len = 0;
	gdb_session_input(&b->s, "\3", 1);
	assert_int_equal(b->stops, 1);
	assert_memory_equal(b->sent, "$T02thread:1;", 13);
	gdb_session_input(&b->s, "\3", 1); /* stopped already */
	assert_int_equal(b->stops, 1);
	assert_memory_equal(ask(b, "?"), "T05thread:1;", 12);
}

static void breakpoints_reach_the_engines(void **state)
{
	struct gdb_bench *b = *state;

	asked(b, "Z0,1000,1", "OK");
	asked(b, "Z0,1000,1", "OK"); /* twice is once */
	asked(b, "Z1,1000,1", "OK"); /* both kinds at one address */
	asked(b, "Z1,ffffffff81000000,1", "OK");
	assert_ptr_equal(b->xm.debug, &b->s.debug);
	assert_int_equal(b->s.debug.bp_count, 2);
	asked(b, "z0,1000,1", "OK");
	assert_int_equal(b->s.debug.bp_count, 2);
	asked(b, "z1,1000,1", "OK");
	assert_int_equal(b->s.debug.bp_count, 1);
	assert_true(b->s.debug.bp[0] == 0xffffffff81000000);
	asked(b, "z1,1000,1", "OK"); /* not there */
	asked(b, "Z5,1000,1", "E16");
	asked(b, "Z0,1000", "E16");
}

/* gdb removes its breakpoints at each stop and inserts them to go on. */
static void engines_forget_code_only_for_new_breakpoints(void **state)
{
	struct gdb_bench *b = *state;

	ask(b, "c");
	assert_int_equal(b->flushes, 0);
	gdb_session_stopped(&b->s, 0);
	ask(b, "Z0,1000,1");
	ask(b, "Z0,2000,1");
	ask(b, "c");
	assert_int_equal(b->flushes, 2); /* both vCPUs */
	gdb_session_stopped(&b->s, 0);
	ask(b, "z0,1000,1");
	ask(b, "z0,2000,1");
	ask(b, "s");
	ask(b, "Z0,2000,1");
	ask(b, "Z0,1000,1");
	ask(b, "c");
	assert_int_equal(b->flushes, 2);
	gdb_session_stopped(&b->s, 0);
	ask(b, "z0,1000,1");
	ask(b, "c");
	assert_int_equal(b->flushes, 4);
}

static void stop_says_which_breakpoint(void **state)
{
	struct gdb_bench *b = *state;

	ask(b, "qSupported:swbreak+;hwbreak+");
	ask(b, "Z0,1000,1");
	ask(b, "Z1,2000,1");
	ask(b, "c");
	b->sent_len = 0;
	gdb_session_stopped(&b->s, 1);
	assert_memory_equal(b->sent, "$T05thread:2;swbreak:;", 22);
	b->cpus[0]->rip = 0x2000;
	ask(b, "c");
	b->sent_len = 0;
	gdb_session_stopped(&b->s, 0);
	assert_memory_equal(b->sent, "$T05thread:1;hwbreak:;", 22);
}

static void watchpoints_reach_the_engines(void **state)
{
	struct gdb_bench *b = *state;

	asked(b, "Z2,5000,4", "OK");
	asked(b, "Z3,6000,8", "OK");
	asked(b, "Z4,7000,1", "OK");
	assert_int_equal(b->s.debug.watch_count, 3);
	assert_true(b->s.debug.watch[0].write && !b->s.debug.watch[0].read);
	assert_true(!b->s.debug.watch[1].write && b->s.debug.watch[1].read);
	assert_true(b->s.debug.watch[2].write && b->s.debug.watch[2].read);
	asked(b, "Z2,5000,0", "E16");
	asked(b, "Z2,ffffffffffffffff,2", "E16");
	asked(b, "Z2,5000,100000", "E16");
	ask(b, "c");
	b->s.debug.watch_hit = 0x6000;
	b->cpus[0]->watch_pending = true;
	b->sent_len = 0;
	gdb_session_stopped(&b->s, 0);
	assert_memory_equal(b->sent, "$T05thread:1;rwatch:6000;", 25);
	assert_false(b->cpus[0]->watch_pending);
	assert_memory_equal(ask(b, "s"), "T05thread:1;06:", 15); /* told once */
	asked(b, "z3,6000,8", "OK");
	assert_int_equal(b->s.debug.watch_count, 2);
}

static void too_many_points_are_refused(void **state)
{
	struct gdb_bench *b = *state;
	char request[32];

	for (int i = 0; i < 16; i++) {
		snprintf(request, sizeof(request), "Z2,%x,1", i);
		asked(b, request, "OK");
	}
	asked(b, "Z2,100,1", "E1c");
	for (int i = 0; i < X86_DEBUG_MAX_BP; i++) {
		snprintf(request, sizeof(request), "Z0,%x,1", i);
		asked(b, request, "OK");
	}
	asked(b, "Z0,100,1", "E1c");
	assert_int_equal(b->s.debug.bp_count, X86_DEBUG_MAX_BP);
	assert_int_equal(b->s.debug.watch_count, 16);
}

static void detach_and_kill_end_the_session(void **state)
{
	struct gdb_bench *b = *state;

	asked(b, "D", "OK");
	assert_true(b->s.over);
	asked(b, "qC", "silence");
	b->s.over = false;
	asked(b, "k", "silence");
	assert_int_equal(b->ends, 1);
	b->s.over = false;
	asked(b, "vKill;1", "OK");
	assert_int_equal(b->ends, 2);
}

static void end_of_session_frees_the_machine(void **state)
{
	struct gdb_bench *b = gdb_bench_new();

	ask(b, "Z0,1000,1");
	ask(b, "c");
	gdb_session_end(&b->s);
	assert_null(b->xm.debug);
	assert_int_equal(b->stops, 1);
	assert_int_equal(b->goes, 2);
	assert_int_equal(gdb_session_begin(&b->s, &b->host), 0);
	assert_int_equal(b->s.debug.bp_count, 0);
	gdb_bench_free(b);
}

static void guests_end_is_told(void **state)
{
	struct gdb_bench *b = *state;

	ask(b, "c");
	b->sent_len = 0;
	gdb_session_exited(&b->s, 0x1ff);
	assert_memory_equal(b->sent, "$Wff#", 5);
	assert_true(b->s.over);
}

/* --- monitor -------------------------------------------------------------- */

/* `monitor LINE`; the text of its O packets. */
static const char *monitor(struct gdb_bench *b, const char *line)
{
	static char text[32768];
	static struct rsp_writer w;
	static char packet[RSP_PACKET_MAX];
	size_t n = 0;

	rsp_clear(&w);
	rsp_printf(&w, "qRcmd,");
	rsp_put_hex(&w, line, strlen(line));
	b->sent_len = 0;
	gdb_session_input(&b->s, packet, rsp_frame(&w, packet));
	for (const char *p = b->sent; (p = strstr(p, "$O"));) {
		if (strncmp(p, "$OK#", 4) == 0)
			break;
		for (p += 2; rsp_get_hex(&p, text + n, 1); n++)
			;
	}
	text[n] = 0;
	return text;
}

static void monitor_words(void **state)
{
	struct gdb_bench *b = *state;

	assert_non_null(strstr(monitor(b, "help"), "info registers"));
	assert_non_null(strstr(monitor(b, "info registers"),
			       "rip       0000000000001000\n"));
	assert_non_null(strstr(monitor(b, "nonsense"), "monitor help"));
	monitor(b, "nmi");
	assert_true(b->cpus[0]->pending & X86_PEND_NMI);
	monitor(b, "reset");
	assert_int_equal(b->resets, 1);
	monitor(b, "quit");
	assert_int_equal(b->ends, 1);
	assert_true(b->s.over);
}

/* --- Where to listen ------------------------------------------------------ */

static void addresses_are_parsed(void **state)
{
	static const struct {
		const char *where, *addr, *port;
	} good[] = {
		{ "1234", "127.0.0.1", "1234" },
		{ "0.0.0.0:0", "0.0.0.0", "0" },
		{ "localhost:65535", "localhost", "65535" },
		{ "[::1]:80", "::1", "80" },
	};
	static const char *const bad[] = { "",        ":",      ":1234",
					   "x",       "65536",  "1:",
					   "1:x",     "::1:80", "-1",
					   "[::1]80", "1 " };
	char addr[256], port[8];
	struct err err;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(
			gdb_parse_where(good[i].where, addr, port, &err), 0);
		assert_string_equal(addr, good[i].addr);
		assert_string_equal(port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (gdb_parse_where(bad[i], addr, port, &err) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		assert_non_null(strstr(err.msg, "127.0.0.1:1234"));
	}
}

#define GDB_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_are_told_apart),
		cmocka_unit_test(endless_packet_is_damaged),
		cmocka_unit_test(binary_is_escaped),
		cmocka_unit_test(numbers_have_bounds),
		GDB_TEST(unknown_gets_the_empty_answer),
		GDB_TEST(acks_until_told_not_to),
		GDB_TEST(target_description_is_whole),
		GDB_TEST(registers_are_read_by_number),
		GDB_TEST(register_numbers_are_those_of_gdb),
		GDB_TEST(registers_are_written),
		GDB_TEST(impossible_values_are_refused),
		GDB_TEST(all_registers_go_back_and_forth),
		GDB_TEST(x87_tags_are_made_and_unmade),
		GDB_TEST(memory_is_read_and_written),
		GDB_TEST(memory_ends_where_ram_ends),
		GDB_TEST(written_code_is_told_to_engines),
		GDB_TEST(threads_are_vcpus),
		GDB_TEST(step_moves_one_vcpu),
		GDB_TEST(step_of_a_halted_vcpu_waits_for_it),
		GDB_TEST(interrupt_stops),
		GDB_TEST(breakpoints_reach_the_engines),
		GDB_TEST(engines_forget_code_only_for_new_breakpoints),
		GDB_TEST(stop_says_which_breakpoint),
		GDB_TEST(watchpoints_reach_the_engines),
		GDB_TEST(too_many_points_are_refused),
		GDB_TEST(detach_and_kill_end_the_session),
		cmocka_unit_test(end_of_session_frees_the_machine),
		GDB_TEST(guests_end_is_told),
		GDB_TEST(monitor_words),
		cmocka_unit_test(addresses_are_parsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
