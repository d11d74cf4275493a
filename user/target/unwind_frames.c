/* SPDX-License-Identifier: MIT */
#include "target/unwind_frames.h"

#include <stdlib.h>
#include <string.h>

struct walk {
	struct unwind_session *s;
	struct unwind_trace *t;
	uint64_t registers[UNWIND_REGISTERS]; /* of the current frame */
	bool exact;	/* the current address is an interrupted one, not one behind a call */
	bool restarted; /* libdwfl's first frame is one that we found: it is counted already */
	bool full;
	bool no_cfi; /* libdwfl has no way on from here: ours to try */
};

/* The order of the DWARF registers (System V ABI, AMD64, figure 3.36). */
static void load_registers(const struct user_regs_struct *r, uint64_t out[UNWIND_REGISTERS])
{
	const uint64_t in_order[UNWIND_REGISTERS] = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi,
		r->rbp, r->rsp, r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15,
		r->rip};

	memcpy(out, in_order, sizeof(in_order));
}

static bool add_frame(struct walk *w, uint64_t address, uint64_t lookup)
{
	struct unwind_trace *t = w->t;

	if (t->count >= w->s->req->max_frames) {
		t->truncated = true;
		w->full = true;
		return false;
	}
	t->frames[t->count++] = (struct unwind_frame){.address = address, .lookup = lookup};
	return true;
}

/* Whether there is unwind information for PC; *signal tells a signal trampoline's. libdwfl itself
 * would take the frame pointer where there is none, and in code that uses it for something else
 * find rubbish. */
static bool has_cfi(struct unwind_session *s, uint64_t pc, bool *signal)
{
	Dwfl_Module *mod = dwfl_addrmodule(s->dwfl, pc);
	Dwarf_CFI *cfi[2];
	Dwarf_Addr bias[2];

	*signal = false;
	if (!mod)
		return false;
	for (int i = 0; i < 2; i++) {
		Dwarf_Frame *frame = NULL;
		Dwarf_Addr start, end;

		cfi[i] = i ? dwfl_module_dwarf_cfi(mod, &bias[i])
			   : dwfl_module_eh_cfi(mod, &bias[i]);
		if (!cfi[i] || dwarf_cfi_addrframe(cfi[i], pc - bias[i], &frame) != 0)
			continue;
		dwarf_frame_info(frame, &start, &end, signal);
		free(frame);
		return true;
	}
	return false;
}

static int on_frame(Dwfl_Frame *state, void *arg)
{
	struct walk *w = arg;
	bool signal;
	Dwarf_Addr pc;

	if (!dwfl_frame_pc(state, &pc, NULL))
		return DWARF_CB_ABORT;
	for (unsigned int i = 0; i < UNWIND_REGISTERS; i++) {
		Dwarf_Word value = 0;

		/* Scratch registers are unknown past a call; nothing sound depends on them. */
		w->registers[i] = dwfl_frame_reg(state, i, &value) == 0 ? value : 0;
	}
	if (w->restarted)
		pc = w->t->frames[w->t->count - 1].address;
	w->registers[UNWIND_PC] = pc;
	if (!w->restarted && pc == 0 && !w->exact)
		return DWARF_CB_ABORT; /* the return address of a thread's first function */
	if (!has_cfi(w->s, w->exact ? pc : pc - 1, &signal))
		w->no_cfi = true;
	if (!w->restarted && !add_frame(w, pc, w->exact || signal ? pc : pc - 1))
		return DWARF_CB_ABORT;
	w->restarted = false;
	if (w->no_cfi)
		return DWARF_CB_ABORT;
	w->exact = signal; /* what a signal interrupted is exact again */
	return DWARF_CB_OK;
}

/* mov $15,%rax; syscall: rt_sigreturn of Go and musl, who describe it with no CFI. The stack
 * pointer is then at the ucontext, whose registers (offset 40) come in the kernel's order (struct
 * sigcontext). */
static bool step_signal(struct walk *w, uint64_t next[UNWIND_REGISTERS])
{
	static const uint8_t dwarf[UNWIND_REGISTERS] = {
		8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16};
	uint64_t code, tail;

	if (!unwind_session_word(w->s, w->registers[UNWIND_PC], &code) ||
		!unwind_session_word(w->s, w->registers[UNWIND_PC] + 1, &tail) ||
		code != 0x0f0000000fc0c748ULL || tail >> 56 != 0x05)
		return false;
	for (unsigned int i = 0; i < UNWIND_REGISTERS; i++)
		if (!unwind_session_word(
			    w->s, w->registers[UNWIND_SP] + 40 + 8 * i, &next[dwarf[i]]))
			return false;
	return true;
}

/* Right behind a syscall instruction (0f 05). */
static bool in_syscall(struct walk *w)
{
	uint64_t code;

	return unwind_session_word(w->s, w->registers[UNWIND_PC] - 8, &code) &&
	       code >> 48 == 0x050f;
}

/* A jump or call to where no code is: the call has pushed its return address, and nothing else has
 * happened since. The same holds for the system call stubs of stripped Go: they have no frame. */
static bool step_frameless(struct walk *w, uint64_t next[UNWIND_REGISTERS])
{
	uint64_t sp = w->registers[UNWIND_SP], ra;

	if (!w->exact || (unwind_session_is_code(w->s, w->registers[UNWIND_PC]) && !in_syscall(w)))
		return false;
	if (!unwind_session_word(w->s, sp, &ra) || !unwind_session_is_code(w->s, ra))
		return false;
	memcpy(next, w->registers, sizeof(w->registers));
	next[UNWIND_PC] = ra;
	next[UNWIND_SP] = sp + 8;
	return true;
}

/* Code without CFI (compiled just in time, stripped Go): its frame pointer, if all that hangs on it
 * makes sense. */
static bool step_frame_pointer(struct walk *w, uint64_t next[UNWIND_REGISTERS])
{
	uint64_t bp = w->registers[UNWIND_BP], sp = w->registers[UNWIND_SP], ra, before;
	const struct mapping *m = maps_find(w->s->req->maps, bp);

	if (!unwind_session_is_code(w->s, w->registers[UNWIND_PC]) || bp % 8 || bp < sp || !m ||
		sp < m->start)
		return false;
	if (!unwind_session_word(w->s, bp, &before) || !unwind_session_word(w->s, bp + 8, &ra) ||
		!unwind_session_is_code(w->s, ra))
		return false;
	memcpy(next, w->registers, sizeof(w->registers));
	next[UNWIND_PC] = ra;
	next[UNWIND_SP] = bp + 16;
	next[UNWIND_BP] = before;
	return true;
}

/* One step where libdwfl has none: the next frame is added, and libdwfl set to go on from it. */
static bool step(struct walk *w)
{
	uint64_t next[UNWIND_REGISTERS] = {0};
	bool signal = step_signal(w, next);

	if (!signal && !step_frameless(w, next) && !step_frame_pointer(w, next))
		return false;
	if (signal) /* its own address is exact, not a byte behind a call */
		w->t->frames[w->t->count - 1].lookup = w->t->frames[w->t->count - 1].address;
	memcpy(w->registers, next, sizeof(next));
	w->exact = signal;
	w->restarted = true;
	memcpy(w->s->registers, next, sizeof(next));
	/* libdwfl takes its first frame's address for exact: behind a call that is the next row, or
	 * function. */
	if (!signal)
		w->s->registers[UNWIND_PC]--;
	return add_frame(w, next[UNWIND_PC], w->s->registers[UNWIND_PC]);
}

void unwind_frames_walk(
	struct unwind_session *s, const struct thread_registers *r, struct unwind_trace *t)
{
	struct walk w = {.s = s, .t = t, .exact = true};

	t->count = 0;
	t->truncated = false;
	t->stopped = NULL;
	load_registers(&r->regs, s->registers);
	for (;;) {
		int result;

		w.no_cfi = false;
		result = dwfl_getthread_frames(s->dwfl, 1, on_frame, &w);
		if (w.no_cfi && !w.full && step(&w))
			continue;
		if (w.no_cfi && !w.full)
			t->stopped = "no unwind information";
		else if (!w.full && result == -1)
			t->stopped = dwfl_errmsg(-1);
		break;
	}
	if (t->count == 0)
		add_frame(&w, registers_ip(r), registers_ip(r));
}
