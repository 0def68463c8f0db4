/* test_control.c - vmm/control.c: packets between hostel and hostel-vm. */
#include "test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control.h"

static void open_pair(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
}

static void a_packet_arrives_whole(void **state)
{
	struct err err = { "" };
	json_t *j = NULL;
	int pair[2];

	open_pair(pair);
	assert_int_equal(
		control_send(pair[0], json_pack("{s:i}", "stop", 143), &err),
		0);
	assert_int_equal(control_recv(pair[1], &j, &err), 1);
	assert_int_equal(json_integer_value(json_object_get(j, "stop")), 143);
	json_decref(j);
	close(pair[0]);
	assert_int_equal(control_recv(pair[1], &j, &err), 0);
	close(pair[1]);
}

static void a_dead_peer_is_end_of_file(void **state)
{
	json_t *j = NULL;
	int pair[2];

	open_pair(pair);
	assert_int_equal(control_send(pair[0], json_object(), NULL), 0);
	close(pair[1]); /* with a packet unread */
	assert_int_equal(control_recv(pair[0], &j, NULL), 0);
	assert_int_equal(control_send(pair[0], json_object(), NULL), -EPIPE);
	close(pair[0]);
}

static void a_dead_peers_last_word_arrives(void **state)
{
	json_t *j = NULL;
	int pair[2];

	open_pair(pair);
	assert_int_equal(control_send(pair[0], json_object(), NULL), 0);
	assert_int_equal(
		control_send(pair[1], json_pack("{s:i}", "end", 7), NULL), 0);
	close(pair[1]); /* with a packet unread */
	assert_int_equal(control_recv(pair[0], &j, NULL), 1);
	assert_int_equal(json_integer_value(json_object_get(j, "end")), 7);
	json_decref(j);
	assert_int_equal(control_recv(pair[0], &j, NULL), 0);
	close(pair[0]);
}

static void what_is_no_object_is_refused(void **state)
{
	static const char *const cases[] = {
		"x", "[1]", "3", "{", "{}{}", "{\"a\":\"\xff\"}", "\"s\"",
	};
	int pair[2];

	open_pair(pair);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { "" };
		json_t *j = NULL;

		send(pair[0], cases[i], strlen(cases[i]), 0);
		assert_int_equal(control_recv(pair[1], &j, &err), -EPROTO);
		assert_true(err.msg[0]);
	}
	close(pair[0]);
	close(pair[1]);
}

static void an_overlong_packet_is_not_sent(void **state)
{
	char *s = test_malloc(CONTROL_PACKET_MAX + 1);
	struct err err = { "" };
	int pair[2];

	open_pair(pair);
	memset(s, 'x', CONTROL_PACKET_MAX);
	s[CONTROL_PACKET_MAX] = '\0';
	assert_int_equal(
		control_send(pair[0], json_pack("{s:s}", "a", s), &err),
		-EMSGSIZE);
	assert_true(err.msg[0]);
	test_free(s);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_arrives_whole),
		cmocka_unit_test(a_dead_peer_is_end_of_file),
		cmocka_unit_test(a_dead_peers_last_word_arrives),
		cmocka_unit_test(what_is_no_object_is_refused),
		cmocka_unit_test(an_overlong_packet_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
