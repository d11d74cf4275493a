# SPDX-License-Identifier: MIT
# make, make check, make unit, make system, make install DESTDIR= PREFIX=/usr

PREFIX  ?= /usr/local
BUILD   ?= build
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)
ARCH    := $(shell uname -m)
BPF_ARCH := $(subst x86_64,x86,$(subst aarch64,arm64,$(ARCH)))
VERSION := 0.1.0

LIBS    := libbpf libelf libdw zlib libzstd jansson libseccomp libcap
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Werror
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DCORETRAP_VERSION='"$(VERSION)"' $(WARN) -Iuser -Ibpf -I$(BUILD) \
	-fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE -pthread $(CFLAGS)
ALL_LDFLAGS = -pie -pthread -Wl,-z,relro,-z,now $(LDFLAGS)
LDLIBS  = $(shell pkg-config --libs $(LIBS))

SOURCES := $(sort $(wildcard user/*.c user/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(filter-out $(BUILD)/user/main.o,$(OBJECTS))
BPF_SOURCES := $(sort $(wildcard bpf/*.bpf.c))
BPF_OBJECTS := $(BPF_SOURCES:%.c=$(BUILD)/%.o)
SKELETON := $(BUILD)/coretrap.skel.h

all: $(BUILD)/coretrap

$(BUILD)/coretrap: $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# What the tests link against: everything but main().
$(BUILD)/libcoretrap.a: $(LIBRARY)
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/user/probe/%.o: | $(SKELETON)

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) -target bpf -D__TARGET_ARCH_$(BPF_ARCH) -g -O2 -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Wno-unused-function -Werror \
		-Ivmlinux/$(ARCH) -Ibpf -idirafter /usr/include/$(ARCH)-linux-gnu -MMD -MP -c -o $@ $<

# One object of all programs: maps are shared, and user space loads one skeleton.
$(BUILD)/coretrap.bpf.o: $(BPF_OBJECTS)
	$(BPFTOOL) gen object $@ $^

$(SKELETON): $(BUILD)/coretrap.bpf.o
	$(BPFTOOL) gen skeleton $< name coretrap_bpf > $@.new
	mv $@.new $@

clean:
	rm -rf $(BUILD)

.PHONY: all clean
.DELETE_ON_ERROR:
-include $(OBJECTS:.o=.d) $(BPF_OBJECTS:.o=.d)
