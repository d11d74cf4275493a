/* SPDX-License-Identifier: MIT */
/* x86-64. The layouts: arch/x86/include/asm/sigframe.h, arch/x86/include/uapi/asm/sigcontext.h. */
#include "capture/inject_site.h"

#include <asm/sigcontext.h>
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define CODE_MAX	 (64UL << 20) /* bytes of code looked through, all mappings together */
#define CODE_BLOCK	 (1UL << 18)
#define FXSAVE_SIZE	 512
#define SW_BYTES	 464 /* struct _fpx_sw_bytes in the FXSAVE area */
#define XSAVE_HEADER	 512
#define TILE_DATA	 (1ULL << 18) /* AMX: only where the thread asked for it */
#define UC_FP_XSTATE	 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_SS	 4

struct frame_context { /* struct ucontext of the kernel */
	uint64_t flags;
	uint64_t link;
	uint64_t stack_base;
	uint32_t stack_flags, stack_padding;
	uint64_t stack_size;
	struct sigcontext_64 sigcontext;
	uint64_t mask;
};

struct frame { /* struct rt_sigframe */
	uint64_t return_address;
	struct frame_context context;
	uint8_t siginfo[128];
};

_Static_assert(sizeof(struct frame_context) == 304, "the kernel's struct ucontext");
_Static_assert(sizeof(struct _fpx_sw_bytes) == 48, "the kernel's struct _fpx_sw_bytes");

ssize_t inject_find_gadget(const uint8_t *code, size_t len)
{
	static const uint8_t gadget[] = {0x0f, 0x05, 0xc3};
	const uint8_t *at = memmem(code, len, gadget, sizeof(gadget));

	return at ? at - code : -1;
}

ssize_t inject_find_restorer(const uint8_t *code, size_t len)
{
	static const uint8_t wide[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05},
			     narrow[] = {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05};
	const uint8_t *at = memmem(code, len, wide, sizeof(wide));

	if (!at)
		at = memmem(code, len, narrow, sizeof(narrow));
	return at ? at - code : -1;
}

/* Looks through one mapping, in blocks that overlap by the longest pattern. */
static void search(int memfd, const struct mapping *m, uint8_t *block, struct inject_site *out,
	uint64_t *budget)
{
	for (uint64_t at = m->start; at < m->end && *budget; at += CODE_BLOCK - 16) {
		size_t want = m->end - at < CODE_BLOCK ? m->end - at : CODE_BLOCK;
		ssize_t n = pread(memfd, block, want, (off_t)at), found;

		if (n <= 0)
			return;
		found = out->gadget ? -1 : inject_find_gadget(block, (size_t)n);
		if (found >= 0)
			out->gadget = at + (uint64_t)found;
		found = out->restorer ? -1 : inject_find_restorer(block, (size_t)n);
		if (found >= 0)
			out->restorer = at + (uint64_t)found;
		if ((out->gadget && out->restorer) || (size_t)n < CODE_BLOCK)
			return;
		*budget -= (uint64_t)n < *budget ? (uint64_t)n : *budget;
	}
}

/* Code that is shared with a file cannot be changed by the process while we look. */
static bool is_code(const struct mapping *m)
{
	return (m->prot & PROT_EXEC) && (m->prot & PROT_READ) && !(m->prot & PROT_WRITE) &&
	       !(m->flags & MAPPING_SHARED) && strcmp(m->name, "[vsyscall]") != 0;
}

int inject_find_site(int memfd, const struct maps *maps, struct inject_site *out, const char **what)
{
	_cleanup_free_ uint8_t *block = malloc(CODE_BLOCK);
	struct inject_site site = {0};
	uint64_t budget = CODE_MAX;

	if (!block)
		return -ENOMEM;
	for (size_t i = maps->n; i-- > 0 && !(site.gadget && site.restorer);)
		if (is_code(&maps->v[i]))
			search(memfd, &maps->v[i], block, &site, &budget);
	for (size_t i = 0; i < maps->n; i++) {
		if (maps->v[i].inode || strcmp(maps->v[i].name, "[stack]") != 0)
			continue;
		site.stack_low = maps->v[i].start;
		site.stack_high = maps->v[i].end;
	}
	*what = !site.gadget	 ? "a system call instruction with a return behind it"
		: !site.restorer ? "a signal handler's return"
				 : "a main stack";
	if (!site.gadget || !site.restorer || !site.stack_low)
		return -ENOENT;
	*out = site;
	return 0;
}

bool inject_check_site(int memfd, const struct inject_site *site)
{
	uint8_t gadget[3], restorer[9];

	return pread(memfd, gadget, sizeof(gadget), (off_t)site->gadget) == sizeof(gadget) &&
	       inject_find_gadget(gadget, sizeof(gadget)) == 0 &&
	       pread(memfd, restorer, sizeof(restorer), (off_t)site->restorer) ==
		       sizeof(restorer) &&
	       inject_find_restorer(restorer, sizeof(restorer)) == 0;
}

/* Size of the XSAVE area that holds FEATURES. */
static size_t xsave_size(uint64_t features)
{
	size_t size = FXSAVE_SIZE + 64;

	for (unsigned int i = 2; i < 63; i++) {
		unsigned int length, offset, c, d;

		if (!(features & (1ULL << i)))
			continue;
		if (!__get_cpuid_count(0xd, i, &length, &offset, &c, &d))
			continue;
		if (offset + length > size)
			size = offset + length;
	}
	return size;
}

/* What the kernel would have put behind the area in a signal frame. */
static int finish_xstate(uint8_t *area, size_t size, size_t *used)
{
	struct _fpx_sw_bytes sw = {.magic1 = FP_XSTATE_MAGIC1};
	const uint32_t magic2 = FP_XSTATE_MAGIC2;
	uint64_t present;

	if (size < FXSAVE_SIZE + 64)
		return -EINVAL;
	memcpy(&sw.xfeatures, area + SW_BYTES, sizeof(sw.xfeatures));
	memcpy(&present, area + XSAVE_HEADER, sizeof(present));
	if (!(present & TILE_DATA))
		sw.xfeatures &= ~TILE_DATA;
	*used = xsave_size(sw.xfeatures);
	if (*used > size)
		return -EINVAL;
	sw.xstate_size = (uint32_t)*used;
	sw.extended_size = sw.xstate_size + FP_XSTATE_MAGIC2_SIZE;
	memcpy(area + SW_BYTES, &sw, sizeof(sw));
	memcpy(area + *used, &magic2, sizeof(magic2));
	*used += sizeof(magic2);
	return 0;
}

static struct sigcontext_64 context_of(const struct user_regs_struct *r)
{
	return (struct sigcontext_64){.r8 = r->r8,
		.r9 = r->r9,
		.r10 = r->r10,
		.r11 = r->r11,
		.r12 = r->r12,
		.r13 = r->r13,
		.r14 = r->r14,
		.r15 = r->r15,
		.di = r->rdi,
		.si = r->rsi,
		.bp = r->rbp,
		.bx = r->rbx,
		.dx = r->rdx,
		.ax = r->rax,
		.cx = r->rcx,
		.sp = r->rsp,
		.ip = r->rip,
		.flags = r->eflags,
		.cs = (uint16_t)r->cs,
		.ss = (uint16_t)r->ss};
}

static struct frame frame_of(
	const struct inject_site *site, const struct user_regs_struct *regs, uint64_t mask)
{
	return (struct frame){.return_address = site->restorer,
		.context = {.flags = UC_SIGCONTEXT_SS | UC_STRICT_SS,
			/* No such flag: the kernel refuses it, and leaves the alternate stack as
			 * it is. */
			.stack_flags = 0x7fff,
			.sigcontext = context_of(regs),
			.mask = mask}};
}

int inject_build_frames(const struct inject_site *site, const struct inject_state *state,
	uint64_t base, struct inject_frames *out)
{
	const size_t xstate_at = (sizeof(struct frame) + 63) & ~63UL,
		     exits_at = xstate_at + ((state->xstate_size + 4 + 63) & ~63UL);
	_cleanup_free_ uint8_t *bytes = calloc(1, exits_at + sizeof(struct frame));
	struct user_regs_struct regs = state->regs;
	struct frame frame;
	size_t used = 0;
	int r;

	if (!bytes)
		return -ENOMEM;
	inject_make_restorable(&regs);
	frame = frame_of(site, &regs, state->mask);
	if (state->xstate_size) {
		memcpy(bytes + xstate_at, state->xstate, state->xstate_size);
		r = finish_xstate(bytes + xstate_at, state->xstate_size, &used);
		if (r < 0)
			return r;
		frame.context.flags |= UC_FP_XSTATE;
		frame.context.sigcontext.fpstate = base + xstate_at;
	}
	memcpy(bytes, &frame, sizeof(frame));
	regs.rip = site->gadget;
	regs.rax = SYS_exit_group;
	regs.rdi = INJECT_EXIT_CODE;
	regs.rsp = base + exits_at;
	frame = frame_of(site, &regs, ~0ULL);
	memcpy(bytes + exits_at, &frame, sizeof(frame));
	*out = (struct inject_frames){.base = base,
		.own = base,
		.exits = base + exits_at,
		.size = exits_at + sizeof(frame),
		.bytes = TAKE_PTR(bytes)};
	return 0;
}

void inject_frames_free(struct inject_frames *f)
{
	free(f->bytes);
	f->bytes = NULL;
}

void inject_set_start(struct user_regs_struct *regs, const struct inject_site *site,
	const struct inject_frames *frames)
{
	regs->rip = site->gadget;
	regs->rax = SYS_rt_sigreturn;
	regs->rsp = frames->own + sizeof(uint64_t); /* as if the return had been popped */
	regs->orig_rax = (unsigned long long)-1;    /* the kernel shall restart nothing */
	regs->eflags &= ~0x500ULL;		    /* no direction, no trap flag */
}

void inject_set_call(struct user_regs_struct *regs, long nr, const uint64_t args[6], uint64_t frame)
{
	regs->orig_rax = (unsigned long long)nr;
	regs->rdi = args[0];
	regs->rsi = args[1];
	regs->rdx = args[2];
	regs->r10 = args[3];
	regs->r8 = args[4];
	regs->r9 = args[5];
	regs->rsp = frame;
}

void inject_make_restorable(struct user_regs_struct *regs)
{
	int64_t result = (int64_t)regs->rax;

	if ((int64_t)regs->orig_rax < 0)
		return;
	/* include/linux/errno.h: 512 ERESTARTSYS, 513 ERESTARTNOINTR, 514 ERESTARTNOHAND: the call
	 * again. 516 ERESTART_RESTARTBLOCK: a signal return forgets how long it has slept, so the
	 * program sees the EINTR of a signal. */
	if (result == -512 || result == -513 || result == -514) {
		regs->rax = regs->orig_rax;
		regs->rip -= 2;
	} else if (result == -516) {
		regs->rax = (unsigned long long)-EINTR;
	}
}
