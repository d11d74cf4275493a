/* SPDX-License-Identifier: MIT */
#include "target/code.h"

#include <capstone/capstone.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"

#define PREFIX_NOTRACK 0x3e
#define SHORT_FORM     0x70 /* of a conditional jump, beside the condition */
#define LONG_FORM      0x0f

/* What was found in the ranges, an octet of flags a byte of code. */
enum mark {
	MARK_START = 1 << 0,  /* an instruction begins here */
	MARK_TARGET = 1 << 1, /* and a jump leads here */
};

struct search {
	const struct code_range *ranges;
	size_t n;
	uint8_t *marks; /* of all ranges, one behind the other */
	struct code_exit *out;
	int found;
};

static void close_capstone(csh *handle)
{
	if (*handle)
		cs_close(handle);
}

static void free_instruction(cs_insn **insn)
{
	if (*insn)
		cs_free(*insn, 1);
}

/* The octet of ADDRESS, or NULL: it is in no range. */
static uint8_t *mark_of(const struct search *s, uint64_t address)
{
	uint8_t *marks = s->marks;

	for (size_t i = 0; i < s->n; i++) {
		if (address - s->ranges[i].start < s->ranges[i].size)
			return marks + (address - s->ranges[i].start);
		marks += s->ranges[i].size;
	}
	return NULL;
}

static int add(struct search *s, const cs_insn *insn, bool conditional)
{
	const uint8_t *opcode = insn->detail->x86.opcode;

	if (s->found == CODE_EXITS_MAX)
		return -E2BIG;
	s->out[s->found++] = (struct code_exit){
		.address = insn->address,
		.conditional = conditional,
		.condition = conditional ? opcode[opcode[0] == LONG_FORM] & 0xf : 0,
	};
	return 0;
}

/* A table of a switch has an index, or is reached by a jump that no branch tracking looks at: its
 * targets are in the function. */
static bool is_by_table(const cs_insn *insn)
{
	const cs_x86_op *op = &insn->detail->x86.operands[0];

	for (size_t i = 0; i < sizeof(insn->detail->x86.prefix); i++)
		if (insn->detail->x86.prefix[i] == PREFIX_NOTRACK)
			return true;
	return op->type == X86_OP_MEM && op->mem.index != X86_REG_INVALID;
}

static int take_jump(struct search *s, const cs_insn *insn)
{
	const cs_x86 *x86 = &insn->detail->x86;
	bool conditional = insn->id != X86_INS_JMP && insn->id != X86_INS_LJMP;
	uint8_t *target;

	if (x86->op_count != 1)
		return -EILSEQ;
	if (x86->operands[0].type != X86_OP_IMM)
		return is_by_table(insn) ? 0 : add(s, insn, false);
	target = mark_of(s, (uint64_t)x86->operands[0].imm);
	if (target) {
		*target |= MARK_TARGET;
		return 0;
	}
	/* The others (jrcxz, loop) reach 128 bytes far: out of a function only in odd assembly. */
	if (conditional && x86->opcode[0] != LONG_FORM && (x86->opcode[0] & 0xf0) != SHORT_FORM)
		return -EILSEQ;
	return add(s, insn, conditional);
}

static int take(struct search *s, csh handle, const cs_insn *insn)
{
	if (cs_insn_group(handle, insn, CS_GRP_RET) || cs_insn_group(handle, insn, CS_GRP_IRET))
		return add(s, insn, false);
	return cs_insn_group(handle, insn, CS_GRP_JUMP) ? take_jump(s, insn) : 0;
}

static int sweep(struct search *s, csh handle, const struct code_range *range)
{
	_cleanup_(free_instruction) cs_insn *insn = cs_malloc(handle);
	const uint8_t *bytes = range->bytes;
	uint64_t address = range->start;
	size_t left = range->size;

	if (!insn)
		return -ENOMEM;
	while (left) {
		int r;

		*mark_of(s, address) |= MARK_START;
		if (!cs_disasm_iter(handle, &bytes, &left, &address, insn))
			return -EILSEQ;
		r = take(s, handle, insn);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where data lies between the code, what follows it is read wrongly, and jumps from before lead
 * into the midst of what was read. A probe there would break the program. */
static bool is_in_step(const struct search *s, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (s->marks[i] == MARK_TARGET)
			return false;
	return true;
}

int code_find_exits(const struct code_range *ranges, size_t n, struct code_exit out[CODE_EXITS_MAX])
{
	_cleanup_(close_capstone) csh handle = 0;
	_cleanup_free_ uint8_t *marks = NULL;
	struct search s = {.ranges = ranges, .n = n, .out = out};
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += ranges[i].size;
	s.marks = marks = calloc(size ? size : 1, 1);
	if (!marks || cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK)
		return -ENOMEM;
	cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
	for (size_t i = 0; i < n; i++) {
		int r = sweep(&s, handle, &ranges[i]);

		if (r < 0)
			return r;
	}
	return is_in_step(&s, size) ? s.found : -EILSEQ;
}
