# SPDX-License-Identifier: MIT
"""System calls that a capture interrupts: none returns anything else than it would have, nor at another time."""

import time

from harness import slow, timeout
from survivor import Calls, dump

PATTERN = False
ALONE = True
MS = 100  # what each call takes
SLACK_MS = 40  # of a machine with other things to do
# As many of the calls may be later than that, since a scheduler promises nothing. Calls that began again in full would
# be late by anything up to MS: three of five of them by more than the slack.
OUTLIERS = 0.15

# Those whose timeout the kernel reads again from memory, or from the socket, when the call is made again.
IN_MEMORY = {"recv_timeout", "semtimedop", "sigtimedwait", "epoll_pwait2"}
KINDS = ["nanosleep", "clock_nanosleep", "poll", "ppoll", "select", "futex", "epoll_wait", "recv", "read", "compute",
         *sorted(IN_MEMORY)]


def judge(target, captured):
    """What was wrong with the calls of a target that was captured at these times: (list, share of late ones)."""
    wrong, hit, late = [], 0, []
    for began, ended, result in target.log():
        captures = sum(1 for start, end in captured if start < ended and end > began)
        took = (ended - began) / 1e6
        allowed = target.ms * (1 + (captures if target.kind in IN_MEMORY else 0)) + SLACK_MS
        allowed += captures * 5  # the pauses
        if target.kind == "compute":  # gets as much of the processors as others leave it
            allowed *= 4
        if result != target.expected:
            wrong.append(f"returned {result} instead of {target.expected} after {took:.1f} ms, {captures} captures")
        if took < target.ms - 1.5:
            wrong.append(f"took {took:.1f} ms instead of {target.ms}")
        if captures:
            hit += 1
            late += [took] if took > allowed else []
    if len(late) > max(1, OUTLIERS * hit):
        wrong.append(f"{len(late)} of {hit} that were captured came late: after {[round(x) for x in late[:8]]} ms")
    return wrong, hit


def captured_in_calls(t, rounds, kinds=KINDS):
    targets = [Calls(t, kind, MS) for kind in kinds]
    times = {target.kind: [] for target in targets}
    failed = []
    for i in range(rounds):
        for target in targets:
            start = time.monotonic_ns()
            done = dump(target.pid, *(["--snapshot", "stop"] if i % 10 == 9 else []))
            times[target.kind].append((start, time.monotonic_ns()))
            if done.returncode:
                failed.append(f"{target.kind}: status {done.returncode}: {done.stderr[-200:]}")
    assert not failed, f"{len(failed)} captures failed: {failed[:3]}"
    wrong = []
    for target in targets:
        target.goes_on()
        if harm := target.unharmed():
            wrong.append(harm)
        bad, hit = judge(target, times[target.kind])
        wrong += [f"{target.kind}: {b}" for b in bad[:4]]
        t.log(f"{target.kind}: {rounds} captures, {hit} of {target.count()} calls hit, {len(bad)} wrong")
        assert hit >= rounds / 3, f"{target.kind}: only {hit} calls were captured"
        target.finish()
    assert not wrong, "\n  ".join(["", *wrong])


@timeout(120)
def test_forty_captures_of_each_call(t):
    captured_in_calls(t, 40)


@slow
@timeout(1800)
def test_thousand_captures_of_each_call(t):
    captured_in_calls(t, 1000)
