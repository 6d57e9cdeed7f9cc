"""An agent that writes down what it does before anybody hears of it, and begins where its log ends."""

from collections.abc import Sequence

from edge.agent.messages import CannotSuggest, Observation, Suggestion
from edge.agent.training import Trained, Training
from edge.steering.log import Abandoned, Entry, ExperimentLog, Learned, Observed, Suggested, learned, past_of
from edge.steering.words import observation_words, suggestion_words

MOST_ANSWERS = 20_000
"""Requests of one experiment whose answers are kept: more than twice as many as there can be observations."""


class RecordedAgent:
    """See `edge.agent.messages.Agent`. For one thread, as the agent within.

    Every method may raise OSError or LogError: then nothing was answered, and the agent is as it was, but for
    positions that it would have suggested next and will not.
    """

    def __init__(self, name: str, log: ExperimentLog) -> None:
        """The agent of experiment `name` as its log has it. Raises ValueError where that is not one's log."""
        self._agent = log.definition.agent(name, tuple(past_of(log.entries)))
        self._log = log
        self._answers: dict[str, list[Suggestion]] = {}
        self._out: set[str] = set()
        self._observed: dict[str, Observation] = {}
        self._version = 0  # of the surrogate that is in the log
        for entry in log.entries:
            self._remember(entry)

    @property
    def observations(self) -> tuple[Observation, ...]:
        return tuple(self._observed.values())

    @property
    def counts(self) -> tuple[int, int]:
        """Observations, and suggestions that are out; from any thread."""
        return len(self._observed), len(self._out)

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """See `messages.Agent`; it is a request with a key of its own."""
        return self.suggest_for(f"request {len(self._answers) + 1}", n)

    def suggest_for(self, key: str, n: int) -> list[Suggestion]:
        """As `suggest`; the same for the same key, also after a restart."""
        if key in self._answers:
            return self._answers[key]
        if len(self._answers) >= MOST_ANSWERS:
            raise CannotSuggest(
                f"{MOST_ANSWERS} requests were answered, the most that are kept: begin a new experiment"
            )
        made = self._agent.suggest(n)
        self._write_suggested(key, made)
        return made

    def ingest(self, observations: Sequence[Observation]) -> None:
        """See `messages.Agent`."""
        new = [one for one in observations if self._observed.get(one.id) != one]
        if not new:
            return
        self._agent.ingest(new)
        self._write(Observed(tuple(map(observation_words, new))))

    def abandon(self, suggestion_ids: Sequence[str]) -> None:
        """See `messages.Agent`."""
        known = tuple(one for one in suggestion_ids if one in self._out)
        if known:
            self._agent.abandon(known)
            self._write(Abandoned(known))

    def training_due(self) -> Training | None:
        """See `edge.agent.service.Trainable`."""
        return self._agent.training_due()

    def adopt(self, trained: Trained) -> None:
        """See `edge.agent.service.Trainable`."""
        self._agent.adopt(trained)
        self._write_learned()

    def _write_suggested(self, key: str, made: Sequence[Suggestion]) -> None:
        try:
            self._write(Suggested(key, tuple(map(suggestion_words, made))))
        except BaseException:
            self._agent.abandon([one.id for one in made])
            raise
        self._write_learned()

    def _write_learned(self) -> None:
        """What it goes by, where that is new."""
        now = self._agent.learned()
        if now is not None and now.version != self._version:
            self._write(learned(now))

    def _write(self, entry: Entry) -> None:
        self._log.append(entry)
        self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        if isinstance(entry, Suggested):
            self._answers[entry.key] = [one.meant() for one in entry.suggestions]
            self._out.update(one.id for one in entry.suggestions)
        elif isinstance(entry, Observed):
            self._observed.update((one.id, one.meant()) for one in entry.observations)
            self._out.difference_update(one.suggestion_id or "" for one in entry.observations)
        elif isinstance(entry, Abandoned):
            self._out.difference_update(entry.suggestion_ids)
        elif isinstance(entry, Learned):
            self._version = entry.version
