"""How many images a file should hold, and whether it does. Pure."""

from edge.results.channel import MAX_ROWS, Channel
from edge.results.survey import Survey
from streams.codecs.results import SeriesEnded


def expected_images(found: Survey) -> int | None:
    """Images per channel that were to come, None where nobody said or no file could hold as many.

    The end notice counts over all channels; where it does not say how many a channel gets, only a series of one
    channel can be told.
    """
    arrivals = found.ended.arrivals if found.ended else {}
    images = arrivals.get("images")
    if images is None and _channels(found) == 1:
        images = arrivals.get("expected")
        if images is None and found.started is not None:
            images = found.started.expected
    return images if images is not None and 0 <= images <= MAX_ROWS else None


def rows_of(channel: Channel, found: Survey) -> int:
    """Rows of a channel's datasets: all images that were expected, and all that came."""
    return max(len(channel.rows(found.first_image)), expected_images(found) or 0)


def file_verdict(found: Survey) -> str:
    """ "complete", "incomplete" or "unknown": what this file can claim, never more than the data plane's own verdict.

    Complete: the series was closed as complete and every published result has its row. Where edge serve was started
    anew within the series, its last account covers it only if it went through all images again, as from a capture;
    else every expected image must have its row.
    """
    stored = sum(channel.stored for channel in found.channels.values())
    lost = found.damaged_bytes or any(reason != "repeat" for reason in found.refused)
    if found.ended is None:
        return "incomplete" if lost else "unknown"
    if len(found.origins) > 1:
        every_row = _channels(found) == 1 and stored == expected_images(found)
        return "complete" if not lost and (every_row or _covers_all(found.ended, stored)) else "incomplete"
    if lost or stored != found.published.total():
        return "incomplete"
    return found.ended.verdict if found.ended.verdict in ("complete", "incomplete") else "unknown"


def _covers_all(ended: SeriesEnded, stored: int) -> bool:
    """Whether the last start of edge serve saw every image, and all that it published is in the file.

    So a route that leaves out images, by their channel or by a result, can be complete after a crash.
    """
    expected, account = ended.arrivals.get("expected"), ended.account
    went_through = expected is not None and account.get("received") == expected
    return went_through and ended.verdict == "complete" and account.get("published") == stored


def _channels(found: Survey) -> int:
    missing = found.ended.missing if found.ended else {}
    unwanted = (found.ended.account.get("unwanted") or 0) if found.ended else 0
    return len(set(found.channels) | set(missing)) + bool(unwanted)
