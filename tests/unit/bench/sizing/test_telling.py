import io

import pytest
from rich.console import Console

from edge.bench.sizing import copies, ingestreport, latencyreport, overloadreport, pipelinereport, soakreport
from edge.bench.sizing.copies import Copied
from edge.bench.sizing.figures import Figure
from edge.bench.sizing.ingest import CASES, Compared
from edge.bench.sizing.latency import Round, percentiles
from edge.bench.sizing.overload import SLOW
from edge.bench.sizing.overload import Measured as Overloaded
from edge.bench.sizing.proc import Memory
from edge.bench.sizing.soak import LONG, Options
from edge.bench.sizing.soak import Measured as Soaked
from edge.bench.sizing.spent import Spent
from edge.bench.sizing.taken import Held, held
from edge.bench.sizing.telling import judged, machine_line, save
from tests.unit.bench.sizing.heard import heard


def printed(*tables) -> str:
    out = io.StringIO()
    console = Console(file=out, width=140)
    for table in tables:
        console.print(table)
    return out.getvalue()


def named(figures: list[Figure]) -> dict[str, Figure]:
    found = {one.name: one for one in figures}
    assert len(found) == len(figures)
    return found


def test_spent_is_told_a_frame():
    one = Spent(1000, 0.05, 0.1)
    assert (one.cpu_us, one.per_s) == (pytest.approx(50.0), pytest.approx(10_000.0))


def compared(name: str) -> Compared:
    bare, ours = [Spent(100, 0.001, 0.01), Spent(100, 0.003, 0.01)], [Spent(100, 0.002, 0.01), Spent(100, 0.002, 0.02)]
    return Compared(CASES[name], "bare receive", bare, ours, {"bitshuffle": 9.0})


def test_ingest_bare_over_ours(tmp_path):
    measured = {name: compared(name) for name in CASES}
    found = named(ingestreport.figures(measured))
    one = found["ingest_128_v1"]
    assert (one.value, one.spread, one.missed) == (1.0, (0.5, 1.5), False)
    assert found["ingest_128_v1/ours_cpu_us"].value == pytest.approx(20.0)
    assert found["ingest_128_v1/bare_per_s"].value == pytest.approx(10_000.0)
    assert one.more is not None
    assert one.more["decoders_cpu_us"] == {"bitshuffle": 9.0}
    text = printed(ingestreport.table(measured, found), judged(list(found.values())))
    assert "128 x 128 uint16, simplon-v1" in text
    assert "1024 x 1024 uint16 bslz4, stream-v2" in text
    assert text.count("kept") == len(CASES)
    save(ingestreport.picture(measured, found), tmp_path / "new" / "one.png")
    assert (tmp_path / "new" / "one.png").read_bytes()[1:4] == b"PNG"


def test_copies_are_judged_by_the_worst_case():
    counted = {"2048": Copied(10, 10, 10 * 8, 8), "1024_bslz4": Copied(10, 15, 10 * 20, 8)}
    found = named(ingestreport.copy_figures(counted))
    assert found["copies_per_frame"].value == 1.5
    assert found["copies_per_frame"].missed
    assert found["copies_per_frame/2048"].value == 1.0
    assert found["copies_per_frame/2048"].bar is None
    assert counted["1024_bslz4"].images_per_frame == 2.5


def test_a_process_that_does_not_count_is_told(tmp_path):
    with pytest.raises(copies.NoCompiler, match="process 5 counts no copies"):
        copies.read(tmp_path / "copies", 5)
    (tmp_path / "copies.5").write_bytes(b"short")
    with pytest.raises(copies.NoCompiler, match="process 5"):
        copies.read(tmp_path / "copies", 5)
    (tmp_path / "copies.5").write_bytes(copies.COUNTERS.pack(3, 4))
    assert copies.read(tmp_path / "copies", 5) == (3, 4)


def test_without_a_compiler_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(copies.NoCompiler, match="no C compiler"):
        copies.compiled(tmp_path)


def test_pipeline_ours_over_bare_and_ours_over_onnxruntime():
    bare, ours = [Spent(100, 0.001, 0.1)], [Spent(100, 0.005, 0.2)]
    found = named(pipelinereport.identity_figures(bare, ours, "stream-v2"))
    assert (found["pipeline_cpu_us_ratio"].value, found["pipeline_cpu_us_ratio"].missed) == (pytest.approx(5.0), True)
    text = printed(pipelinereport.table(found))
    assert "identity" in text
    assert "ptycho" not in text
    more = named(pipelinereport.ptycho_figures(bare, ours, 16, 1))
    assert (more["pipeline_ptycho_ratio"].value, more["pipeline_ptycho_ratio"].missed) == (pytest.approx(0.5), True)
    assert "ONNX Runtime alone" in printed(pipelinereport.table({**found, **more}))


def test_percentiles_by_nearest_rank():
    values = [float(number) for number in range(100, 0, -1)]
    assert percentiles(values) == {"p50": 50.0, "p99": 99.0, "max": 100.0}
    assert percentiles([7.0]) == {"p50": 7.0, "p99": 7.0, "max": 7.0}


def test_latency_is_the_median_of_differences(tmp_path):
    rounds = [
        Round({"p50": 3.0, "p99": 9.0, "max": 12.0}, {"p50": 2.5, "p99": 2.0, "max": 3.0}, [2.5, 2.0, 3.0]),
        Round({"p50": 2.0, "p99": 5.0, "max": 12.0}, {"p50": 1.9, "p99": 2.0, "max": 3.0}, [1.9, 2.0, 3.0]),
        Round({"p50": 9.0, "p99": 8.0, "max": 12.0}, {"p50": 1.0, "p99": 2.0, "max": 3.0}, [1.0, 2.0, 3.0]),
    ]
    found = named(latencyreport.figures(rounds))
    assert found["latency_p50_extra_ms"].value == pytest.approx(0.5)
    assert found["latency_p50_extra_ms"].spread == (pytest.approx(0.1), pytest.approx(8.0))
    assert (found["latency_p99_extra_ms"].value, found["latency_p99_extra_ms"].missed) == (6.0, True)
    assert "bare Triton request" in printed(latencyreport.table(found))
    save(latencyreport.picture(rounds, found), tmp_path / "one.png")


def soaked(growth: float) -> Soaked:
    measured = Soaked(seconds=10.0, cpu_s=1.0)
    measured.books.enter(heard(dropped={"overload": 1}), 10)
    for at in range(1, 21):
        late = growth if at == 20 else 1.0
        measured.memory.append((at * LONG // 20, Memory(int(1000 * late), int(500 * late), 300, 200)))
    return measured


def test_growth_is_judged_in_long_clean_runs(tmp_path):
    grown, options = soaked(1.2), Options(LONG)
    found = named(soakreport.figures(grown, options))
    assert (found["memory_growth_ratio"].value, found["memory_growth_ratio"].missed) == (1.2, True)
    assert not named(soakreport.figures(soaked(1.0), options))["memory_growth_ratio"].missed
    for other in (Options(LONG, faults=True), Options(LONG - 1)):
        unjudged = named(soakreport.figures(grown, other))
        assert "memory_growth_ratio" not in unjudged
        assert not any(one.missed for one in unjudged.values())
    assert f"{LONG}" in printed(soakreport.table(grown, options))
    assert "1 dropped: overload" in "\n".join(soakreport.summary(grown))
    save(soakreport.picture(grown), tmp_path / "one.png")


def test_the_early_look_is_the_first_after_a_hundred_thousand_frames():
    measured = soaked(1.0)
    assert measured.early(LONG)[0] == 100_000
    assert measured.early(LONG // 10)[0] == 50_000  # a short run: the first after a hundredth


def test_looks_at_memory_are_thinned_out():
    looks = [(at, Memory(at, 0, 0, 0)) for at in range(100)]
    assert [at for at, _ in soakreport.sampled(looks, 4)] == [0, 33, 66, 99]
    assert soakreport.sampled(looks[:3], 4) == looks[:3]


def test_overload_counts_all_routes_and_judges_the_others():
    measured = Overloaded(slow_hz=10.0, rate_hz=50.0, seconds=1.0, held=Held(1, 0, 0))
    measured.books["identity"].enter(heard(results=9), 10)
    measured.books[SLOW.name].enter(heard(dropped={"overload": 8}), 10)
    measured.latency_ms["identity"] = {"p50": 1.0, "p99": 2.0}
    found = named(overloadreport.figures(measured))
    assert (found["overload_unaccounted"].value, found["overload_unaccounted"].missed) == (1, True)
    assert (found["overload_others_complete"].value, found["overload_others_complete"].missed) == (0.9, True)
    assert (found["overload_dropped"].value, found["overload_dropped"].more) == (8, {"overload": 8})
    assert found["overload_slow_share"].value == 0.2
    assert found["slots_leaked"].missed
    assert "8 dropped: overload" in printed(overloadreport.table(measured))


def test_what_is_held_is_read_from_metrics():
    text = """# TYPE edge_slots gauge
edge_slots{source="det",state="free"} 10.0
edge_slots{source="det",state="taken"} 3.0
edge_slots{source="other",state="taken"} 1.0
# TYPE edge_requests_in_flight gauge
edge_requests_in_flight{route="identity"} 2.0
# TYPE edge_frames_waiting gauge
edge_frames_waiting{route="identity"} 5.0
"""
    assert held(text) == Held(4, 2, 5)
    assert not held(text).nothing
    assert held("").nothing


def test_the_machine_is_named():
    assert "cores" in machine_line()
    assert "load average" in machine_line()
