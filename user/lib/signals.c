/* SPDX-License-Identifier: MIT */
#include "lib/signals.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/text.h"

/* The kernel's first real-time signal; glibc keeps 32 and 33 for itself, so its SIGRTMIN is 34. */
#define RTMIN_NAMED 34
#define SIGNAL_MAX  64

uint64_t signals_core_mask(void)
{
	return SIGNAL_BIT(SIGQUIT) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) |
	       SIGNAL_BIT(SIGABRT) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) |
	       SIGNAL_BIT(SIGSYS) | SIGNAL_BIT(SIGXCPU) | SIGNAL_BIT(SIGXFSZ);
}

const char *signals_name(int sig, char *buf, size_t size)
{
	const char *abbreviation = sig > 0 && sig < 32 ? sigabbrev_np(sig) : NULL;

	if (abbreviation)
		snprintf(buf, size, "SIG%s", abbreviation);
	else if (sig == RTMIN_NAMED)
		snprintf(buf, size, "SIGRTMIN");
	else if (sig > RTMIN_NAMED && sig <= SIGNAL_MAX)
		snprintf(buf, size, "SIGRTMIN+%d", sig - RTMIN_NAMED);
	else
		snprintf(buf, size, "SIG%d", sig);
	return buf;
}

int signals_parse(const char *s)
{
	uint64_t n;

	if (text_parse_u64(s, &n) == 0)
		return n >= 1 && n <= SIGNAL_MAX ? (int)n : -EINVAL;
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	if (strcasecmp(s, "IOT") == 0)
		return SIGABRT;
	if (strcasecmp(s, "RTMIN") == 0)
		return RTMIN_NAMED;
	if (strncasecmp(s, "RTMIN+", 6) == 0)
		return text_parse_u64(s + 6, &n) == 0 && n <= SIGNAL_MAX - RTMIN_NAMED
			       ? RTMIN_NAMED + (int)n
			       : -EINVAL;
	for (int sig = 1; sig < 32; sig++) {
		const char *name = sigabbrev_np(sig);

		if (name && strcasecmp(s, name) == 0)
			return sig;
	}
	return -EINVAL;
}

/* include/uapi/asm-generic/siginfo.h; codes above 0 mean something else for each signal. */
static const struct {
	int sig;
	int code;
	const char *name;
} codes[] = {
	{0, SI_USER, "SI_USER"},
	{0, SI_KERNEL, "SI_KERNEL"},
	{0, SI_QUEUE, "SI_QUEUE"},
	{0, SI_TIMER, "SI_TIMER"},
	{0, SI_MESGQ, "SI_MESGQ"},
	{0, SI_ASYNCIO, "SI_ASYNCIO"},
	{0, SI_SIGIO, "SI_SIGIO"},
	{0, SI_TKILL, "SI_TKILL"},
	{SIGSEGV, 1, "SEGV_MAPERR"},
	{SIGSEGV, 2, "SEGV_ACCERR"},
	{SIGSEGV, 3, "SEGV_BNDERR"},
	{SIGSEGV, 4, "SEGV_PKUERR"},
	{SIGSEGV, 8, "SEGV_MTEAERR"},
	{SIGSEGV, 9, "SEGV_MTESERR"},
	{SIGSEGV, 10, "SEGV_CPERR"},
	{SIGBUS, 1, "BUS_ADRALN"},
	{SIGBUS, 2, "BUS_ADRERR"},
	{SIGBUS, 3, "BUS_OBJERR"},
	{SIGBUS, 4, "BUS_MCEERR_AR"},
	{SIGBUS, 5, "BUS_MCEERR_AO"},
	{SIGFPE, 1, "FPE_INTDIV"},
	{SIGFPE, 2, "FPE_INTOVF"},
	{SIGFPE, 3, "FPE_FLTDIV"},
	{SIGFPE, 4, "FPE_FLTOVF"},
	{SIGFPE, 5, "FPE_FLTUND"},
	{SIGFPE, 6, "FPE_FLTRES"},
	{SIGFPE, 7, "FPE_FLTINV"},
	{SIGFPE, 8, "FPE_FLTSUB"},
	{SIGILL, 1, "ILL_ILLOPC"},
	{SIGILL, 2, "ILL_ILLOPN"},
	{SIGILL, 3, "ILL_ILLADR"},
	{SIGILL, 4, "ILL_ILLTRP"},
	{SIGILL, 5, "ILL_PRVOPC"},
	{SIGILL, 6, "ILL_PRVREG"},
	{SIGILL, 7, "ILL_COPROC"},
	{SIGILL, 8, "ILL_BADSTK"},
	{SIGTRAP, 1, "TRAP_BRKPT"},
	{SIGTRAP, 2, "TRAP_TRACE"},
	{SIGTRAP, 4, "TRAP_HWBKPT"},
	{SIGTRAP, 6, "TRAP_PERF"},
	{SIGSYS, 1, "SYS_SECCOMP"},
	{SIGSYS, 2, "SYS_USER_DISPATCH"},
};

const char *signals_code_name(int sig, int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code && (codes[i].sig == 0 || codes[i].sig == sig))
			return codes[i].name;
	return NULL;
}
