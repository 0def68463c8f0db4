/*
 * biosreset32: at F000:FFF0 a kernel that is entered without firmware finds a
 * reset, by which BIOS-minded ones start again (Linux' reboot=b).
 */
#include "guest.h"

/* Through 16-bit code at 60000h, as realmode32.c. */
static void jump_to_reset(void)
{
	static const uint8_t code[] = {
		0x0f, 0x20, 0xc0,                   /* mov eax, cr0 */
		0x66, 0x25, 0xfe, 0xff, 0xff, 0x7f, /* and eax, ~PE */
		0x0f, 0x22, 0xc0,                   /* mov cr0, eax */
		0xea, 0xf0, 0xff, 0x00, 0xf0,       /* jmp F000:FFF0 */
	};

	guest_gdt[0x50 / 8] = 0x00009b060000ffff;
	memcpy((void *)0x60000, code, sizeof(code));
	__asm__ volatile("cli; ljmp $0x50, $0");
}

void guest_main(void)
{
	jump_to_reset();
	guest_exit(GUEST_FAIL);
}
