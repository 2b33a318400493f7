/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The four functions that libpmemset_port.a wants of a kernel. */
#include <stddef.h>

void *
memcpy(void *restrict dest, const void *restrict src, size_t length)
{
	unsigned char *to = dest;
	const unsigned char *from = src;

	while (length--)
		*to++ = *from++;
	return dest;
}

void *
memmove(void *dest, const void *src, size_t length)
{
	unsigned char *to = dest;
	const unsigned char *from = src;

	if (to <= from)
		return memcpy(dest, src, length);
	while (length--)
		to[length] = from[length];
	return dest;
}

void *
memset(void *dest, int value, size_t length)
{
	unsigned char *to = dest;

	while (length--)
		*to++ = (unsigned char)value;
	return dest;
}

int
memcmp(const void *one, const void *other, size_t length)
{
	const unsigned char *a = one, *b = other;

	for (; length--; a++, b++)
		if (*a != *b)
			return *a < *b ? -1 : 1;
	return 0;
}

#ifdef __arm__
/* What the compiler calls on Arm, where a program has no library of its own. */
void
__aeabi_memclr(void *dest, size_t length)
{
	memset(dest, 0, length);
}

void __aeabi_memclr4(void *dest, size_t length)
		__attribute__((alias("__aeabi_memclr")));
void __aeabi_memclr8(void *dest, size_t length)
		__attribute__((alias("__aeabi_memclr")));

void
__aeabi_memcpy(void *dest, const void *src, size_t length)
{
	memcpy(dest, src, length);
}

void __aeabi_memcpy4(void *dest, const void *src, size_t length)
		__attribute__((alias("__aeabi_memcpy")));
void __aeabi_memcpy8(void *dest, const void *src, size_t length)
		__attribute__((alias("__aeabi_memcpy")));
#endif
