/* hostel doctor: what this host can run, and why. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cpu/engine.h"

static const struct engine_ops *const doctor_engines[] = {
	&translator_engine,
	&interpreter_engine,
};

static void doctor_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		printf("kvm          no: /dev/kvm is there, but this version "
		       "has no KVM engine yet\n");
	else
		printf("kvm          no: /dev/kvm: %s; and this version has no "
		       "KVM engine yet\n",
		       strerror(errno));
	if (fd >= 0)
		close(fd);
}

static bool doctor_software(const struct engine_ops *engine)
{
	struct err err = { "" };

	if (engine->probe(&err)) {
		printf("%-12s no: %s\n", engine->name, err.msg);
		return false;
	}
	printf("%-12s yes\n", engine->name);
	return true;
}

static void doctor_host(void)
{
	unsigned a, b = 0, c = 0, d;

	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	printf("host         %ld CPUs%s%s%s\n", sysconf(_SC_NPROCESSORS_ONLN),
	       b & bit_AVX2 ? ", AVX2" : "", b & bit_BMI2 ? ", BMI2" : "",
	       b & bit_AVX512F ? ", AVX-512" : "");
}

int cli_doctor(int argc, char **argv)
{
	const char *chosen = NULL;

	doctor_host();
	doctor_kvm();
	for (size_t i = 0; i < 2; i++)
		if (doctor_software(doctor_engines[i]) && !chosen)
			chosen = doctor_engines[i]->name;
	if (!chosen) {
		printf("auto         no engine runs here\n");
		return 1;
	}
	printf("auto         %s, the fastest of those that run here\n", chosen);
	return 0;
}
