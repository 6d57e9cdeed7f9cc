import os

import pytest

from edge.bench.sizing.proc import TICKS_PER_S, Memory, NoProcess, cpu_s, memory, parse_stat, parse_status

STAT = "4711 (edge) serve (1) S 1 " + " ".join(str(number) for number in range(5, 53))
STATUS = """Name:\tpython
State:\tS (sleeping)
VmPeak:\t  999999 kB
VmRSS:\t  120000 kB
RssAnon:\t   60000 kB
RssFile:\t   44000 kB
RssShmem:\t   16000 kB
Threads:\t7
"""


def test_a_name_may_hold_parentheses_and_spaces():
    assert parse_stat(STAT) == pytest.approx((14 + 15) / TICKS_PER_S)  # utime and stime are the fields 14 and 15


def test_resident_memory_by_kind():
    assert parse_status(STATUS) == Memory(120_000 << 10, 60_000 << 10, 16_000 << 10, 44_000 << 10)


def test_an_old_kernel_tells_no_kinds():
    assert parse_status("VmRSS:\t 5 kB\n") == Memory(5 << 10, 0, 0, 0)


def test_a_zombie_has_no_memory():
    with pytest.raises(NoProcess):
        parse_status("Name:\tpython\nState:\tZ (zombie)\n")


def test_our_own():
    assert cpu_s(os.getpid()) > 0
    seen = memory(os.getpid())
    assert seen.resident == seen.anonymous + seen.shared + seen.file > 0


def test_a_process_that_is_not_there():
    with pytest.raises(NoProcess, match="process 999999999 has ended"):
        cpu_s(999_999_999)
