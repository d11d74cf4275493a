# SPDX-License-Identifier: MIT
"""A core file, read as far as the tests compare two of them."""

import os
import struct

PT_LOAD, PT_NOTE, PN_XNUM = 1, 4, 0xffff
NT_PRSTATUS, NT_AUXV, NT_FILE, NT_SIGINFO = 1, 6, 0x46494c45, 0x53494749
NT_X86_XSTATE = 0x202


class Core:
    def __init__(self, path):
        self.file = open(path, "rb")
        head = self.file.read(64)
        assert head[:4] == b"\x7fELF" and head[4] == 2, f"not a 64-bit ELF file: {path}"
        self.type, = struct.unpack_from("<H", head, 16)
        assert self.type == 4, f"{path} is ELF type {self.type}, not a core"
        offset, section_offset = struct.unpack_from("<QQ", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        if count == PN_XNUM:
            self.file.seek(section_offset)
            count, = struct.unpack_from("<I", self.file.read(64), 44)
        self.file.seek(offset)
        table = self.file.read(size * count)
        self.loads, self.notes = [], []
        for i in range(count):
            kind, flags, at, address, _, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", table, i * size)
            if kind == PT_LOAD:
                self.loads.append((address, memsz, at, filesz, flags))
            elif kind == PT_NOTE:
                self.notes += self._parse_notes(at, filesz)
        self.size = os.fstat(self.file.fileno()).st_size

    def _parse_notes(self, at, size):
        self.file.seek(at)
        data, position, notes = self.file.read(size), 0, []
        while position + 12 <= len(data):
            name_size, desc_size, kind = struct.unpack_from("<III", data, position)
            name = data[position + 12:position + 12 + name_size].rstrip(b"\0").decode(errors="replace")
            start = position + 12 + (name_size + 3 & ~3)
            notes.append((name, kind, data[start:start + desc_size]))
            position = start + (desc_size + 3 & ~3)
        return notes

    def note(self, name, kind=None):
        return [d for n, k, d in self.notes if n == name and (kind is None or k == kind)]

    def threads(self):
        """tids, in the order of the notes"""
        return [struct.unpack_from("<i", d, 32)[0] for d in self.note("CORE", NT_PRSTATUS)]

    def contains(self, address, size=1):
        return any(a <= address and address + size <= a + filesz for a, _, _, filesz, _ in self.loads)

    def maps(self, address):
        """Whether the file speaks of the address, though it may hold no bytes for it."""
        return any(a <= address < a + memsz for a, memsz, _, _, _ in self.loads)

    def read(self, address, size):
        """SIZE bytes, None where the file has none of them."""
        for start, _, at, filesz, _ in self.loads:
            if start <= address < start + filesz:
                size = min(size, start + filesz - address)
                self.file.seek(at + address - start)
                return self.file.read(size)
        return None

    def pages(self):
        """(address, bytes) of every page that the file holds."""
        for start, _, at, filesz, _ in self.loads:
            for done in range(0, filesz, 1 << 20):
                self.file.seek(at + done)
                block = self.file.read(min(1 << 20, filesz - done))
                for i in range(0, len(block), 4096):
                    yield start + done + i, block[i:i + 4096]


def differences(reference, other, limit=5):
    """Pages of REFERENCE that OTHER does not have, or has differently. Memory that was never touched may be in a
    segment without bytes in the file: debuggers read it as zeros."""
    found = []
    for address, page in reference.pages():
        same = other.read(address, len(page)) == page
        if not same and not (other.maps(address) and not other.contains(address) and not page.strip(b"\0")):
            found.append(hex(address))
            if len(found) >= limit:
                break
    return found
