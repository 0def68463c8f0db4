/*
 * stats.c - what a run cost, as one JSON object (--stats).
 */
#include <jansson.h>
#include <sys/resource.h>

#include "machine/pc.h"
#include "machine/run.h"

static const struct {
	const char *name;
	size_t offset;
} stats_fields[] = {
	{ "blocks", offsetof(struct engine_stats, blocks) },
	{ "copied_blocks", offsetof(struct engine_stats, copied) },
	{ "moved_blocks", offsetof(struct engine_stats, moved) },
	{ "evicted_blocks", offsetof(struct engine_stats, evicted) },
	{ "invalidated_blocks", offsetof(struct engine_stats, invalidated) },
	{ "tlb_misses", offsetof(struct engine_stats, tlb_misses) },
	{ "page_walks", offsetof(struct engine_stats, page_walks) },
	{ "exceptions", offsetof(struct engine_stats, exceptions) },
	{ "interrupts", offsetof(struct engine_stats, interrupts) },
	{ "halts", offsetof(struct engine_stats, halts) },
	{ "code_bytes", offsetof(struct engine_stats, code_bytes) },
	{ "vm_exits", offsetof(struct engine_stats, vm_exits) },
	{ "port_exits", offsetof(struct engine_stats, port_exits) },
	{ "mmio_exits", offsetof(struct engine_stats, mmio_exits) },
	{ "msr_exits", offsetof(struct engine_stats, msr_exits) },
	{ "eoi_exits", offsetof(struct engine_stats, eoi_exits) },
	{ "interpreted", offsetof(struct engine_stats, interpreted) },
};

static const char *const stats_exits[] = {
	[VCPU_EXIT_KICKED] = "kicked",     [VCPU_EXIT_HALT] = "halt",
	[VCPU_EXIT_SHUTDOWN] = "shutdown", [VCPU_EXIT_DEBUG] = "debug",
	[VCPU_EXIT_ERROR] = "error",
};

_Static_assert(sizeof(stats_exits) / sizeof(stats_exits[0]) == RUN_EXIT_KINDS,
	       "every exit has a name");

/* The fields of struct engine_stats, which are all of one type, summed. */
static void stats_sum(struct vm *vm, struct engine_stats *sum)
{
	uint64_t *to = (uint64_t *)sum;

	for (unsigned i = 0; i < vm->xm.cpu_count; i++) {
		struct engine_stats one = { 0 };
		const uint64_t *from = (const uint64_t *)&one;

		vm->xm.engine_ops->stats(vm->xm.cpus[i], &one);
		for (size_t n = 0; n < sizeof(one) / sizeof(*from); n++)
			to[n] += from[n];
	}
}

static double stats_cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static json_t *stats_exits_json(struct vm *vm)
{
	json_t *j = json_object();

	for (unsigned kind = 0; kind < RUN_EXIT_KINDS; kind++) {
		uint64_t n = 0;

		for (unsigned i = 0; i < vm->xm.cpu_count; i++)
			n += vm->threads[i].exits[kind];
		json_object_set_new(j, stats_exits[kind], json_integer(n));
	}
	return j;
}

static void stats_engine(json_t *j, const struct engine_stats *s,
			 double seconds)
{
	if (s->insns) {
		json_object_set_new(j, "instructions", json_integer(s->insns));
		json_object_set_new(j, "mips",
				    json_real(s->insns / seconds / 1e6));
	}
	for (size_t i = 0; i < sizeof(stats_fields) / sizeof(*stats_fields);
	     i++) {
		const char *p = (const char *)s + stats_fields[i].offset;

		json_object_set_new(j, stats_fields[i].name,
				    json_integer(*(const uint64_t *)p));
	}
}

void vm_print_stats(struct vm *vm, FILE *f)
{
	uint64_t end = vm->run->end_mono_ns;
	double cpu = stats_cpu_seconds();
	struct engine_stats s = { 0 };
	json_t *j = json_object();

	if (!end)
		end = clock_mono_ns();
	stats_sum(vm, &s);
	json_object_set_new(j, "engine", json_string(vm->xm.engine_ops->name));
	json_object_set_new(j, "cpus", json_integer(vm->xm.cpu_count));
	json_object_set_new(j, "wall_seconds",
			    json_real((end - vm->start_mono_ns) / 1e9));
	json_object_set_new(j, "cpu_seconds", json_real(cpu));
	stats_engine(j, &s, cpu > 0 ? cpu : 1);
	json_object_set_new(j, "exits", stats_exits_json(vm));
	if (vm->config.disk_count)
		json_object_set_new(j, "disks", pc_disk_stats(vm));
	json_object_set_new(j, "memory_touched",
			    json_integer(mem_touched_bytes(vm->env.mem)));
	json_dumpf(j, f, JSON_COMPACT | JSON_REAL_PRECISION(6));
	fputc('\n', f);
	json_decref(j);
}
