"""What stands in the way of the next frame: each fact by itself, and what of it concerns whom."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.pipeline.readiness import Facts, RouteFacts, SourceFacts, problems
from streams.codecs import handshake
from streams.codecs.handshake import Ready

CONNECTED = SourceFacts(1, True, address="tcp://det:31001")
READY = Facts(
    sources={"det": CONNECTED, "other": CONNECTED},
    routes={
        "peaks": RouteFacts("peaks", True, frozenset({"det", "other"})),
        "thin": RouteFacts("denoise", True, frozenset({"other"})),
    },
    present=frozenset({"maps", "plan"}),
    required=("maps",),
)
ASKED = Ready("det", ("peaks",), ("plan",))


def with_source(**changes) -> Facts:
    return replace(READY, sources={**READY.sources, "det": replace(CONNECTED, **changes)})


def with_model(route: str) -> Facts:
    return replace(READY, routes={**READY.routes, route: replace(READY.routes[route], ready=False)}, lost="it died")


def test_ready():
    assert problems(READY, ASKED) == problems(READY, Ready()) == ()


@pytest.mark.parametrize(
    ("facts", "what", "why", "remedy"),
    [
        (replace(READY, stopping=True), "stopping", "is stopping", "start it again"),
        (with_source(connected=0, settled=False), "connection", r"'det' is not connected.*tcp://det:31001", "enabled"),
        (with_source(connected=0, settled=False, bound=True), "connection", "nobody is connected", "have the detector"),
        (with_source(settled=False), "connection", "just now", r"wait 0\.5 s"),
        (with_source(recovering=True), "recovery", "earlier `edge serve` recorded", "wait"),
        (with_model("peaks"), "model", r"model 'peaks' is not ready on the server: it died", "wait a few seconds"),
        (replace(READY, present=frozenset({"plan"})), "subscriber", "'maps' is not", "`required_subscribers`"),
        (replace(READY, present=frozenset({"maps"})), "subscriber", "'plan' is not", "address of the results"),
        (
            replace(READY, failing={"recording": "disk full"}),
            "recording",
            "raw messages.*disk full",
            "recording.folder",
        ),
        (replace(READY, failing={"results": "disk full"}), "results", "results are not kept", "results.folder"),
    ],
)
def test_each_thing_that_stands_in_the_way(facts, what, why, remedy):
    (found,) = problems(facts, ASKED)
    assert found.what == what and not found.lasting
    assert re.search(why, found.why), found.why
    assert remedy.replace("\\", "") in found.remedy or re.search(remedy, found.remedy)


@pytest.mark.parametrize(
    ("asked", "what", "why"),
    [
        (Ready("eiger"), "source", "no source 'eiger'; it has 'det', 'other'"),
        (Ready("det", ("ptycho",)), "route", "no route 'ptycho'; it has 'peaks', 'thin'"),
        (Ready("det", ("thin",)), "route", "route 'thin' takes nothing from source 'det'"),
    ],
)
def test_a_wrong_name_is_told_and_does_not_go_away(asked, what, why):
    (found,) = problems(READY, asked)
    assert (found.what, found.lasting) == (what, True)
    assert why in found.why


@pytest.mark.parametrize(
    "facts", [with_model("thin"), replace(READY, sources={**READY.sources, "other": SourceFacts(0, False)})]
)
def test_what_concerns_others_only_does_not_stand_in_the_way(facts):
    assert problems(facts, ASKED) == problems(facts, Ready("det")) == ()
    assert [one.what for one in problems(facts, Ready())] in (["model"], ["connection"])


NAMES = st.text("dou", min_size=1, max_size=2)
FACTS = st.builds(
    Facts,
    sources=st.dictionaries(
        NAMES, st.builds(SourceFacts, st.integers(0, 2), st.booleans(), st.booleans(), st.booleans())
    ),
    routes=st.dictionaries(NAMES, st.builds(RouteFacts, NAMES, st.booleans(), st.frozensets(NAMES))),
    lost=st.text(max_size=3),
    present=st.frozensets(NAMES),
    required=st.lists(NAMES, max_size=3).map(tuple),
    failing=st.dictionaries(st.sampled_from(["recording", "results"]), st.text(max_size=3)),
    stopping=st.booleans(),
)
ASKS = st.builds(
    Ready, NAMES | st.just(""), st.lists(NAMES, max_size=3).map(tuple), st.lists(NAMES, max_size=3).map(tuple)
)


@given(FACTS, ASKS)
def test_nobody_is_told_ready_who_is_not(facts, asked):
    """Against what readiness means, said in another way."""
    sources = [asked.source] if asked.source else list(facts.sources)
    served = all(
        name in facts.sources and facts.sources[name].connected and facts.sources[name].settled for name in sources
    )
    live = not any(facts.sources[name].recovering for name in sources if name in facts.sources)
    known = [name for name in sources if name in facts.sources]
    routes = [facts.routes.get(name) for name in asked.routes] if asked.routes else list(facts.routes.values())
    inferred = not known or all(
        route is not None and (route.ready if route.sources & set(known) else not asked.routes) for route in routes
    )
    heard = {*facts.required, *asked.subscribers} <= facts.present
    found = problems(facts, asked)
    assert (not found) == bool(served and live and inferred and heard and not facts.failing and not facts.stopping)
    assert all(one.why and one.remedy for one in found)


@given(FACTS, ASKS)
def test_questions_and_answers_survive_the_wire(facts, asked):
    assert handshake.unpack_request(handshake.pack(asked)) == asked
    answer = handshake.Readiness(
        asked.source,
        asked.token,
        problems(facts, asked),
        "o",
        "1.0",
        7,
        {"d": 1},
        {"m": True},
        ("maps",),
        2,
        (),
        "ok",
        "off",
        False,
    )
    assert handshake.unpack_reply(handshake.pack(answer)) == answer


@pytest.mark.parametrize(
    "wrong", [Ready("x" * 65), Ready("", ("x" * 65,)), Ready("", tuple("x" * 33)), Ready("", (), ("y",) * 33)]
)
def test_a_question_without_bounds_is_no_question(wrong):
    with pytest.raises(handshake.CodecError):
        handshake.unpack_request(handshake.pack(wrong))
