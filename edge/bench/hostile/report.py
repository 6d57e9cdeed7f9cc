"""What `edge bench hostile` leaves."""

from collections import Counter

from rich.table import Table

from edge.bench.hostile.run import Measured
from edge.bench.rows import Row

ARENAS_MIB = 128
"""Memory that allocators keep for threads and connections, which come in bursts: a short run is not judged by it."""

MEMORY_RATIO = 1.05
"""Memory afterwards over that half way: what allocators keep of a flood they have by then."""

PEAK_MIB = 512
"""More than before, meanwhile. ZeroMQ takes parts of any size up to its limits before it knows what they are."""

MORE_DESCRIPTORS = 16


def rows(measured: Measured) -> list[Row]:
    """The numbers in the common form."""
    before, most, half_way, after = (nbytes / 2**20 for nbytes in measured.memory)
    judged = measured.judged
    found = [
        Row("died", len(measured.died), "1", None, [" ".join(each.argv[:5]) for each in measured.died]),
        Row("ports", len(measured.ports), "1", None, _named(measured)),
        Row("ports_closed", len(measured.closed), "1"),
        Row("let_in", len(measured.let_in), "1", None, measured.let_in),
        Row("attacks", measured.attacks.total(), "1", None, dict(_by_attack(measured))),
        Row("connections", measured.connections, "1"),
        Row("results_due", judged.frames, "1"),
        Row("results", judged.results, "1"),
        Row("unaccounted", judged.unaccounted, "1"),
        Row("duplicates", judged.duplicates, "1"),
        Row("lost", judged.lost.total(), "1", None, dict(judged.lost)),
        Row("series_incomplete", _incomplete(measured), "1", None, dict(measured.verdicts)),
        Row("memory_growth_ratio", round(after / half_way, 4) if half_way else None, "1", None, {"bar": MEMORY_RATIO}),
        Row("memory", round(after, 1), "MiB", (round(before, 1), round(most, 1)), _memory(measured)),
        Row("descriptors", measured.descriptors[3], "1", (measured.descriptors[0], measured.descriptors[1])),
        Row("duration", round(measured.seconds, 1), "s"),
    ]
    return [*found, *(Row(f"counted/{name}", value, "1") for name, value in sorted(measured.counters.items()))]


def table(measured: Measured) -> Table:
    """What was attacked, for people."""
    made = Table("port", "process", "bursts", "by attack", box=None, padding=(0, 2))
    for port in measured.ports:
        bursts = {name: count for (name, number), count in measured.attacks.items() if number == port.number}
        told = ", ".join(f"{name} {count}" for name, count in sorted(bursts.items()))
        made.add_row(str(port.number), port.owner.role or port.owner.argv[0], str(sum(bursts.values())), told)
    return made


def summary(measured: Measured) -> list[str]:
    """What belongs below it."""
    before, most, half_way, after = (nbytes / 2**20 for nbytes in measured.memory)
    judged = measured.judged
    return [
        f"{measured.connections} connections in {measured.seconds:.0f} s; {judged.results} of {judged.frames} results "
        f"due came once; memory {before:.0f} MiB before, {most:.0f} at most, {half_way:.0f} half way, {after:.0f} "
        f"afterwards; open files {', '.join(map(str, measured.descriptors))}",
        "counted: "
        + (", ".join(f"{name} {value:g}" for name, value in sorted(measured.counters.items())) or "nothing"),
    ]


def failures(measured: Measured) -> list[str]:
    """Why the promise is not kept; empty where it is."""
    before, most, half_way, after = measured.memory
    judged = measured.judged
    found = [f"{each.role or 'a process'} died ({' '.join(each.argv[:5])})" for each in measured.died]
    found += [f"nobody listens at port {port.number} any more" for port in measured.closed]
    found += [f"Triton did this for a stranger: {what}" for what in measured.let_in]
    found += judged.examples[:3]
    found += [f"{judged.lost.total()} results lost: {dict(judged.lost)}"] if judged.lost.total() else []
    found += (
        [f"{_incomplete(measured)} series are not complete: {dict(measured.verdicts)}"] if _incomplete(measured) else []
    )
    found += [f"{judged.undelivered} results were not handed out"] if judged.undelivered else []
    found += ["no result came at all"] if not judged.results else []
    if after > max(MEMORY_RATIO * half_way, half_way + (ARENAS_MIB << 20)):
        found.append(f"memory grew from {half_way >> 20} to {after >> 20} MiB: {_memory(measured)}")
    if most - before > PEAK_MIB << 20:
        found.append(f"memory grew to {most >> 20} MiB meanwhile, from {before >> 20}")
    if measured.descriptors[3] > measured.descriptors[0] + MORE_DESCRIPTORS:
        found.append(f"{measured.descriptors[3]} open files afterwards, {measured.descriptors[0]} before")
    found += ["no counter tells of it"] if not measured.counters else []
    found += [f"not ready afterwards: {measured.not_ready}"] if measured.not_ready else []
    return [*found, *measured.agent_failures[:3]]


def _memory(measured: Measured) -> dict[str, str]:
    """MiB of the processes before, half way and afterwards, by what they are."""
    roles = sorted({role for look in measured.by_role for role in look})
    return {role: ", ".join(str(look.get(role, 0) >> 20) for look in measured.by_role) for role in roles}


def _by_attack(measured: Measured) -> Counter[str]:
    found: Counter[str] = Counter()
    for (name, _), count in measured.attacks.items():
        found[name] += count
    return found


def _named(measured: Measured) -> list[str]:
    return [f"{port.number} of {port.owner.role or port.owner.argv[0]}" for port in measured.ports]


def _incomplete(measured: Measured) -> int:
    return sum(count for verdict, count in measured.verdicts.items() if verdict != "complete")
