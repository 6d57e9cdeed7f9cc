"""Which processes `edge serve --workers` starts, and what it prints of them."""

from datetime import date
from pathlib import Path

from edge.commands.serve_workers import Asked, addresses, services
from edge.config import Config, parse
from edge.pipeline.readiness import Facts, RouteFacts, SourceFacts
from edge.pipeline.totals import Totals
from edge.workers.counting import Counting
from edge.workers.gone import Watched
from edge.workers.readiness import merged_facts, worker_problems
from edge.workers.slots import Place

DAY = date(2026, 11, 22)
SOURCE = {"name": "det", "protocol": "stream-v2", "address": "tcp://127.0.0.1:9"}


def config(**tables: dict) -> Config:
    return parse({"source": [SOURCE], "route": [{"name": "check", "model": "identity"}], **tables})


def argv(name: str, asked: Asked, settings: Config | None = None) -> tuple[str, ...]:
    found = {one.name: one for one in services(asked, settings or config(), Path("/run/x"), DAY)}
    return found[name].argv


def test_workers_are_stopped_before_those_that_they_need():
    found = services(Asked(Path("edge.toml"), 2), config(), Path("/run/x"), DAY)
    assert [(one.name, one.needs) for one in found] == [
        ("triton", ()),
        ("gather", ()),
        ("worker-1", ("triton", "gather")),
        ("worker-2", ("triton", "gather")),
    ]
    worker = found[3].argv
    assert worker[worker.index("--worker") + 1] == "2/2"
    assert worker[worker.index("--triton-file") + 1] == "/run/x/triton.json"
    assert worker[worker.index("--link") + 1] == found[1].argv[found[1].argv.index("--link") + 1] == "ipc:///run/x/link"


def test_a_server_that_is_named_is_not_started():
    for asked, settings, option in (
        (Asked(Path("e"), 2, triton_url="host:1"), config(), "--triton-url"),
        (Asked(Path("e"), 2, triton_file=Path("/t.json")), config(), "--triton-file"),
        (Asked(Path("e"), 2), config(server={"url": "host:1"}), ""),
    ):
        found = services(asked, settings, Path("/run/x"), DAY)
        assert [one.name for one in found] == ["gather", "worker-1", "worker-2"]
        assert not option or option in found[1].argv


def test_where_data_go_is_the_same_for_all():
    asked = Asked(Path("e"), 2, record="captures", recover=True, proposal="mx-1")
    for name in ("gather", "worker-2"):
        line = " ".join(argv(name, asked))
        assert "--record captures --recover" in line
        assert "--date 2026-11-22 --proposal mx-1" in line


def test_the_addresses_are_those_of_one():
    workers = {f"worker-{number}": {"worker": number, "pid": number} for number in range(1, 12)}
    told = addresses({**workers, "gather": {"results": "tcp://a", "handshake": "tcp://b", "pid": 99}, "triton": {}})
    assert (told["results"], told["handshake"], told["gather"]) == ("tcp://a", "tcp://b", 99)
    assert [worker["worker"] for worker in told["workers"]] == list(range(1, 12))


def facts(connected: int = 1, settled: bool = True, ready: bool = True, lost: str = "") -> Facts:
    source = SourceFacts(connected, settled, False, False, "tcp://d")
    return Facts({"det": source}, {"check": RouteFacts("identity", ready, frozenset({"det"}))}, lost)


def test_all_workers_have_to_be_ready():
    routes = {"check": RouteFacts("identity", True, frozenset({"det"}))}

    def merged(*told: Facts) -> Facts:
        return merged_facts(
            told, routes, sources=["det"], present=frozenset(), required=("writer",), failing={}, stopping=False
        )

    assert merged(facts(), facts()).routes["check"].ready
    one = merged(facts(), facts(connected=0, settled=False, ready=False, lost="it died"))
    assert (one.sources["det"].connected, one.sources["det"].settled) == (0, False)
    assert (one.routes["check"].ready, one.lost, one.required) == (False, "it died", ("writer",))
    assert merged().sources["det"].settled


def test_a_worker_that_is_not_there_is_told():
    places = {1: Place(1), 2: Place(2), 3: Place(3)}
    places[1].begin(False, 0)
    places[1].say(facts(), (), 0)
    places[2].begin(False, 0)
    places[2].end(0)
    first, second = worker_problems(places)
    assert first.why == "worker 2 of 3 has ended and is started again"
    assert second.why == "worker 3 of 3 is starting"


def test_counters_never_fall():
    counting, totals = Counting(), Totals()
    for life in (1, 2, 3):
        counting.tell(1, life, {"messages": [(("det",), 10.0)], "outcomes": [(("check", "failed", "x"), 1.0)]})
        counting.tell(1, life, {})
    counting.tell(2, 1, {"messages": [(("det",), 5.0)]})
    counting.tell(2, 1, {"messages": [(("det",), 7.0)]})
    counting.enter(totals)
    assert totals.messages == {"det": 37}
    assert totals.outcomes["check", "failed", "x"] == 3


def test_a_process_that_cannot_be_found_is_gone():
    assert Watched(2**22 + 1).gone
    here = Watched(1)
    assert not here.gone
    here.close()


def test_models_of_ones_own_are_decided_once_for_all():
    asked = Asked(Path("e"), 2, models=Path("/cache/models/ab"))
    for name in ("triton", "gather", "worker-2"):
        assert "--models /cache/models/ab" in " ".join(argv(name, asked))
        assert "--models" not in argv(name, Asked(Path("e"), 2))
