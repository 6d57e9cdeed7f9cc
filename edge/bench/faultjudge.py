"""The account of one run, held against the truth about it."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from edge.bench.faultrun import Account, Key, Outcome
from edge.bench.faulttable import Declared, Kind
from streams.codecs import PROTOCOLS
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Simulation
from streams.simulation.truth import SeriesTruth

SHAPE = (12, 20)


def picture(image_id: int, channel: str) -> np.ndarray:
    """No two images are alike; uint16 [12, 20]."""
    ramp = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint32).reshape(SHAPE)
    return ((ramp * 7 + image_id * 31 + len(channel) * 1009) % 50_000).astype(np.uint16)


class Judge:
    """Compares accounts with the truth of one run."""

    def __init__(self, simulation: Simulation, expected: Declared, fault: str, told: bool) -> None:
        self._acquisition = simulation.acquisition
        self._traits = PROTOCOLS[simulation.protocol]
        self._expected = expected
        self._fault = fault
        self._told = told

    def differences(self, truths: list[SeriesTruth], outcome: Outcome, messages: Sequence[OnWire]) -> Iterator[str]:
        damaged = sum(bool(message.damage) for message in messages)
        if outcome.malformed > damaged:
            yield f"{outcome.malformed} messages were called malformed, {damaged} were"
        if self._expected.wild:
            yield from self._nothing_false(truths, outcome)
            return
        if len(outcome.accounts) != len(truths):
            yield f"{len(outcome.accounts)} series in the account, {len(truths)} in truth"
            return
        stale = 0
        for truth, account in zip(truths, outcome.accounts, strict=True):
            yield from self._pixels(truth, account)
            if self._expected.kind is Kind.UNDETECTABLE:
                yield from self._claims_nothing(truth, account)
            else:
                yield from self._exact(truth, account, stale)
            stale = truth.stale_images * len(self._acquisition.channels) + truth.stale_ends

    def _keys(self, ids: Iterable[int]) -> set[Key]:
        return {(channel, image_id) for image_id in ids for channel in self._acquisition.channels}

    def _exact(self, truth: SeriesTruth, account: Account, stale: int) -> Iterator[str]:
        arrivals, channels = account.ended.arrivals, len(self._acquisition.channels)
        whole, lost = self._keys(truth.whole), self._keys(truth.lost)
        if not whole <= account.received <= whole | lost:
            yield f"received {_brief(account.received)}, in truth {_brief(whole)} and perhaps {_brief(lost)}"
        empty = (self._asked(account) - account.received) & self._keys(truth.empty)
        missing = self._asked(account) - account.received - empty
        again = sum(key in account.received for number in truth.repeated for key in self._keys([number]))
        if account.missing != missing:
            yield f"missing {_brief(account.missing)}, in truth {_brief(missing)}"
        counts = {
            "received": len(account.received), "missing": len(missing), "awaited": 0, "late": 0, "refused": 0,
            "unexpected": 0, "duplicate": again, "stale": stale, "absent": len(empty),
            "expected": self._acquisition.images * channels if self._known(truth) else None,
        }  # fmt: skip
        for name, count in counts.items():
            if arrivals[name] != count:
                yield f"{name} {arrivals[name]}, in truth {count}"
        failed = sum(account.ended.account["failed"].values())
        if len(account.images) + failed != len(account.received) or failed > len(lost):
            yield f"{len(account.received)} received, {len(account.images)} published, {failed} failed"
        yield from self._words(truth, account, bool(missing), failed)

    def _words(self, truth: SeriesTruth, account: Account, missing: bool, failed: int) -> Iterator[str]:
        verdict = "incomplete" if missing or failed else "complete" if self._known(truth) else "unknown"
        without_end = "superseded" if truth.followed else "idle"
        reason = without_end if not truth.ended else "grace_over" if missing else "end"
        announced = truth.started or not self._traits.start
        said = (account.ended.verdict, account.ended.reason, account.announced, account.ended.suspicion is not None)
        true = (verdict, reason, announced, self._fault == "second-consumer")
        for what, claimed, actual in zip(("verdict", "reason", "announced", "suspicion"), said, true, strict=True):
            if claimed != actual:
                yield f"{what} {claimed}, in truth {actual}"

    def _known(self, truth: SeriesTruth) -> bool:
        """Whether the number of images was told to the ledger."""
        return self._told or (self._traits.expected and truth.started)

    def _asked(self, account: Account) -> set[Key]:
        if not self._expected.between:
            return self._keys(range(self._acquisition.images))
        ids = [image_id for _, image_id in account.received]
        return self._keys(range(min(ids, default=0), max(ids, default=-1) + 1))

    def _pixels(self, truth: SeriesTruth, account: Account) -> Iterator[str]:
        """What was published as an image is that image, wherever a changed pixel can be told."""
        spared = self._keys(truth.damaged) if self._expected.kind is Kind.UNDETECTABLE else set()
        wrong = {key for key, image in account.images.items() if not np.array_equal(image, picture(key[1], key[0]))}
        if wrong - spared:
            yield f"published with wrong pixels: {_brief(wrong - spared)}"

    def _claims_nothing(self, truth: SeriesTruth, account: Account) -> Iterator[str]:
        whole = self._keys(truth.whole)
        if not whole <= account.received:
            yield f"not received though they came: {_brief(whole - account.received)}"
        if account.missing:
            yield f"missing {_brief(account.missing)}, which it cannot know"
        if account.ended.verdict == "complete" and not self._is_all(account):
            yield "complete though images are missing"

    def _nothing_false(self, truths: list[SeriesTruth], outcome: Outcome) -> Iterator[str]:
        """Of a stream in which any id may be wrong."""
        for account in outcome.accounts:
            if self._traits.start and account.announced and account.missing & self._keys(truths[0].whole):
                yield f"missing though they came: {_brief(account.missing & self._keys(truths[0].whole))}"
            if account.ended.verdict == "complete" and not self._is_all(account):
                yield "complete though images are missing"

    def _is_all(self, account: Account) -> bool:
        return account.received == self._keys(range(self._acquisition.images))


def _brief(keys: set[Key]) -> str:
    shown = sorted(keys, key=lambda key: (key[1], key[0]))[:6]
    more = " ..." if len(keys) > len(shown) else ""
    return f"{len(keys)} images [{', '.join(f'{channel} {number}' for channel, number in shown)}{more}]"
