/*
 * uart.h - a 16550A serial port.
 *
 * Source: National Semiconductor PC16550D data sheet (June 1995).
 *
 * The line's other end is a pair of descriptors.  A vCPU never blocks on
 * them: bytes that the guest sends go to a buffer that the loop drains, and
 * the transmitter reports itself busy while the buffer is full.  Bytes are
 * read from in_fd only while the receive FIFO has room, so nothing is lost.
 *
 * Threads: ports from any vCPU, descriptors from the loop.
 */
#ifndef HOSTEL_DEV_PC_UART_H
#define HOSTEL_DEV_PC_UART_H

#include "dev/dev.h"

struct uart;

struct uart_config {
	uint16_t base; /* first of eight ports: 0x3f8, 0x2f8, ... */
	unsigned instance;
	struct irq irq;
	int in_fd;  /* -1: nothing is ever received */
	int out_fd; /* -1: what is sent is dropped */
};

/*
 * The descriptors stay the caller's and are switched to non-blocking where
 * that is safe (not for regular files).  End of file on in_fd leaves the
 * port working.
 */
int uart_new(struct uart **out, const struct dev_env *env,
	     const struct uart_config *config, struct err *err);

/* Puts bytes on the receive line, as far as there is room. Any thread. */
size_t uart_receive(struct uart *u, const uint8_t *buf, size_t len);

/*
 * Writes out what the guest sent and is still buffered, waiting at most
 * timeout_ms in all.  For the end of a run, when the loop has stopped.
 */
void uart_flush(struct uart *u, unsigned timeout_ms);

#endif
