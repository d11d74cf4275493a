/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions that are entered and not left. One program serves all probes: the address at which it
 * fires says what it means. Never a uretprobe: it replaces the return address on the stack, so that
 * a backtrace through the function, which is what a capture is for, would end there. */
#include "common.bpf.h"

#include "arch.bpf.h"
#include "firing.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct ct_config config = {}; /* of the headers; nothing here looks at it */

/* No link has a cookie before 5.15, which could tell the program where it is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, struct ct_site_key);
	__type(value, struct ct_site);
} sites SEC(".maps");

/* Room is there from the start: a probe on user code may come anywhere. User space goes through all
 * of it several times in the least limit. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct ct_call_key);
	__type(value, struct ct_call);
} calls SEC(".maps");

/* Where the stack of the current call's owner begins, and who that is. */
struct owner {
	__u64 id, stack;
};

/* Of Go: struct g begins with the bounds of the goroutine's stack. */
static __always_inline bool is_on_stack_of(__u64 g, __u64 sp, __u64 *stack)
{
	__u64 bounds[2] = {};

	if (!g || bpf_probe_read_user(bounds, sizeof(bounds), (void *)g))
		return false;
	*stack = bounds[1];
	return sp > bounds[0] && sp <= bounds[1];
}

/* A goroutine may go on in another thread, and its stack may be moved: what stays is its struct g,
 * and the distance to the stack's beginning. Compiled code has g in r14 since 1.17, assembly need
 * not. */
static __always_inline void find_owner(
	struct pt_regs *ctx, const struct ct_site *site, struct owner *owner)
{
	__u64 sp = ctx->sp;

	owner->stack = 0;
	owner->id = (__u32)bpf_get_current_pid_tgid();
	if (!site->go)
		return;
	if (is_on_stack_of(ctx->r14, sp, &owner->stack)) {
		owner->id = ctx->r14;
		return;
	}
	if (is_on_stack_of(current_g(), sp, &owner->stack))
		owner->id = current_g();
	else
		owner->stack = 0;
}

/* What an earlier call of this owner left behind: nothing that is still under way. It was left by a
 * longjmp or an exception if its stack has been given up, or used for something else. */
static __always_inline bool is_over(const struct ct_call *c, __u64 stack, __u64 below)
{
	__u64 back = 0;

	if (below <= c->below)
		return true;
	return bpf_probe_read_user(&back, sizeof(back), (void *)(stack - c->below)) ||
	       back != c->back;
}

static __always_inline void keep(struct ct_call_key *key, const struct ct_call *call, __u64 flags)
{
	if (bpf_map_update_elem(&calls, key, call, flags))
		count_loss(CT_LOSS_CALL_TABLE_FULL);
}

static __always_inline int enter(struct pt_regs *ctx, const struct ct_site *site, __u64 now)
{
	struct ct_call_key key = {.instance = site->instance};
	struct ct_call call = {.entered_ns = now}, *old;
	struct owner owner;

	find_owner(ctx, site, &owner);
	key.owner = owner.id;
	call.stack = owner.stack;
	call.below = owner.stack - ctx->sp;
	old = bpf_map_lookup_elem(&calls, &key);
	if (old && !is_over(old, owner.stack, call.below))
		return 0; /* it calls itself: the outermost call counts */
	if (bpf_probe_read_user(&call.back, sizeof(call.back), (void *)ctx->sp))
		return 0;
	if (site->goid && owner.stack)
		bpf_probe_read_user(
			&call.goroutine, sizeof(call.goroutine), (void *)(owner.id + site->goid));
	call.tid = (__u32)bpf_get_current_pid_tgid();
	keep(&key, &call, BPF_ANY);
	return 0;
}

/* Returns, and jumps to what comes in its place, happen with the stack pointer of the entry. */
static __always_inline int leave(struct pt_regs *ctx, const struct ct_site *site)
{
	struct ct_call_key key = {.instance = site->instance};
	struct ct_call *call;
	struct owner owner;

	if (site->kind == CT_SITE_BRANCH && !holds(site->condition, ctx->flags))
		return 0;
	find_owner(ctx, site, &owner);
	key.owner = owner.id;
	call = bpf_map_lookup_elem(&calls, &key);
	if (call && call->below == owner.stack - ctx->sp)
		bpf_map_delete_elem(&calls, &key);
	return 0;
}

/* No more than there is: it may be the last of its page. */
static __always_inline bool read_memory(__u64 from, __u8 size, __u64 *out)
{
	void *address = (void *)from;

	*out = 0;
	switch (size) {
	case 1:
		return !bpf_probe_read_user(out, 1, address);
	case 2:
		return !bpf_probe_read_user(out, 2, address);
	case 4:
		return !bpf_probe_read_user(out, 4, address);
	default:
		return !bpf_probe_read_user(out, 8, address);
	}
}

static __always_inline bool read_argument(
	struct pt_regs *ctx, const struct ct_site *site, __u64 *out)
{
	__u64 value = (__u64)site->value, reg = 0;
	__u8 shift = 64 - site->size * 8;

	if (site->argument >= CT_ARGUMENT_REGISTER &&
		bpf_probe_read_kernel(&reg, sizeof(reg), (void *)ctx + site->reg))
		return false;
	if (site->argument == CT_ARGUMENT_REGISTER)
		value = reg;
	if (site->argument == CT_ARGUMENT_MEMORY && !read_memory(reg + value, site->size, &value))
		return false;
	value <<= shift & 63;
	*out = site->is_signed ? (__u64)((__s64)value >> (shift & 63)) : value >> (shift & 63);
	return true;
}

/* Static probes come in any order at any depth of the stack: a begin is the last one, an end is
 * what it says. */
static __always_inline int pass_probe(struct pt_regs *ctx, const struct ct_site *site, __u64 now)
{
	struct ct_call_key key = {.instance = site->instance};
	struct ct_call call = {.entered_ns = now};

	call.tid = (__u32)bpf_get_current_pid_tgid();
	key.owner = call.tid;
	if (site->argument && !read_argument(ctx, site, &key.owner))
		return 0;
	if (site->kind == CT_SITE_END)
		bpf_map_delete_elem(&calls, &key);
	else
		keep(&key, &call, BPF_ANY);
	return 0;
}

SEC("?uprobe")
int function_hit(struct pt_regs *ctx)
{
	struct ct_site_key at = {.ip = ctx->ip, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct ct_site *site = bpf_map_lookup_elem(&sites, &at);
	__u64 now;

	if (!site) /* a child made by fork, or a probe that is being taken off */
		return 0;
	now = bpf_ktime_get_boot_ns();
	if (!count_firing(at.tgid, now))
		return 0;
	switch (site->kind) {
	case CT_SITE_ENTRY:
		return enter(ctx, site, now);
	case CT_SITE_EXIT:
	case CT_SITE_BRANCH:
		return leave(ctx, site);
	default:
		return pass_probe(ctx, site, now);
	}
}
