/* hello32: the library itself works. */
#include "guest.h"

static void divide(unsigned long arg)
{
	__asm__ volatile("div %b0" : : "q"(0), "a"(1) : "cc");
}

static void GUEST_USER user(unsigned long arg)
{
	__asm__ volatile("cli");
}

static void GUEST_USER user_ok(unsigned long arg)
{
}

void guest_main(void)
{
	guest_print("hello\n");
	guest_check_eq(guest_try(divide, 0), 0, "#DE");
	guest_check_eq(guest_try_user(user, 0), 13, "CLI in ring 3");
	guest_check_eq(guest_try_user(user_ok, 0), GUEST_NO_FAULT, "ring 3");
}
