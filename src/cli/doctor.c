/* hostel doctor: what this host can run, and why. */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cpu/kvm/probe.h"
#include "cpu/x86/cpuid.h"
#include "machine/engines.h"
#include "vmm/control.h"

static const struct engine_ops *const doctor_engines[] = {
	&translator_engine,
	&interpreter_engine,
};

#define DOCTOR_ENGINES (sizeof(doctor_engines) / sizeof(doctor_engines[0]))

/* A KVM may not show all of the processor, or do it wrong (quirks.c). */
static void doctor_limits(void)
{
	struct x86_model host, shown;
	const char *missing;

	x86_model_host(&host);
	shown = host;
	kvm_engine.limit_model(&shown);
	if (!x86_model_within(&host, &shown, &missing))
		printf("             guests get less than this processor has: "
		       "no %s, for one\n",
		       missing);
}

static void doctor_kvm(void)
{
	struct probe p;

	probe_kvm(&p);
	printf("kvm          %s: %s\n",
	       p.verdict == PROBE_WORKS         ? "yes"
	       : p.verdict == PROBE_NO_HARDWARE ? "slow"
						: "no",
	       p.why.msg);
	if (p.verdict == PROBE_WORKS)
		doctor_limits();
}

static void doctor_software(const struct engine_ops *engine)
{
	struct err err = { "" };

	if (engine->probe(&err))
		printf("%-12s no: %s\n", engine->name, err.msg);
	else
		printf("%-12s yes\n", engine->name);
}

/* What --engine auto takes. */
static const char *doctor_auto(void)
{
	const struct engine_ops *engine = engines_choose("auto", NULL);

	return engine ? engine->name : NULL;
}

static void doctor_host(void)
{
	unsigned a, b = 0, c = 0, d;

	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	printf("host         %ld CPUs%s%s%s\n", sysconf(_SC_NPROCESSORS_ONLN),
	       b & bit_AVX2 ? ", AVX2" : "", b & bit_BMI2 ? ", BMI2" : "",
	       b & bit_AVX512F ? ", AVX-512" : "");
}

static int doctor_report(const char *chosen)
{
	doctor_host();
	doctor_kvm();
	for (size_t i = 0; i < DOCTOR_ENGINES; i++)
		doctor_software(doctor_engines[i]);
	if (chosen)
		printf("auto         %s: the fastest of these that boots stock "
		       "kernels\n",
		       chosen);
	else
		printf("auto         no engine runs here\n");
	return chosen ? 0 : CONTROL_STATUS_ERROR;
}

int cli_doctor(int argc, char **argv)
{
	const char *chosen = doctor_auto();
	struct err err;

	if (argc == 2 && !strcmp(argv[1], "--auto") && chosen)
		return puts(chosen) < 0;
	if (argc > 1) {
		err_set(&err, EINVAL,
			"doctor takes no options but --auto, which prints "
			"the engine alone");
		return cli_fail(&err);
	}
	return doctor_report(chosen);
}
