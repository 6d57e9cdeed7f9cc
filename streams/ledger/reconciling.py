"""What did not arrive, held against what the detector says it dropped."""

import msgspec


class Reconciled(msgspec.Struct, frozen=True):
    """Exposures that did not arrive, by where they were lost; `missing = explained + lost`."""

    explained: int  # the detector dropped them: nobody fetched them in time
    lost: int  # not dropped by it: lost on the way, taken by another consumer, or never exposed (a series cut short)
    beyond: int  # dropped by its count, but not known to be missing: from before we listened, or beyond the last image


def reconcile(missing: int, detector_dropped: int) -> Reconciled:
    """Hold `missing` exposures against SIMPLON's `stream/status/dropped`.

    The counter says how many, not which (SIMPLON API 1.8: "images dropped as not requested", reset by arm), so drops
    explain as much of what is missing as they can.

    Raises:
        ValueError: a negative number.
    """
    if missing < 0 or detector_dropped < 0:
        raise ValueError(f"{missing} missing and {detector_dropped} dropped: neither can be negative")
    explained = min(missing, detector_dropped)
    return Reconciled(explained, missing - explained, detector_dropped - explained)
