"""A model card for people: tables of a terminal, and of a page in Markdown."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from edge.models.card import Card, Figure, Span, Validity, card_bytes


def as_json(card: Card) -> str:
    """The card as it is kept."""
    return card_bytes(card).decode().rstrip()


def tables(card: Card, version: int, folder: str) -> Iterator[Table]:
    """What it is and where it holds; how good it was found to be, where that was measured."""
    facts = Table(title=f"{card.model} {version}", show_header=False, title_justify="left", box=None, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(card):
        facts.add_row(name, escape(value))
    facts.add_row("folder", escape(folder))
    yield facts
    if card.measured is not None:
        machine = ", ".join(f"{name} {value}" for name, value in card.measured.machine.items())
        measured = Table("figure", "value", "95 %", "bar", "", "what", title=escape(card.measured.command))
        measured.caption = escape(machine)
        for figure in card.measured.figures:
            measured.add_row(*map(escape, _figure(figure)))
        yield measured


def markdown(card: Card) -> str:
    """What was learned and where it holds, and every figure that was held against a bar: for a page."""
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in _facts(card)]
    if card.measured is not None:
        lines += ["", "| figure | value | 95 % | asked for | | what |", "| --- | --- | --- | --- | --- | --- |"]
        held = [figure for figure in card.measured.figures if figure.bar]
        lines += [f"| {' | '.join(_cell(cell) for cell in _figure(figure))} |" for figure in held]
        machine = card.measured.machine
        where = f"{machine.get('cpu')}, {machine.get('cores')} cores"
        lines += [
            "",
            f"Printed by `{card.measured.command}`; measured on {where}. All figures: `edge models card {card.model}`.",
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    yield "learned from", "\n".join(card.data)
    yield "kept apart", card.split
    yield "parameters", f"{card.parameters:,}"
    yield "training", ", ".join(f"{name} {_short(value)}" for name, value in card.training.items())
    yield "ONNX - torch", f"{card.onnx_minus_torch:.2g}"
    yield "holds for", "\n".join(ranges(card.valid)) or "nothing is stated, so no series is judged by it"
    if card.measured is None:
        yield "figures", f"none measured: `edge evaluate {card.model} --card` writes them here"


def ranges(valid: Validity) -> Iterator[str]:
    """The range of validity, a line a quantity."""
    if valid.frame_shape is not None:
        yield f"frames of {valid.frame_shape[0]} x {valid.frame_shape[1]} pixels"
    if valid.counts_per_frame is not None:
        yield f"{_span(valid.counts_per_frame, 1)} counts a frame"
    if valid.energy_ev is not None:
        yield f"photons of {_span(valid.energy_ev, 1e-3)} keV"
    if valid.object_pixel_m is not None:
        yield f"a pixel of {_span(valid.object_pixel_m, 1e9)} nm in the object"
    if valid.probe_sha256 is not None:
        yield f"the probe in probe.npy ({valid.probe_sha256[:12]}); no series tells its probe, so that is yours to know"


def _figure(figure: Figure) -> tuple[str, ...]:
    value = "not run" if figure.value is None else f"{figure.value:.4g} {figure.unit}".removesuffix(" 1")
    interval = "" if figure.interval is None else f"{figure.interval[0]:.4g} to {figure.interval[1]:.4g}"
    kept = {None: "", True: "kept", False: "missed"}[figure.kept]
    return figure.name, value, interval, figure.bar, kept, figure.what


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _span(span: Span, scale: float) -> str:
    low, high = f"{span.low * scale:.4g}", f"{span.high * scale:.4g}"
    return low if low == high else f"{low} to {high}"
