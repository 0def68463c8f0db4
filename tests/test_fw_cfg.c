/* test_fw_cfg.c - dev/pc/fw_cfg.c and debug.c. */
#include "devtest.h"

#include <endian.h>
#include <errno.h>
#include <unistd.h>

#include "dev/pc/debug.h"
#include "dev/pc/fw_cfg.h"

struct fix {
	struct dt dt;
	struct fw_cfg *f;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	dt_init(&f->dt);
	*state = f;
	return fw_cfg_new(&f->f, &f->dt.env, NULL);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->f)->free(DEV(f->f));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static void sel(struct fix *f, uint16_t key)
{
	mem_port_write(f->dt.env.mem, 0x510, 2, key);
}

static void get(struct fix *f, void *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)buf)[i] = (uint8_t)dt_in(&f->dt, 0x511);
}

static void signature_and_id(void **state)
{
	struct fix *f = *state;
	uint8_t buf[8];

	sel(f, FW_CFG_SIGNATURE);
	get(f, buf, 6);
	assert_memory_equal(buf, "QEMU\0\0", 6);
	sel(f, FW_CFG_ID);
	get(f, buf, 4);
	assert_memory_equal(buf, "\3\0\0\0", 4);
	assert_int_equal(mem_port_read(f->dt.env.mem, 0x514, 4),
			 htole32(0x554d4551));
	assert_int_equal(mem_port_read(f->dt.env.mem, 0x518, 4),
			 htole32(0x47464320));
	sel(f, 0x4567); /* no such key */
	get(f, buf, 1);
	assert_int_equal(buf[0], 0);
}

static void items(void **state)
{
	struct fix *f = *state;
	uint8_t buf[8];

	assert_int_equal(fw_cfg_add_u16(f->f, FW_CFG_NB_CPUS, 0x102), 0);
	assert_int_equal(fw_cfg_add_u16(f->f, FW_CFG_NB_CPUS, 1), -EEXIST);
	assert_int_equal(fw_cfg_add_u64(f->f, FW_CFG_RAM_SIZE, 1ull << 32), 0);
	assert_int_equal(fw_cfg_add(f->f, FW_CFG_E820, "xyz", 3), 0);
	assert_int_equal(fw_cfg_add(f->f, 0x7000, "xyz", 3), -ENOSPC);
	sel(f, FW_CFG_NB_CPUS);
	get(f, buf, 2);
	assert_memory_equal(buf, "\2\1", 2);
	sel(f, FW_CFG_RAM_SIZE);
	get(f, buf, 8);
	assert_memory_equal(buf, "\0\0\0\0\1\0\0\0", 8);
	sel(f, FW_CFG_E820);
	get(f, buf, 4);
	assert_memory_equal(buf, "xyz", 4);
}

struct entry {
	uint32_t size;
	uint16_t select, reserved;
	char name[56];
};

static void directory(void **state)
{
	struct fix *f = *state;
	struct entry e[3];
	uint32_t count;
	char buf[8];
	char name[60];

	assert_int_equal(fw_cfg_add_file(f->f, "etc/b", "bbb", 3), 0);
	assert_int_equal(fw_cfg_add_file(f->f, "etc/c", "cc", 2), 0);
	assert_int_equal(fw_cfg_add_file(f->f, "etc/a", "aaaa", 4), 0);
	assert_int_equal(fw_cfg_add_file(f->f, "etc/a", "x", 1), -EEXIST);
	memset(name, 'n', sizeof(name));
	name[56] = 0;
	assert_int_equal(fw_cfg_add_file(f->f, name, "x", 1), -ENOSPC);
	sel(f, FW_CFG_FILE_DIR);
	get(f, &count, 4);
	assert_int_equal(be32toh(count), 3);
	get(f, e, sizeof(e));
	assert_string_equal(e[0].name, "etc/a");
	assert_string_equal(e[1].name, "etc/b");
	assert_string_equal(e[2].name, "etc/c");
	assert_int_equal(be32toh(e[0].size), 4);
	sel(f, be16toh(e[1].select));
	get(f, buf, 4);
	assert_memory_equal(buf, "bbb", 4);
	for (unsigned i = 3; i < 256; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(fw_cfg_add_file(f->f, name, "x", 1), 0);
	}
	assert_int_equal(fw_cfg_add_file(f->f, "full", "x", 1), -ENOSPC);
}

struct dma {
	uint32_t control, length;
	uint64_t address;
};

static uint32_t dma(struct fix *f, uint32_t control, uint32_t len,
		    uint64_t addr)
{
	struct dma d = { htobe32(control), htobe32(len), htobe64(addr) };
	uint32_t result;

	mem_write(f->dt.env.mem, 0x1000, &d, sizeof(d));
	mem_port_write(f->dt.env.mem, 0x514, 4, 0);
	mem_port_write(f->dt.env.mem, 0x518, 4, htobe32(0x1000));
	mem_read(f->dt.env.mem, 0x1000, &result, 4);
	return be32toh(result);
}

static void dma_transfers(void **state)
{
	struct fix *f = *state;
	static char big[10000], got[10002];

	for (unsigned i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 3);
	assert_int_equal(fw_cfg_add_file(f->f, "big", big, sizeof(big)), 0);
	assert_int_equal(dma(f, 0x20 << 16 | 0x0a, 10002, 0x20000), 0);
	mem_read(f->dt.env.mem, 0x20000, got, 10002);
	assert_memory_equal(got, big, 10000);
	assert_int_equal(got[10000], 0);
	assert_int_equal(dma(f, 0x20 << 16 | 0x08, 0, 0), 0);
	assert_int_equal(dma(f, 0x04, 5000, 0), 0); /* skip */
	assert_int_equal(dma(f, 0x02, 10, 0x20000), 0);
	mem_read(f->dt.env.mem, 0x20000, got, 10);
	assert_memory_equal(got, big + 5000, 10);
	assert_int_equal(dma(f, 0x10, 10, 0x20000), 1);    /* write: refused */
	assert_int_equal(dma(f, 0x02, 10, 0xfee00000), 1); /* not RAM */
	assert_int_equal(dma(f, 0x20 << 16 | 0x0a, 0xffffffff, 0), 1);
	assert_int_equal(dma(f, 0x02, 10, ~0ull - 4), 1);
	/* A control block outside RAM is ignored. */
	mem_port_write(f->dt.env.mem, 0x514, 4, 0xffffffff);
	mem_port_write(f->dt.env.mem, 0x518, 4, 0xffffffff);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	uint8_t c;

	sel(f, FW_CFG_SIGNATURE);
	get(f, &c, 1);
	dt_copy_state(DEV(f->f), DEV(f->f));
	get(f, &c, 1);
	assert_int_equal(c, 'E');
	DEV(f->f)->reset(DEV(f->f));
	get(f, &c, 1);
	assert_int_equal(c, 'Q');
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 29;

	fw_cfg_add_file(f->f, "etc/b", "bbb", 3);
	for (unsigned i = 0; i < 50000; i++) {
		uint64_t r = dt_random(&seed);

		switch (r & 3) {
		case 0:
			sel(f, r >> 8 & 0x3f);
			break;
		case 1:
			mem_port_read(f->dt.env.mem, 0x510 + (r >> 8) % 12,
				      1u << (r >> 4) % 3);
			break;
		case 2:
			dma(f, (uint32_t)(r >> 8 & 0x3f001f), r >> 32 & 0xffff,
			    r >> 40);
			break;
		default:
			mem_port_write(f->dt.env.mem, 0x510 + (r >> 8) % 12,
				       1u << (r >> 4) % 3, (uint32_t)(r >> 32));
		}
	}
}

static void debug_ports(void **state)
{
	struct fix *f = *state;
	struct dt_hook hook = { 0 };
	struct debug *d;
	char buf[16];
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(
		debug_new(&d, &f->dt.env, p[1], dt_dev_hook(&hook), NULL), 0);
	assert_int_equal(dt_in(&f->dt, 0x402), 0xe9);
	assert_int_equal(dt_in(&f->dt, 0xe9), 0xe9);
	dt_out(&f->dt, 0x402, 'h');
	dt_out(&f->dt, 0xe9, 'i');
	dt_out(&f->dt, 0x402, '\n');
	assert_int_equal(read(p[0], buf, 16), 3);
	assert_memory_equal(buf, "hi\n", 3);
	dt_out(&f->dt, 0x80, 0x42);
	assert_int_equal(dt_in(&f->dt, 0x80), 0x42);
	assert_int_equal(debug_post_code(d), 0x42);
	dt_copy_state(DEV(d), DEV(d));
	mem_port_write(f->dt.env.mem, 0xf4, 4, 0x31);
	assert_int_equal(hook.calls, 1);
	assert_int_equal(hook.value, 0x31);
	for (unsigned i = 0; i < 200000; i++) /* nobody reads: dropped */
		dt_out(&f->dt, 0x402, 'x');
	close(p[0]);
	DEV(d)->free(DEV(d));
	close(p[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(signature_and_id), T(items),          T(directory),
		T(dma_transfers),    T(state_survives), T(random_accesses),
		T(debug_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
