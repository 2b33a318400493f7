/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the kernels of the tests have: a console, an end, and a port. */
#ifndef KERNEL_H
#define KERNEL_H

#include <pmemset_port.h>

/* Each machine's own. */
extern const struct pmemset_port port;
extern struct pmemset_port_source persistent;

_Noreturn void kernel(void); /* what all of them do */

void say(const char *text);
_Noreturn void finish(int good);
/* What the machine was started with, in words. */
const char *orders(void);
/* Lets a handler that looks up `part` come in between while the set is changed;
 * 0 if it has, or there are no handlers. */
int interrupts(struct pmemset *set, struct pmemset_source *src, size_t length);

#endif
