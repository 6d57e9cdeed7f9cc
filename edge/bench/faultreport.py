"""What `edge bench faults` prints: a table of protocols and faults."""

from collections.abc import Sequence

from rich.table import Table

from edge.bench.faults import Cell
from edge.bench.faulttable import SYMBOLS, Kind


def table(found: Sequence[Cell]) -> Table:
    """One row a fault, one column a protocol."""
    protocols = list(dict.fromkeys(cell.protocol for cell in found))
    shown = Table("fault", *protocols, box=None, padding=(0, 2))
    for fault, cells in _by_fault(found).items():
        shown.add_row(fault, *(_cell(cells[protocol]) for protocol in protocols))
    return shown


def legend() -> str:
    """What the symbols mean."""
    return "; ".join(f"{symbol} {kind}" for kind, symbol in SYMBOLS.items())


def markdown(found: Sequence[Cell]) -> str:
    """The table of streams/README.md, each kind with its reason."""
    protocols = list(dict.fromkeys(cell.protocol for cell in found))
    lines = [
        f"| fault | {' | '.join(f'`{name}`' for name in protocols)} | how, or why not |",
        "| --- " * (len(protocols) + 2) + "|",
    ]
    for fault, cells in _by_fault(found).items():
        symbols = " | ".join(SYMBOLS[cells[protocol].declared.kind] for protocol in protocols)
        reasons = dict.fromkeys(
            cells[protocol].declared.reason
            for protocol in protocols
            if cells[protocol].declared.kind is not Kind.ABSENT
        )
        lines.append(f"| `{fault}` | {symbols} | {'; '.join(reasons)} |")
    return "\n".join([*lines, "", legend()])


def _by_fault(found: Sequence[Cell]) -> dict[str, dict[str, Cell]]:
    faults: dict[str, dict[str, Cell]] = {}
    for cell in found:
        faults.setdefault(cell.fault, {})[cell.protocol] = cell
    return faults


def _cell(cell: Cell) -> str:
    symbol = SYMBOLS[cell.declared.kind]
    if not cell.runs:
        return symbol
    wrong = len({mismatch.seed for mismatch in cell.mismatches})
    return f"{symbol} [red]{wrong} of {cell.runs} wrong[/]" if wrong else f"{symbol} ok"
