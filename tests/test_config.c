/* test_config.c - machine/config.c: what a machine description may say. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "machine/config.h"
#include "machine/config_check.h"

/* Reads JSON text as a description. */
static int config_read(struct vm_config *c, const char *text, struct err *err)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
	int rc;

	assert_non_null(j);
	rc = vm_config_from_json(c, j, err);
	json_decref(j);
	return rc;
}

static void sizes_are_read(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 },
		{ "1073741824", 1ull << 30 },
		{ "262144K", 256ull << 20 },
		{ "512M", 512ull << 20 },
		{ "512m", 512ull << 20 },
		{ "1G", 1ull << 30 },
		{ "3T", 3ull << 40 },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215T", 16777215ull << 40 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 1;

		assert_int_equal(vm_parse_size(cases[i].text, &bytes, NULL), 0);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void bad_sizes_get_a_sentence(void **state)
{
	static const char *const cases[] = {
		"",      "M",         " 1",
		"-1",    "+1",        "1 M",
		"1MB",   "0x10",      "1e3",
		"1.5G",  "1Q",        "18446744073709551616",
		"1\xff", "16777216T", "99999999999999999999G",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { "" };
		uint64_t bytes = 77;

		assert_int_equal(vm_parse_size(cases[i], &bytes, &err),
				 -EINVAL);
		assert_int_equal(bytes, 77);
		assert_true(strlen(err.msg) > 10);
	}
}

static void empty_description_is_the_default(void **state)
{
	struct vm_config c;

	assert_int_equal(config_read(&c, "{}", NULL), 0);
	assert_int_equal(c.memory, 512 << 20);
	assert_int_equal(c.cpus, 1);
	assert_string_equal(c.engine, "auto");
	assert_int_equal(c.console, VM_CONSOLE_STDIO);
	assert_null(c.kernel);
	assert_false(c.stats || c.no_reboot || c.gdb_wait);
	vm_config_free(&c);
}

/* Every key, none at its default. */
static const char config_full[] =
	"{\"name\":\"n\",\"kernel\":\"k\",\"initrd\":\"i\",\"append\":\"a b\","
	"\"engine\":\"interpreter\",\"memory\":\"64M\",\"cpus\":3,"
	"\"console\":\"./none\",\"no-reboot\":true,\"stats\":true,"
	"\"timeout\":1.5,\"trace\":\"t\",\"trace-filter\":\"insn,port\","
	"\"gdb\":\"127.0.0.1:1234\",\"gdb-wait\":true}";

static void config_check_full(const struct vm_config *c)
{
	assert_string_equal(c->name, "n");
	assert_string_equal(c->kernel, "k");
	assert_string_equal(c->initrd, "i");
	assert_string_equal(c->append, "a b");
	assert_string_equal(c->engine, "interpreter");
	assert_int_equal(c->memory, 64 << 20);
	assert_int_equal(c->cpus, 3);
	assert_int_equal(c->console, VM_CONSOLE_FILE);
	assert_string_equal(c->console_file, "./none");
	assert_true(c->no_reboot && c->stats && c->gdb_wait);
	assert_true(c->timeout == 1.5);
	assert_string_equal(c->trace, "t");
	assert_string_equal(c->trace_filter, "insn,port");
	assert_string_equal(c->gdb, "127.0.0.1:1234");
}

static void every_key_survives_writing(void **state)
{
	struct vm_config c, again;
	json_t *j;

	assert_int_equal(config_read(&c, config_full, NULL), 0);
	config_check_full(&c);
	j = vm_config_to_json(&c);
	assert_int_equal(vm_config_from_json(&again, j, NULL), 0);
	config_check_full(&again);
	json_decref(j);
	vm_config_free(&c);
	vm_config_free(&again);
}

static void bad_values_name_their_option(void **state)
{
	static const struct {
		const char *text, *named;
	} cases[] = {
		{ "[]", "JSON object" },
		{ "3", "JSON object" },
		{ "{\"colour\":1}", "--colour" },
		{ "{\"kernel\":1}", "--kernel" },
		{ "{\"kernel\":null}", "--kernel" },
		{ "{\"memory\":0}", "--memory" },
		{ "{\"memory\":-4096}", "--memory" },
		{ "{\"memory\":1.5}", "--memory" },
		{ "{\"memory\":[]}", "--memory" },
		{ "{\"memory\":\"x\"}", "--memory" },
		{ "{\"memory\":1052673}", "--memory" },
		{ "{\"memory\":9223372036854775807}", "--memory" },
		{ "{\"cpus\":0}", "--cpus" },
		{ "{\"cpus\":65}", "--cpus" },
		{ "{\"cpus\":4294967297}", "--cpus" },
		{ "{\"cpus\":\"2\"}", "--cpus" },
		{ "{\"engine\":\"warp\"}", "--engine" },
		{ "{\"engine\":\"\"}", "--engine" },
		{ "{\"engine\":{}}", "--engine" },
		{ "{\"console\":7}", "--console" },
		{ "{\"console\":\"\"}", "--console" },
		{ "{\"stats\":1}", "--stats" },
		{ "{\"timeout\":\"1\"}", "--timeout" },
		{ "{\"timeout\":-0.1}", "--timeout" },
		{ "{\"timeout\":1e300}", "--timeout" },
		{ "{\"name\":\"kept?\",\"kernel\":\"k\",\"cpus\":-1}",
		  "--cpus" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { "" };
		struct vm_config c;

		assert_int_equal(config_read(&c, cases[i].text, &err), -EINVAL);
		assert_non_null(strstr(err.msg, cases[i].named));
		/* Nothing is left to free. */
		assert_null(c.kernel);
		assert_null(c.name);
	}
}

static void overlong_string_is_refused(void **state)
{
	json_t *j = json_object();
	struct err err = { "" };
	struct vm_config c;
	char *s = test_malloc(100000);

	memset(s, 'x', 99999);
	s[99999] = '\0';
	json_object_set_new(j, "append", json_string(s));
	assert_int_equal(vm_config_from_json(&c, j, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "--append"));
	json_decref(j);
	test_free(s);
}

/* --- Lists ---------------------------------------------------------------- */

static void list_entries_are_read_and_written(void **state)
{
	static const char text[] =
		"{\"disk\": [\"a,,b.img,format=qcow2,readonly\","
		"            {\"file\": \"c\", \"bps\": \"1M\"}],"
		" \"net\": \"switch:lan,vlan=7\","
		" \"p\": [\"8080:80\", \"5353:53/udp\"]}";
	struct vm_config c, again;
	json_t *j;

	assert_int_equal(config_read(&c, text, NULL), 0);
	j = vm_config_to_json(&c);
	assert_int_equal(vm_config_from_json(&again, j, NULL), 0);
	json_decref(j);
	assert_int_equal(again.disk_count, 2);
	assert_string_equal(again.disks[0].file, "a,b.img");
	assert_string_equal(again.disks[0].format, "qcow2");
	assert_true(again.disks[0].readonly);
	assert_int_equal(again.disks[1].bps, 1 << 20);
	assert_int_equal(again.net_count, 1);
	assert_string_equal(again.nets[0].kind, "switch:lan");
	assert_int_equal(again.nets[0].vlan, 7);
	assert_int_equal(again.forward_count, 2);
	assert_string_equal(again.forwards[1], "5353:53/udp");
	vm_config_free(&c);
	vm_config_free(&again);
}

static void bad_list_entries_name_their_option(void **state)
{
	static const char *const cases[] = {
		"{\"disk\": 5}",
		"{\"disk\": \"\"}",
		"{\"disk\": \",readonly\"}",
		"{\"disk\": {\"format\": \"raw\"}}",
		"{\"disk\": \"a,format=vhd\"}",
		"{\"disk\": \"a,format\"}",
		"{\"disk\": \"a,nonsense=1\"}",
		"{\"disk\": \"a,bps=fast\"}",
		"{\"disk\": \"a,readonly=maybe\"}",
		"{\"disk\": [\"a\", [\"b\"]]}",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { "" };
		struct vm_config c;

		assert_int_equal(config_read(&c, cases[i], &err), -EINVAL);
		assert_non_null(strstr(err.msg, "--disk"));
		assert_int_equal(c.disk_count, 0);
	}
}

/* Each would be forgotten, or mean two things. */
static void options_that_mean_nothing_together_are_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "{\"disk\": \"a,bus=ahci,packed\"}", "packed" },
		{ "{\"disk\": \"a,bus=ahci,queues=2\"}", "queues" },
		{ "{\"disk\": \"a,bus=ahci,slot=5\"}", "bus=ahci" },
		{ "{\"disk\": [\"a\", \"b,bus=mmio,slot=5\"]}", "bus=mmio" },
		{ "{\"disk\": \"a,bps_burst=1M\"}", "bps_burst" },
		{ "{\"disk\": \"a,iops_burst=10,bps=1M\"}", "iops_burst" },
		{ "{\"net\": \"nat,nic=e1000,packed\"}", "nic=e1000" },
		{ "{\"net\": \"nat,nic=e1000,queues=2\"}", "queues" },
		{ "{\"net\": \"nat,burst=1M\"}", "burst" },
		{ "{\"net\": \"none,loopback\"}", "none" },
		{ "{\"net\": [\"none\", \"nat\"]}", "none" },
		{ "{\"v\": [\"/a:x\", \"/b:y:ro\", \"/c:x:ro\"]}", "/c:x" },
		{ "{\"kernel\": \"k\", \"boot\": \"disk\"}", "--boot" },
		{ "{\"kernel\": \"k\", \"nvram\": \"n\"}", "--nvram" },
		{ "{\"kernel\": \"k\", \"screenshot\": \"s\"}", "--vga" },
		{ "{\"vga\": \"none\", \"screenshot\": \"s\"}", "--vga" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { "" };
		struct vm_config c;

		assert_int_equal(config_read(&c, cases[i].text, NULL), 0);
		assert_int_equal(config_check(&c, &err), -EINVAL);
		assert_non_null(strstr(err.msg, cases[i].says));
		vm_config_free(&c);
	}
}

static void options_that_go_together_are_taken(void **state)
{
	static const char *const cases[] = {
		"{}",
		"{\"disk\": \"a,packed,queues=2,slot=5\"}",
		"{\"disk\": \"a,bus=mmio,packed,queues=2\"}",
		"{\"disk\": \"a,bus=ahci,bps=1M,bps_burst=2M\"}",
		"{\"net\": \"none\"}",
		"{\"net\": [\"nat,packed,queues=2\", \"nat,nic=e1000\"]}",
		"{\"v\": [\"/a:x\", \"/b:xy\", \"/x:b:ro\"]}",
		"{\"boot\": \"disk\", \"screenshot\": \"s\"}",
		"{\"kernel\": \"k\", \"screenshot\": \"s\", \"vga\": \"std\"}",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { "" };
		struct vm_config c;

		assert_int_equal(config_read(&c, cases[i], NULL), 0);
		assert_int_equal(config_check(&c, &err), 0);
		vm_config_free(&c);
	}
}

/* As fuzzing found: nothing after its end is looked at. */
static void an_option_without_a_name_is_refused(void **state)
{
	json_t *j = json_pack("{s:b}", "", 1);
	struct err err = { "" };
	struct vm_config c;

	assert_int_equal(vm_config_from_json(&c, j, &err), -EINVAL);
	assert_string_equal(err.msg, "--: there is no such option");
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_option_without_a_name_is_refused),
		cmocka_unit_test(sizes_are_read),
		cmocka_unit_test(bad_sizes_get_a_sentence),
		cmocka_unit_test(empty_description_is_the_default),
		cmocka_unit_test(every_key_survives_writing),
		cmocka_unit_test(bad_values_name_their_option),
		cmocka_unit_test(overlong_string_is_refused),
		cmocka_unit_test(list_entries_are_read_and_written),
		cmocka_unit_test(bad_list_entries_name_their_option),
		cmocka_unit_test(
			options_that_mean_nothing_together_are_refused),
		cmocka_unit_test(options_that_go_together_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
