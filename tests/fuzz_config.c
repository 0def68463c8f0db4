/* fuzz_config.c - a machine description is untrusted: read any text. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "machine/config.h"

static const char *const fuzz_seeds[] = {
	"{}",
	"{\"kernel\":\"k\",\"memory\":\"64M\",\"cpus\":3,\"engine\":\"auto\"}",
	"{\"name\":\"n\",\"initrd\":\"i\",\"append\":\"a b\",\"memory\":4096,"
	"\"console\":\"none\",\"no-reboot\":true,\"stats\":false,"
	"\"timeout\":1.5,\"trace\":\"t\",\"trace-filter\":\"insn\","
	"\"gdb\":\"1\",\"gdb-wait\":true}",
};

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	size_t n;

	if (i >= sizeof(fuzz_seeds) / sizeof(fuzz_seeds[0]))
		return 0;
	n = strlen(fuzz_seeds[i]);
	memcpy(buf, fuzz_seeds[i], n < cap ? n : cap);
	return n < cap ? n : cap;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	json_t *j = json_loadb((const char *)data, len, JSON_DECODE_ANY, NULL);
	struct vm_config c;
	struct err err = { "" };

	if (!j)
		return 0;
	/* A failure has its sentence; a success reads back what it writes. */
	if (vm_config_from_json(&c, j, &err)) {
		if (!err.msg[0])
			abort();
	} else {
		json_decref(j);
		j = vm_config_to_json(&c);
		vm_config_free(&c);
		if (vm_config_from_json(&c, j, &err))
			abort();
	}
	vm_config_free(&c);
	json_decref(j);
	return 0;
}
