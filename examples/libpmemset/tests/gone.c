/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What is gone cannot be touched. */
#include <setjmp.h>
#include <signal.h>

#include "check.h"

static sigjmp_buf after_fault;

static void
on_fault(int signal)
{
	(void)signal;
	siglongjmp(after_fault, 1);
}

static void
former_part_faults(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor desc = { NULL, 0 };
	struct sigaction action, before;
	volatile int faulted = 0;

	OK(pmemset_map(set, src, NULL, &desc));
	*(char *)desc.addr = 1;
	OK(pmemset_persist(set, desc.addr, desc.size));
	check_close(&set, &src);
	memset(&action, 0, sizeof action);
	action.sa_handler = on_fault;
	OK(sigaction(SIGSEGV, &action, &before));
	if (sigsetjmp(after_fault, 1) == 0)
		*(volatile char *)desc.addr = 2;
	else
		faulted = 1;
	OK(sigaction(SIGSEGV, &before, NULL));
	CHECK(faulted);
}

static const struct check_case cases[] = {
	CHECK_CASE(former_part_faults),
};
CHECK_MAIN(cases)
