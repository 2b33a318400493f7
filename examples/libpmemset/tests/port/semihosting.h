/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Console, end and orders of an Arm machine through its debugger (Arm,
 * "Semihosting for AArch32 and AArch64"), which is QEMU here.
 */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include "kernel.h"

static uintptr_t
ask_debugger(uintptr_t operation, const void *argument)
{
#ifdef __aarch64__
	register uintptr_t number __asm__("x0") = operation;
	register const void *value __asm__("x1") = argument;

	__asm__ volatile("hlt 0xf000" : "+r"(number) : "r"(value) : "memory");
#else
	register uintptr_t number __asm__("r0") = operation;
	register const void *value __asm__("r1") = argument;

	__asm__ volatile("bkpt 0xab" : "+r"(number) : "r"(value) : "memory");
#endif
	return number;
}

void
say(const char *text)
{
	static uintptr_t file;
	uintptr_t length = 0;

	if (!file) {
		const uintptr_t open[] = { (uintptr_t)":tt", 4, 3 };

		file = ask_debugger(0x01, open);
	}
	while (text[length])
		length++;
	if (length) {
		const uintptr_t write[] = { file, (uintptr_t)text, length };

		ask_debugger(0x05, write);
	}
}

_Noreturn void
finish(int good)
{
#ifdef __aarch64__
	const uintptr_t end[] = { 0x20026, !good };

	ask_debugger(0x18, end);
#else
	ask_debugger(0x18, (const void *)(uintptr_t)(good ? 0x20026 : 0x20023));
#endif
	for (;;)
		;
}

_Noreturn void fault(void);

/* Where exceptions lead that nobody expects. */
_Noreturn void
fault(void)
{
	say("a fault\n");
	finish(0);
}

const char *
orders(void)
{
	static char text[512];
	uintptr_t line[] = { (uintptr_t)text, sizeof text };

	ask_debugger(0x15, line);
	return text;
}

#endif
