import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from edge.models.card import Span, Validity, parse_card
from edge.models.spec import ANY, ModelSpec, TensorSpec
from edge.training.loop import Schedule
from edge.training.pixels import Pixels, Served
from edge.training.run import Duration, Recipe, Written, load_weights, training_options, training_run

SPEC = ModelSpec("sum", (ANY, ANY), (TensorSpec("total", "float32", (1,), "counts"),), 4)


class Scale(nn.Module):
    """The summed counts times a number that it has to learn to be one."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([0.5]))

    def forward(self, pixels: Pixels) -> Tensor:
        return self.factor * pixels.counts.sum(dim=(1, 2, 3))[:, None]


def loss(net: Scale, rng: np.random.Generator) -> tuple[Tensor, float]:
    counts = torch.from_numpy(rng.poisson(3.0, (4, 1, 8, 8)).astype(np.float32))
    wrong = (net(Pixels(counts, torch.ones_like(counts))) / counts.sum(dim=(1, 2, 3))[:, None] - 1).square().mean()
    return wrong, float(wrong.detach())


@click.command("sum")
@training_options(steps=400)
def train_sum(recipe: Recipe, out, fresh) -> None:
    """Train the sum."""
    with training_run(SPEC, recipe, out, fresh) as run:
        frames = run.data_rng.poisson(3.0, (2, 8, 8)).astype(np.uint16)
        net = run.fit(Scale(), loss, Schedule(recipe.steps, peak_rate=1e-2, weight_decay=0.0, seconds=recipe.budget_s))
        valid = Validity(counts_per_frame=Span(100.0, 300.0))
        run.finished(Served(net), net, frames, np.full((2, 8, 8), 9, np.uint8), Written(("noise",), "none", valid))


def test_leaves_a_version_folder(tmp_path):
    answer = CliRunner().invoke(train_sum, ["--out", str(tmp_path / "made")], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert made == {"model.onnx", "canary.npz", "card.json", "weights.npz", "training.png"}
    card = parse_card((tmp_path / "made" / "card.json").read_bytes())
    assert card.parameters == 1 and card.onnx_minus_torch < 1e-3 and card.valid.counts_per_frame == Span(100.0, 300.0)
    assert card.training["steps"] == 400 and card.training["seed"] == 0
    assert [step for step, _ in card.course] == list(range(50, 401, 50))
    net = Scale()
    load_weights(tmp_path / "made" / "weights.npz", net)
    assert float(net.factor.detach()) == pytest.approx(1, abs=0.02)


def test_same_seed_same_graph(tmp_path):
    for name in ("one", "two"):
        CliRunner().invoke(train_sum, ["--out", str(tmp_path / name), "--steps", "60"], catch_exceptions=False)
    graphs = [(tmp_path / name / "model.onnx").read_bytes() for name in ("one", "two")]
    assert graphs[0] == graphs[1]


def test_weights_of_another_network_are_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", other=np.zeros(3))
    with pytest.raises(ValueError, match="another network"):
        load_weights(tmp_path / "weights.npz", Scale())


def test_a_checkpoint_of_other_options_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "fit.ckpt").write_bytes(b"nothing")
    answer = CliRunner().invoke(train_sum, ["--out", str(tmp_path), "--steps", "60"])
    assert answer.exit_code == 1 and "--fresh" in answer.output
    answer = CliRunner().invoke(train_sum, ["--out", str(tmp_path), "--steps", "60", "--fresh"])
    assert answer.exit_code == 0 and not (tmp_path / "fit.ckpt").exists()


@pytest.mark.parametrize(("text", "seconds"), [("20min", 1200.0), ("90 s", 90.0), ("1.5h", 5400.0)])
def test_durations(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["20", "min", "-3min", "0s", "1d"])
def test_what_is_no_duration(text):
    with pytest.raises(click.BadParameter, match="20min"):
        Duration().convert(text, None, None)
