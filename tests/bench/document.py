# SPDX-License-Identifier: MIT
"""Where a benchmark's tables stand in a document: between two marks that name its make target."""

import pathlib


def write(path, target, lines):
    """Puts LINES in the place of what stands there."""
    begin, end = f"<!-- make {target}: begin -->", f"<!-- make {target}: end -->"
    path = pathlib.Path(path)
    head, rest = path.read_text().split(begin)
    path.write_text(head + "\n".join([begin, *lines, end]) + rest.split(end)[1])
