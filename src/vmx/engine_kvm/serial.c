// SPDX-License-Identifier: Apache-2.0
// The serial port; see serial.h. A byte is sent the moment it is written, so the transmitter is always empty.
#include "serial.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <unistd.h>

void serial_init(struct serial *s, int out, void (*irq)(void *user), void *user)
{
	*s = (struct serial){.out = out, .irq = irq, .user = user, .dll = 1};
	pthread_mutex_init(&s->lock, NULL);
}

static void transmitter_empty(struct serial *s)
{
	s->thr_empty = true;
	if (s->ier & UART_IER_THRI)
		s->irq(s->user);
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t fifo = s->fcr & UART_FCR_ENABLE_FIFO ? 0xc0 : 0;
	if (!s->thr_empty || !(s->ier & UART_IER_THRI))
		return fifo | UART_IIR_NO_INT;
	s->thr_empty = false;
	return fifo | UART_IIR_THRI;
}

static uint8_t read_msr(const struct serial *s)
{
	if (!(s->mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	return (s->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0) | (s->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
	       (s->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) | (s->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0);
}

static uint8_t read_locked(struct serial *s, unsigned reg)
{
	bool latch = s->lcr & UART_LCR_DLAB;
	switch (reg) {
	case UART_RX:
		return latch ? s->dll : 0;
	case UART_IER:
		return latch ? s->dlm : s->ier;
	case UART_IIR:
		return read_iir(s);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_LSR:
		return UART_LSR_THRE | UART_LSR_TEMT;
	case UART_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void write_locked(struct serial *s, unsigned reg, uint8_t v)
{
	bool latch = s->lcr & UART_LCR_DLAB, begins;
	switch (reg) {
	case UART_TX:
		if (latch)
			s->dll = v;
		else
			transmitter_empty(s);
		break;
	case UART_IER:
		if (latch) {
			s->dlm = v;
			break;
		}
		begins = !(s->ier & UART_IER_THRI) && (v & UART_IER_THRI);
		s->ier = v & 0x0f;
		if (begins)
			transmitter_empty(s);
		break;
	case UART_FCR:
		s->fcr = v;
		break;
	case UART_LCR:
		s->lcr = v;
		break;
	case UART_MCR:
		s->mcr = v & 0x1f;
		break;
	case UART_SCR:
		s->scr = v;
		break;
	default:
		break;
	}
}

uint8_t serial_read(struct serial *s, unsigned reg)
{
	pthread_mutex_lock(&s->lock);
	uint8_t v = read_locked(s, reg);
	pthread_mutex_unlock(&s->lock);
	return v;
}

void serial_write(struct serial *s, unsigned reg, uint8_t v)
{
	pthread_mutex_lock(&s->lock);
	bool sends = reg == UART_TX && !(s->lcr & (UART_LCR_DLAB)) && !(s->mcr & UART_MCR_LOOP);
	write_locked(s, reg, v);
	pthread_mutex_unlock(&s->lock);
	if (sends) {   // outside the lock: the reader of the console may make us wait
		while (write(s->out, &v, 1) < 0 && errno == EINTR)   // a VM that stops still reads its console
			;
	}
}

void serial_save(struct serial *s, struct serial_state *to)
{
	*to = (struct serial_state){.ier = s->ier, .lcr = s->lcr, .mcr = s->mcr, .scr = s->scr, .fcr = s->fcr, .dll = s->dll,
				    .dlm = s->dlm, .thr_empty = s->thr_empty};
}

void serial_restore(struct serial *s, const struct serial_state *from)
{
	s->ier = from->ier & 0x0f;
	s->lcr = from->lcr;
	s->mcr = from->mcr & 0x1f;
	s->scr = from->scr;
	s->fcr = from->fcr;
	s->dll = from->dll;
	s->dlm = from->dlm;
	s->thr_empty = from->thr_empty;
	if (s->thr_empty && (s->ier & UART_IER_THRI))
		s->irq(s->user);
}
