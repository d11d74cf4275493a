/* SPDX-License-Identifier: MIT */
/* coretrap doctor: what this kernel and host can do, and what to change. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/captures.h"
#include "cli/commands.h"
#include "cli/doctor_check.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define NEEDED true /* by the way of a crash: without it nothing is captured */

static const struct check {
	const char *name;
	bool needed;
	doctor_check *look;
	const char *subject;
	const char *advice; /* what to change, or what is lost */
} checks[] = {
	{"kernel", NEEDED, doctor_kernel, NULL, "Linux 5.10 or newer is needed"},
	{"kernel types (BTF)", NEEDED, doctor_btf, NULL,
		"a kernel built with CONFIG_DEBUG_INFO_BTF is needed"},
	{"root", NEEDED, doctor_root, NULL, "run as root"},
	{"cap_bpf", NEEDED, doctor_capability, "cap_bpf", "give it: loads the programs"},
	{"cap_perfmon", NEEDED, doctor_capability, "cap_perfmon",
		"give it: loads tracing programs"},
	{"cap_sys_ptrace", NEEDED, doctor_capability, "cap_sys_ptrace",
		"give it: reads the memory of dying processes"},
	{"cap_dac_override", NEEDED, doctor_capability, "cap_dac_override",
		"give it: reads /proc of other users' processes"},
	{"cap_kill", false, doctor_capability, "cap_kill", "give it: ends what hangs"},
	{"cap_sys_resource", false, doctor_capability, "cap_sys_resource",
		"give it: lifts limits, as RLIMIT_MEMLOCK before 5.11"},
	{"cap_sys_admin", false, doctor_capability, "cap_sys_admin",
		"give it: suspends seccomp, and enters containers' file systems"},
	{"lockdown", NEEDED, doctor_lockdown, NULL,
		"boot with lockdown=integrity: confidentiality forbids programs to read"},
	{"bpf", NEEDED, doctor_bpf, NULL,
		"a kernel with CONFIG_BPF_SYSCALL, and no policy against bpf(2), is needed"},
	{"tp_btf/signal_deliver", NEEDED, doctor_tracepoint, "signal_deliver",
		"deaths are not seen"},
	{"tp_btf/signal_generate", NEEDED, doctor_tracepoint, "signal_generate",
		"who sent a signal is not known"},
	{"tp_btf/sched_process_exec", NEEDED, doctor_tracepoint, "sched_process_exec",
		"processes are not recognized at exec"},
	{"tp_btf/sched_process_fork", NEEDED, doctor_tracepoint, "sched_process_fork",
		"children are not recognized"},
	{"tp_btf/sched_process_exit", NEEDED, doctor_tracepoint, "sched_process_exit",
		"SIGKILL is not seen"},
	{"tp_btf/sched_process_free", NEEDED, doctor_tracepoint, "sched_process_free",
		"records of the dead pile up"},
	{"tp_btf/task_rename", NEEDED, doctor_tracepoint, "task_rename",
		"processes that rename themselves are not recognized"},
	{"tp_btf/mark_victim", false, doctor_tracepoint, "mark_victim",
		"an OOM kill looks like any SIGKILL"},
	{"tp_btf/page_fault_user", false, doctor_tracepoint, "page_fault_user",
		"no rules on fault rates"},
	{"tp_btf/sock_recv_length", false, doctor_tracepoint, "sock_recv_length",
		"Linux 6.3 has it; requests are timed at the exits of functions, if that works"},
	{"tp_btf/sock_send_length", false, doctor_tracepoint, "sock_send_length",
		"Linux 6.3 has it; requests are timed at the exits of functions, if that works"},
	{"fentry", false, doctor_fentry, "sock_recvmsg",
		"not needed where the tracepoints above are"},
	{"requests", false, doctor_requests, NULL,
		"Linux 5.12, and tracepoints (6.3) or programs at the exits of functions, are "
		"needed: no rules on requests"},
	{"iter/task", false, doctor_iterator, "task", "CPU and memory are read from /proc, slower"},
	{"uprobe", false, doctor_uprobe, NULL,
		"no rules on user functions; of event loops only those that sleep are known to "
		"stall"},
	{"map ringbuf", NEEDED, doctor_map, "ringbuf", "Linux 5.8 or newer is needed"},
	{"map task_storage", false, doctor_map, "task_storage",
		"Linux 5.11 has it; a hash by process is used"},
	{"map sk_storage", false, doctor_map, "sk_storage", "no rules on requests"},
	{"helper get_current_task_btf", false, doctor_helper, "get_current_task_btf",
		"Linux 5.11 has it; registers are found on the kernel stack"},
	{"helper task_pt_regs", false, doctor_helper, "task_pt_regs",
		"Linux 5.15 has it; registers are found on the kernel stack"},
	{"helper sk_storage_get", false, doctor_helper, "sk_storage_get",
		"Linux 5.11 has it; no rules on requests"},
	{"helper get_stack", false, doctor_helper, "get_stack",
		"the faulting file is not named until the core is written"},
	{"kernel.core_pattern", false, doctor_core_pattern, NULL,
		"install that program, or set the pattern to 'core': what no rule wants goes "
		"there"},
	{"set kernel.core_pattern", NEEDED, doctor_sysctl, "kernel/core_pattern",
		"mount /proc/sys writable (no ProtectKernelTunables=): the kernel hands no crash "
		"over"},
	{"set kernel.core_pipe_limit", NEEDED, doctor_sysctl, "kernel/core_pipe_limit",
		"mount /proc/sys writable"},
	{"set fs.suid_dumpable", false, doctor_sysctl, "fs/suid_dumpable",
		"mount /proc/sys writable: daemons that dropped root are not captured"},
	{"ptrace_scope", false, doctor_ptrace_scope, NULL,
		"3 forbids live captures until the next boot; crashes work"},
	{"seccomp", false, doctor_seccomp, NULL,
		"run without SystemCallFilter= and the like: live captures of sandboxed processes "
		"stop and copy"},
	{"store", NEEDED, doctor_store, NULL,
		"a directory of root's own with mode 0700 is needed; -s names another"},
	{"store space", false, doctor_space, NULL, "make room: captures keep 15 % free"},
	{"debugger", false, doctor_debugger, NULL,
		"install gdb: 'coretrap debug' opens captures in it"},
};

static const char *const verdicts[] = {
	[VERDICT_OK] = "ok",
	[VERDICT_DEGRADED] = "degraded",
	[VERDICT_MISSING] = "missing",
};

void finding_set(struct finding *f, enum verdict verdict, const char *format, ...)
{
	va_list args;

	f->verdict = verdict;
	va_start(args, format);
	vsnprintf(f->detail, sizeof(f->detail), format, args);
	va_end(args);
}

static enum verdict judge(const struct check *c, const struct finding *f)
{
	/* What is not needed takes nothing down with it. */
	return f->verdict == VERDICT_MISSING && !c->needed ? VERDICT_DEGRADED : f->verdict;
}

static void print_line(const struct check *c, const struct finding *f)
{
	enum verdict v = judge(c, f);

	printf("%-9s %-28s ", verdicts[v], c->name);
	captures_print(stdout, f->detail, sizeof(f->detail));
	if (v != VERDICT_OK)
		printf("; %s", c->advice);
	putchar('\n');
}

static int add_json(json_t *list, const struct check *c, const struct finding *f)
{
	enum verdict v = judge(c, f);
	json_t *o = json_object();

	if (json_array_append_new(list, o) < 0 || json_put_text(o, "check", c->name) ||
		json_put_text(o, "status", verdicts[v]) || json_put_bool(o, "needed", c->needed) ||
		json_put_text(o, "detail", f->detail))
		return -ENOMEM;
	return v == VERDICT_OK ? 0 : json_put_text(o, "advice", c->advice);
}

/* Whether all that is needed is there, or -errno. */
static int examine(const struct doctor *d, json_t *list)
{
	bool fit = true;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct finding f = {};

		checks[i].look(d, checks[i].subject, &f);
		if (judge(&checks[i], &f) == VERDICT_MISSING)
			fit = false;
		if (!list)
			print_line(&checks[i], &f);
		else if (add_json(list, &checks[i], &f) < 0)
			return -ENOMEM;
	}
	return fit;
}

static int report(const struct doctor *d, bool json)
{
	_cleanup_json_ json_t *o = NULL;
	json_t *list;
	int fit;

	if (!json)
		return examine(d, NULL);
	o = json_object();
	list = json_array();
	if (json_put(o, "checks", list) < 0)
		return -ENOMEM;
	fit = examine(d, list);
	if (fit < 0 || json_put_bool(o, "fit", fit) < 0)
		return -ENOMEM;
	if (json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) < 0 || putchar('\n') < 0)
		return -EIO;
	return fit;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct argp_child children[] = {{&captures_argp, 0, NULL, 0},
		{&captures_output_argp, 0, NULL, 0}, {&captures_json_argp, 0, NULL, 0}, {}};
	static const struct argp argp = {
		.parser = captures_parse_only,
		.doc = "Says what this kernel and host can do, and what to change. "
		       "The exit status is 1 if something is missing without which no crash is "
		       "captured.",
		.children = children,
	};
	struct captures_options o = {.command = "doctor"};
	struct doctor d = {};
	int r;

	argv[0] = (char *)"coretrap doctor";
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	libbpf_set_print(NULL); /* every finding says for itself what went wrong */
	d.btf = btf__load_vmlinux_btf();
	d.store = o.store;
	r = report(&d, o.json);
	btf__free(d.btf);
	if (fflush(stdout) != 0)
		r = -errno;
	if (r < 0)
		fprintf(stderr, "coretrap doctor: %s\n", strerror(-r));
	return r == 1 ? 0 : EXIT_FAILED;
}
