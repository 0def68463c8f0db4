/*
 * fuzz_load.c - the file of a saved guest is untrusted: mutations of a good
 * one (state/state.h), read for its description and loaded.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot_images.h"
#include "fuzz.h"
#include "machine/vm.h"
#include "state/state.h"

static struct vm *fuzz_vm(void)
{
	struct image img = image_multiboot_flat(0x100000, 0x200);
	char path[] = "/tmp/hostel-fuzz-XXXXXX";
	int fd = mkstemp(path);
	struct vm_config c;
	struct vm *vm;

	if (fd < 0 || write(fd, img.data, img.size) != (ssize_t)img.size)
		abort();
	close(fd);
	image_free(&img);
	vm_config_init(&c);
	c.memory = 2u << 20;
	c.kernel = strdup(path);
	c.engine = strdup("interpreter");
	if (vm_new(&vm, &c, -1, -1, NULL))
		abort();
	unlink(path);
	return vm;
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct vm *vm;
	ssize_t n;
	int fd;

	if (i)
		return 0;
	vm = fuzz_vm();
	fd = memfd_create("state", 0);
	if (fd < 0 || state_save(vm, fd, true, NULL))
		abort();
	n = pread(fd, buf, cap, 0);
	close(fd);
	vm_free(vm);
	return n > 0 ? (size_t)n : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd = memfd_create("state", 0);
	struct err err = { "" };
	json_t *config = NULL;
	char path[64];
	struct vm *vm;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	if (state_read_config(path, &config, &err) == 0) {
		json_decref(config);
		vm = fuzz_vm();
		if (state_load(vm, path, &err) && !err.msg[0])
			abort(); /* a failure without its sentence */
		vm_free(vm);
	} else if (!err.msg[0]) {
		abort();
	}
	close(fd);
	return 0;
}
