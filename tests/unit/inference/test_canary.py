"""The canary tells right from wrong, through a server that is only pretended."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge.inference import canary
from edge.inference.errors import CanaryError
from edge.inference.repository import SHIPPED
from edge.inference.requests import Completion, InferenceError, Request
from edge.inference.shared_memory import Region
from edge.inference.variants import variant, without_byte
from edge.models.ptycho import SPEC as PTYCHO
from edge.models.spec import ModelSpec
from tests.unit.inference.graphs import COUNTS, ECHO, counts_graph, write_models


class Pretended:
    """Answers like a server: with `spoil` applied to every output, or with an error."""

    def __init__(
        self, region: Region | None, spoil: Callable[[np.ndarray], np.ndarray | None], graph: bytes | None = None
    ) -> None:
        self._session = onnxruntime.InferenceSession(graph or counts_graph())
        self._region = region
        self._spoil = spoil

    def submit(self, request: Request, on_done: Callable[[Completion], None]) -> None:
        request.check()
        outputs, shapes = {}, {}
        for name in request.outputs:
            right = np.asarray(self._session.run([name], {"frame": self._frame(request)})[0])
            array = self._spoil(right)
            if array is None:
                error = InferenceError("failed", "no such luck")
                return on_done(Completion(request.request_id, error, None, {}))
            outputs[name], shapes[name] = array, right.shape
            if isinstance(request.outputs, Mapping) and self._region is not None:
                span = request.outputs[name]
                self._region.view[span.offset : span.offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        on_done(Completion(request.request_id, None, outputs if self._region is None else None, shapes))

    def _frame(self, request: Request) -> np.ndarray:
        if isinstance(request.frame, np.ndarray):
            return request.frame
        assert self._region is not None
        span = request.frame
        return self._region.view[span.offset : span.offset + span.nbytes].reshape(request.shape)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    models = write_models(tmp_path_factory.mktemp("models"))
    return canary.read_canary(models / "counts" / "1", COUNTS, 2)


@pytest.fixture(params=["inline", "shm"])
def region(request: pytest.FixtureRequest, tmp_path: Path, expected: dict[str, np.ndarray]) -> Region | None:
    if request.param == "inline":
        return None
    made = Region("canary", canary.region_bytes(expected), tmp_path)
    request.addfinalizer(made.close)
    return made


def test_right_answers_pass(expected: dict[str, np.ndarray], region: Region | None) -> None:
    canary.check(Pretended(region, lambda array: array), "counts_u16", expected, region)
    canary.check(Pretended(region, lambda array: array * np.float32(1 + 1e-5)), "counts_u16", expected, region)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda array: array + np.float32(7), "counts_u16: counts is off by up to 7 "),
        (lambda array: array[:0], "counts_u16: counts "),  # what numpy 2 in the backend does
        (lambda array: np.full_like(array, np.nan), "counts_u16: counts is off by up to nan"),
        (lambda array: None, "counts_u16 failed its canary: no such luck"),
    ],
)
def test_wrong_answers_do_not(
    expected: dict[str, np.ndarray],
    region: Region | None,
    spoil: Callable[[np.ndarray], np.ndarray | None],
    says: str,
) -> None:
    with pytest.raises(CanaryError, match=says):
        canary.check(Pretended(region, spoil), "counts_u16", expected, region)


def test_wider_frames_use_their_upper_bytes_and_flags(tmp_path: Path) -> None:
    models = write_models(tmp_path)
    for itemsize in COUNTS.itemsizes:
        stored = canary.read_canary(models / "counts" / "1", COUNTS, itemsize)
        top = 256**itemsize - 1
        assert stored["frame"].dtype.itemsize == itemsize
        assert stored["frame"][:, 0, :2].tolist() == [[top, top - 1]] * 2
        assert not stored["counts"][:, 0, :2].any()
        assert itemsize == 1 or np.sort(stored["frame"].reshape(-1))[-10] > 255


def test_a_silent_canary_is_refused(tmp_path: Path) -> None:
    models = write_models(tmp_path)
    with pytest.raises(CanaryError, match="are zero"):
        canary.write_canary(models / "counts" / "1", COUNTS, np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        canary.write_canary(models / "counts" / "1", COUNTS, np.ones((1, 4, 4), np.uint16))


def test_no_canary_no_service(tmp_path: Path) -> None:
    models = write_models(tmp_path)
    with pytest.raises(CanaryError, match="counts_u16 has no usable canary"):
        canary.read_canary(models / "absent", COUNTS, 2)
    other = ModelSpec("echo", ECHO.frame_shape, COUNTS.outputs, 8)
    with pytest.raises(CanaryError, match="u8_counts"):
        canary.read_canary(models / "echo" / "1", other, 1)


@pytest.mark.parametrize("itemsize", [1, 2, 4])
@pytest.mark.parametrize("spec", [COUNTS, PTYCHO], ids=lambda spec: spec.name)
def test_no_byte_of_a_pixel_may_be_lost(spec: ModelSpec, itemsize: int, tmp_path: Path) -> None:
    source = write_models(tmp_path) if spec is COUNTS else SHIPPED
    folder = source / spec.name / "1"
    expected = canary.read_canary(folder, spec, itemsize)
    graph = variant((folder / "model.onnx").read_bytes(), itemsize)
    canary.check(Pretended(None, lambda array: array, graph), "right", expected)
    for position in range(itemsize):
        broken = without_byte(graph, position)
        assert broken is not None
        with pytest.raises(CanaryError, match="off by"):
            canary.check(Pretended(None, lambda array: array, broken), "wrong", expected)


def test_a_canary_that_says_nothing_about_a_byte_is_refused(tmp_path: Path) -> None:
    models = write_models(tmp_path)
    one_frame = replace(COUNTS, max_batch=1)  # bright or faint, not both
    with pytest.raises(CanaryError, match=r"counts_u32: the canary frames say nothing about byte 1"):
        canary.write_canary(models / "counts" / "1", one_frame, np.ones((1, 4, 4), np.uint8))


@pytest.mark.parametrize(("error", "passes"), [(9e-3, True), (2e-2, False)])
def test_room_for_other_processors(error: float, passes: bool) -> None:
    """TF32 and FP16 round to 1e-3 .. 1e-2; whole numbers have no room at all."""
    one = np.array([0.5], np.float32)
    if passes:
        canary._compare("m", "out", one, one + np.float32(error))
    else:
        with pytest.raises(CanaryError):
            canary._compare("m", "out", one, one + np.float32(error))
    with pytest.raises(CanaryError):
        canary._compare("m", "out", np.array([5], np.int32), np.array([6], np.int32))


def test_making_a_canary_reports_nothing(tmp_path: Path) -> None:
    """ONNX Runtime would leave a file of events to be sent."""
    code = (
        "import numpy as np; from edge.inference.canary import make_canary; "
        "from tests.unit.inference.graphs import counts_graph; "
        "make_canary(counts_graph(), np.ones((1, 4, 4), np.uint16))"
    )
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    env["XDG_CACHE_HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60, cwd=Path(__file__).parents[3])
    assert list(tmp_path.iterdir()) == []
