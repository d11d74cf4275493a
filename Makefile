# SPDX-License-Identifier: MIT
# make, make check, make unit, make system, make install DESTDIR= PREFIX=/usr; V=1 shows the commands.

PREFIX  ?= /usr/local
BUILD   ?= build
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)
JOBS    ?= $(shell nproc)
ARCH    := $(shell uname -m)
BPF_ARCH := $(subst x86_64,x86,$(subst aarch64,arm64,$(ARCH)))
VERSION := 0.1.0

LIBS    := libbpf libelf libdw capstone zlib libzstd jansson yaml-0.1 libseccomp libcap
CFLAGS  ?= -O2 -g
HARDEN  ?= -fstack-protector-strong -D_FORTIFY_SOURCE=2
WARN    := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Werror
LANGUAGE = -std=gnu11 -D_GNU_SOURCE -DCORETRAP_VERSION='"$(VERSION)"' -Iuser -Ibpf -I$(GENERATED)
ALL_CFLAGS = $(LANGUAGE) $(WARN) $(HARDEN) -fPIE -pthread $(CFLAGS)
ALL_LDFLAGS = -pie -pthread -Wl,-z,relro,-z,now $(LDFLAGS)
LDLIBS  = $(shell pkg-config --libs $(LIBS))

# The sanitized and the fuzzed builds take the skeleton that the plain one made.
GENERATED ?= $(BUILD)

SOURCES := $(sort $(wildcard user/*.c user/*/*.c))
HEADERS := $(sort $(wildcard user/*/*.h bpf/*.h))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(filter-out $(BUILD)/user/main.o,$(OBJECTS))
BPF_SOURCES := $(sort $(wildcard bpf/*.bpf.c))
BPF_OBJECTS := $(BPF_SOURCES:%.c=$(GENERATED)/%.o)
SKELETON := $(GENERATED)/coretrap.skel.h $(GENERATED)/sample.skel.h $(GENERATED)/request.skel.h \
	$(GENERATED)/function.skel.h $(GENERATED)/stall.skel.h
UNIT_SOURCES := $(sort $(wildcard tests/unit/*.c))
UNIT_OBJECTS := $(UNIT_SOURCES:%.c=$(BUILD)/%.o)
UNIT := $(if $(UNIT_SOURCES),$(BUILD)/tests/unit/run)
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZERS := $(FUZZ_SOURCES:tests/fuzz/%.c=$(BUILD)/tests/fuzz/%)
FUZZ_SECONDS ?= 10
SCRIPTS := $(wildcard scripts/* tests/run-unit tests/run-fuzz .ci/run)

ifneq ($(V),1)
QUIET = @printf '  %-7s %s\n' "$(1)" "$(2)";
Q := @
endif

all: $(BUILD)/coretrap

$(BUILD)/coretrap: $(OBJECTS)
	$(call QUIET,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# What the tests link against: everything but main().
$(BUILD)/libcoretrap.a: $(LIBRARY)
	$(Q)rm -f $@
	$(call QUIET,AR,$@)$(AR) rcs $@ $^

# The Makefile is a prerequisite because it holds the flags.
$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call QUIET,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(filter $(BUILD)/user/probe/%,$(OBJECTS)): | $(SKELETON)
$(UNIT_OBJECTS): | $(SKELETON)

$(GENERATED)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	@mkdir -p $(@D)
	$(call QUIET,BPF,$<)$(CLANG) -target bpf -D__TARGET_ARCH_$(BPF_ARCH) -g -O2 -mcpu=v3 \
		-Wall -Wextra -Wno-unused-parameter -Wno-unused-function -Werror -Ivmlinux/$(ARCH) -Ibpf \
		-idirafter /usr/include/$(ARCH)-linux-gnu -MMD -MP -c -o $@ $<

# One object of all programs that are loaded together. The others run without them.
ALONE := sample request function stall
$(GENERATED)/coretrap.bpf.o: $(filter-out $(ALONE:%=$(GENERATED)/bpf/%.bpf.o),$(BPF_OBJECTS))
	$(call QUIET,BPFOBJ,$@)$(BPFTOOL) gen object $@ $^

$(ALONE:%=$(GENERATED)/%.bpf.o): $(GENERATED)/%.bpf.o: $(GENERATED)/bpf/%.bpf.o
	$(call QUIET,BPFOBJ,$@)$(BPFTOOL) gen object $@ $^

$(GENERATED)/%.skel.h: $(GENERATED)/%.bpf.o
	$(call QUIET,SKEL,$@)$(BPFTOOL) gen skeleton $< name $*_bpf > $@.new
	$(Q)mv $@.new $@

install: all
	install -D -m 0755 $(BUILD)/coretrap $(DESTDIR)$(PREFIX)/bin/coretrap
	ln -sf coretrap $(DESTDIR)$(PREFIX)/bin/coretrap-procdump
	install -D -m 0644 docs/coretrap.1 $(DESTDIR)$(PREFIX)/share/man/man1/coretrap.1

# Static checks. clang-tidy looks again only at what has changed since it was last content.
check: check-format check-tidy check-cppcheck check-includes check-style

check-format:
	$(call QUIET,FORMAT,sources)clang-format --dry-run -Werror \
		$(SOURCES) $(HEADERS) $(BPF_SOURCES) $(wildcard tests/*/*.[ch])

# A changed header concerns every file.
TIDY = $(if $(filter-out %.c,$?),$(SOURCES),$?)

check-tidy: $(BUILD)/tidy.ok

$(BUILD)/tidy.ok: $(SOURCES) $(HEADERS) .clang-tidy | $(SKELETON)
	@mkdir -p $(@D)
	$(call QUIET,TIDY,$(words $(TIDY)) files)printf '%s\n' $(TIDY) | xargs -P $(JOBS) -I{} \
		sh -c 'clang-tidy --quiet {} -- $(subst ','\'',$(LANGUAGE)) 2>/dev/null'
	$(Q)touch $@

# cppcheck does not see the cleanup attribute either: leaks are LeakSanitizer's business.
check-cppcheck:
	@mkdir -p $(BUILD)/cppcheck
	$(call QUIET,CPPCHK,user)cppcheck --quiet --std=c11 --enable=warning,performance,portability \
		--inline-suppr --suppress=memleak --suppress=resourceLeak --error-exitcode=1 \
		-j$(JOBS) --cppcheck-build-dir=$(BUILD)/cppcheck -Iuser -Ibpf user

check-includes:
	$(call QUIET,INCLUDE,user)scripts/check-includes

check-style:
	$(call QUIET,STYLE,sources)scripts/check-style

# Unit tests: one Criterion program, so that one line sums them up.
unit: $(UNIT)
	$(Q)tests/run-unit $(UNIT)

$(BUILD)/tests/unit/run: $(UNIT_OBJECTS) $(BUILD)/libcoretrap.a
	$(call QUIET,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcriterion $(LDLIBS)

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# FORTIFY_SOURCE would hide from the sanitizer what it checks itself.
unit-asan: $(SKELETON)
	$(Q)$(MAKE) --no-print-directory unit BUILD=$(BUILD)/asan GENERATED=$(GENERATED) HARDEN= \
		CFLAGS="-O1 -g $(SANITIZE)"

# gcc holds the warnings; clang would add its own about macros of other people's headers.
fuzz: $(SKELETON)
	$(Q)$(MAKE) --no-print-directory fuzz-run BUILD=$(BUILD)/fuzz GENERATED=$(GENERATED) HARDEN= \
		CC=$(CLANG) WARN=-Wall CFLAGS="-O1 -g -fsanitize=fuzzer-no-link $(SANITIZE)"

fuzz-run: $(FUZZERS)
	$(Q)tests/run-fuzz $(FUZZ_SECONDS) $(JOBS) $(FUZZERS)

$(FUZZERS): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libcoretrap.a
	$(call QUIET,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

# A build that can be killed at each step, and whoever does it; FAULTS=short: one kill a step.
faults: $(SKELETON) targets
	$(Q)$(MAKE) --no-print-directory all BUILD=$(BUILD)/faults GENERATED=$(GENERATED) \
		CFLAGS="$(CFLAGS) -DFAULT_POINTS"
	$(Q)CORETRAP=$(abspath $(BUILD))/faults/coretrap CORETRAP_TARGETS=$(abspath $(BUILD))/tests/targets \
		tests/run-faults $(FAULTS)

targets: $(BUILD)/tests/targets/inflight
	$(Q)$(MAKE) --no-print-directory -C tests/targets OUT=$(abspath $(BUILD))/tests/targets

# The one helper of the tests that is made of what it tests.
$(BUILD)/tests/targets/inflight: tests/targets/inflight.c $(BUILD)/libcoretrap.a Makefile
	@mkdir -p $(@D)
	$(call QUIET,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter-out Makefile,$^) $(LDLIBS)

system: all targets
	$(Q)CORETRAP=$(abspath $(BUILD))/coretrap CORETRAP_TARGETS=$(abspath $(BUILD))/tests/targets tests/system/run --pairs

# The same system tests under the oldest kernel supported and the distribution's current one.
vm: all targets
	$(Q)scripts/vm-test 5.10 6.12

# Captures against other dumpers. SIZES="64 1024", REPEAT=3, BENCH_PEERS="gcore;COMMAND {out} {pid}" (or PEERS=), BENCH_DIR:
# tests/bench/run. Only a run of all sizes writes its tables to the document.
BENCH_VARIABLES = $(foreach v,SIZES REPEAT BENCH_PEERS BENCH_DIR,$(if $($(v)),$(v)='$($(v))'))

bench: BENCH_PEERS ?= $(PEERS)
bench: all $(BUILD)/tests/bench/target
	$(Q)CORETRAP=$(abspath $(BUILD))/coretrap BENCH_TARGET=$(abspath $(BUILD))/tests/bench/target \
		BENCH_DOC=docs/PERFORMANCE.md $(BENCH_VARIABLES) tests/bench/run

$(BUILD)/tests/bench/target: tests/bench/target.c Makefile
	@mkdir -p $(@D)
	$(call QUIET,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -pthread -o $@ $<

# What sampling costs beside reading /proc: 1,000 and 10,000 processes, a minute.
bench-sampler: $(BUILD)/tests/bench/sampler
	$(Q)BENCH_DOC=docs/PERFORMANCE.md tests/bench/sampler $<

$(BUILD)/tests/bench/sampler: tests/bench/sampler.c $(BUILD)/libcoretrap.a
	@mkdir -p $(@D)
	$(call QUIET,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# What armed rules cost the processes that they are not about: ten minutes, most of them pairs.
bench-pipe: all
	$(Q)CORETRAP=$(abspath $(BUILD))/coretrap BENCH_DOC=docs/PERFORMANCE.md tests/bench/pipe

# What watching a server for slow requests costs it, and others: nginx under wrk, six minutes.
bench-requests: all $(BUILD)/tests/bench/empty
	$(Q)CORETRAP=$(abspath $(BUILD))/coretrap BENCH_EMPTY=$(abspath $(BUILD))/tests/bench/empty \
		BENCH_DOC=docs/PERFORMANCE.md tests/bench/requests

$(BUILD)/tests/bench/empty: tests/bench/empty.c Makefile
	@mkdir -p $(@D)
	$(call QUIET,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -o $@ $< -lbpf

clean:
	rm -rf $(BUILD)

.PHONY: all install check check-format check-tidy check-cppcheck check-includes check-style unit unit-asan fuzz \
	fuzz-run faults targets system vm bench \
	bench-sampler bench-pipe bench-requests clean
.DELETE_ON_ERROR:
.SECONDARY: $(FUZZ_SOURCES:%.c=$(BUILD)/%.o)
-include $(OBJECTS:.o=.d) $(BPF_OBJECTS:.o=.d) $(UNIT_OBJECTS:.o=.d) $(FUZZ_SOURCES:%.c=$(BUILD)/%.d)
