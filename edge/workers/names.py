"""The name of a series whose unique id the detector used before: every process finds the same one by itself. Pure.

A detector that begins anew under a unique id that it used already tells one worker of it, and the images of both series
carry the same id. The second one is named after the id and the date of its arming, so a worker that never heard of the
first, and whoever gathers, mean the same series.
"""

from hashlib import sha256

from msgspec.structs import replace

from streams.ledger.book import ARMING_DATES
from streams.messages import SeriesStart


def armed(start: SeriesStart) -> object:
    """The date of the arm command; None where the start does not tell it."""
    return next((start.header[name] for name in ARMING_DATES if name in start.header), None)


def second(start: SeriesStart) -> SeriesStart:
    """The start of a series whose unique id was used before, under its own name."""
    return replace(start, series_uid=start.series_uid + _suffix(start))


def first_name(start: SeriesStart) -> str:
    """The unique id that `second` was told; "" where the series has the name that is on the wire."""
    suffix = _suffix(start)
    return start.series_uid.removesuffix(suffix) if start.series_uid.endswith(suffix) else ""


def _suffix(start: SeriesStart) -> str:
    return "~" + sha256(str(armed(start)).encode()).hexdigest()[:8]
