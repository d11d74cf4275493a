/* SPDX-License-Identifier: MIT */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/doctor_check.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "probe/requests.h"

static const struct bpf_insn nothing[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0}, /* r0 = 0 */
	{.code = BPF_JMP | BPF_EXIT},
};

/* Loads INSNS as a tracing program for the function or tracepoint type ID: a descriptor or -errno.
 */
static int load_tracing(enum bpf_attach_type type, int id, const struct bpf_insn *insns, size_t n,
	char *log, size_t log_size)
{
	const struct bpf_prog_load_opts opts = {
		.sz = sizeof(opts),
		.expected_attach_type = type,
		.attach_btf_id = (__u32)id,
		.log_buf = log,
		.log_size = (__u32)log_size,
		.log_level = log ? 1 : 0,
	};

	return bpf_prog_load(BPF_PROG_TYPE_TRACING, "doctor", "GPL", insns, n, &opts);
}

static int find_type(
	const struct doctor *d, const char *prefix, const char *name, unsigned int kind)
{
	char full[128];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return d->btf ? btf__find_by_name_kind(d->btf, full, kind) : -ENOENT;
}

void doctor_btf(const struct doctor *d, const char *subject, struct finding *f)
{
	(void)subject;
	if (d->btf)
		finding_set(
			f, VERDICT_OK, "/sys/kernel/btf/vmlinux, %u types", btf__type_cnt(d->btf));
	else
		finding_set(f, VERDICT_MISSING, "the kernel does not describe its types");
}

void doctor_bpf(const struct doctor *d, const char *subject, struct finding *f)
{
	_cleanup_close_ int fd = bpf_prog_load(
		BPF_PROG_TYPE_SOCKET_FILTER, "doctor", "GPL", nothing, ARRAY_SIZE(nothing), NULL);

	(void)d;
	(void)subject;
	if (fd >= 0)
		finding_set(f, VERDICT_OK, "programs load");
	else
		finding_set(f, VERDICT_MISSING, "loading a program: %s", strerror(-fd));
}

/* Loads and attaches a program that does nothing, and takes it away again. */
static void try_attach(enum bpf_attach_type type, int id, struct finding *f)
{
	_cleanup_close_ int prog = -1, link = -1;

	if (id < 0) {
		finding_set(f, VERDICT_MISSING, "this kernel has none");
		return;
	}
	prog = load_tracing(type, id, nothing, ARRAY_SIZE(nothing), NULL, 0);
	if (prog < 0) {
		finding_set(f, VERDICT_MISSING, "loading: %s", strerror(-prog));
		return;
	}
	link = type == BPF_TRACE_ITER ? bpf_link_create(prog, 0, type, NULL)
				      : bpf_raw_tracepoint_open(NULL, prog);
	if (link < 0)
		finding_set(f, VERDICT_MISSING, "attaching: %s", strerror(-link));
	else
		finding_set(f, VERDICT_OK, "attaches");
}

void doctor_tracepoint(const struct doctor *d, const char *subject, struct finding *f)
{
	try_attach(BPF_TRACE_RAW_TP, find_type(d, "btf_trace_", subject, BTF_KIND_TYPEDEF), f);
}

void doctor_fentry(const struct doctor *d, const char *subject, struct finding *f)
{
	try_attach(BPF_TRACE_FENTRY, find_type(d, "", subject, BTF_KIND_FUNC), f);
}

void doctor_iterator(const struct doctor *d, const char *subject, struct finding *f)
{
	try_attach(BPF_TRACE_ITER, find_type(d, "bpf_iter_", subject, BTF_KIND_FUNC), f);
}

/* Where the entry point of FD, an ELF file, lies in it; -EINVAL. */
static long entry_offset(int fd)
{
	Elf64_Ehdr ehdr;

	if (pread(fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr))
		return -EINVAL;
	for (unsigned int i = 0; i < ehdr.e_phnum; i++) {
		Elf64_Phdr p;

		if (pread(fd, &p, sizeof(p), (off_t)(ehdr.e_phoff + i * sizeof(p))) != sizeof(p))
			return -EINVAL;
		if (p.p_type == PT_LOAD && ehdr.e_entry >= p.p_vaddr &&
			ehdr.e_entry - p.p_vaddr < p.p_filesz)
			return (long)(ehdr.e_entry - p.p_vaddr + p.p_offset);
	}
	return -EINVAL;
}

/* A uprobe on our own entry point, which has run already: a descriptor or -errno. */
static int open_uprobe(void)
{
	static const char self[] = "/proc/self/exe";
	_cleanup_close_ int exe = open(self, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *type = NULL;
	struct perf_event_attr attr = {
		.size = sizeof(attr), .sample_period = 1, .wakeup_events = 1};
	long offset;
	int r;

	if (exe < 0)
		return -errno;
	r = io_read_file_at(AT_FDCWD, "/sys/bus/event_source/devices/uprobe/type", 32, &type, NULL);
	if (r < 0)
		return r;
	offset = entry_offset(exe);
	if (offset < 0)
		return (int)offset;
	attr.type = (__u32)strtoul(type, NULL, 10);
	attr.uprobe_path = (__u64)(uintptr_t)self;
	attr.probe_offset = (__u64)offset;
	r = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return r < 0 ? -errno : r;
}

void doctor_uprobe(const struct doctor *d, const char *subject, struct finding *f)
{
	_cleanup_close_ int event = open_uprobe(), prog = -1;

	(void)d;
	(void)subject;
	if (event < 0) {
		finding_set(f, VERDICT_MISSING, "opening: %s", strerror(-event));
		return;
	}
	prog = bpf_prog_load(
		BPF_PROG_TYPE_KPROBE, "doctor", "GPL", nothing, ARRAY_SIZE(nothing), NULL);
	if (prog < 0)
		finding_set(f, VERDICT_MISSING, "loading: %s", strerror(-prog));
	else if (ioctl(event, PERF_EVENT_IOC_SET_BPF, prog) < 0)
		finding_set(f, VERDICT_MISSING, "attaching: %s", strerror(errno));
	else
		finding_set(f, VERDICT_OK, "attaches");
}

void doctor_requests(const struct doctor *d, const char *subject, struct finding *f)
{
	const struct requests_options options = {.slow_ns = NSEC_PER_SEC}; /* of nobody */
	struct requests *requests = NULL;
	int r = requests_open(&options, &requests);

	(void)d;
	(void)subject;
	if (r == -EOPNOTSUPP)
		finding_set(f, VERDICT_MISSING, "no state can be kept with a socket");
	else if (r < 0)
		finding_set(f, VERDICT_MISSING, "%s", strerror(-r));
	else
		finding_set(f, VERDICT_OK, "%s", requests_way(requests));
	requests_close(requests);
}

void doctor_map(const struct doctor *d, const char *subject, struct finding *f)
{
	int r = -ENOENT;

	(void)d;
	for (int type = 0; r == -ENOENT && libbpf_bpf_map_type_str(type); type++)
		if (strcmp(libbpf_bpf_map_type_str(type), subject) == 0)
			r = libbpf_probe_bpf_map_type(type, NULL);
	if (r == 1)
		finding_set(f, VERDICT_OK, "can be made");
	else
		finding_set(
			f, VERDICT_MISSING, "%s", r < 0 ? strerror(-r) : "this kernel has none");
}

/* The number of the helper BPF_FUNC_<NAME> by the kernel's own types, or -ENOENT. */
static int helper_number(const struct btf *btf, const char *name)
{
	int id = btf ? btf__find_by_name_kind(btf, "bpf_func_id", BTF_KIND_ENUM) : -ENOENT;
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, (__u32)id);

	for (int i = 0; t && i < btf_vlen(t); i++) {
		const char *s = btf__name_by_offset(btf, btf_enum(t)[i].name_off);

		if (s && strncmp(s, "BPF_FUNC_", 9) == 0 && strcmp(s + 9, name) == 0)
			return btf_enum(t)[i].val;
	}
	return -ENOENT;
}

void doctor_helper(const struct doctor *d, const char *subject, struct finding *f)
{
	/* Without arguments the verifier refuses it in any case; its reason tells whether it knows
	 * the helper. */
	struct bpf_insn insns[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = helper_number(d->btf, subject)}, nothing[0],
		nothing[1]};
	_cleanup_close_ int prog = -1;
	char log[4096] = "";
	int hook = find_type(d, "btf_trace_", "sched_process_exec", BTF_KIND_TYPEDEF);

	if (insns[0].imm < 0 || hook < 0) {
		finding_set(f, VERDICT_MISSING, "this kernel has none");
		return;
	}
	prog = load_tracing(BPF_TRACE_RAW_TP, hook, insns, ARRAY_SIZE(insns), log, sizeof(log));
	if (prog == -EPERM || (prog < 0 && !*log))
		finding_set(f, VERDICT_MISSING, "loading: %s", strerror(-prog));
	else if (strstr(log, "unknown func") || strstr(log, "invalid func") ||
		 strstr(log, "cannot use helper"))
		finding_set(f, VERDICT_MISSING, "not for tracing programs");
	else
		finding_set(f, VERDICT_OK, "can be called");
}
