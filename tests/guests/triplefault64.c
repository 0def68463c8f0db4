/* triplefault64: a double fault that cannot be delivered: shutdown. */
#include "guest.h"

void guest_main(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	guest_print("going down\n");
	__asm__ volatile("lidt %0; ud2" : : "m"(none));
	guest_exit(GUEST_FAIL);
}
