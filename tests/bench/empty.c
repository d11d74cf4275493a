/* SPDX-License-Identifier: MIT */
/* empty TRACEPOINT…: on each of them a BPF program that returns at once, the least that any program
 * there can cost. Says "attached" and stays until it is ended. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

/* 0 or -errno. */
static int attach(const char *tracepoint)
{
	const struct bpf_insn return_0[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_RAW_TP);
	int program, id = libbpf_find_vmlinux_btf_id(tracepoint, BPF_TRACE_RAW_TP);

	if (id < 0)
		return id;
	options.attach_btf_id = (__u32)id;
	program = bpf_prog_load(BPF_PROG_TYPE_TRACING, "empty", "GPL", return_0, 2, &options);
	return program < 0 || bpf_raw_tracepoint_open(NULL, program) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int err = attach(argv[i]);

		if (err) {
			fprintf(stderr, "empty: %s: %s\n", argv[i], strerror(-err));
			return 1;
		}
	}
	puts("attached");
	fflush(stdout);
	pause();
	return 0;
}
