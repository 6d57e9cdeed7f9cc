# pyright: reportMissingImports=false
import numpy as np
import pytest
import torch
from torch import nn

from edge.training.course import CheckpointError, Course, TrainingError
from edge.training.loop import Schedule, optimise


class Line(nn.Module):
    """Learns y = 2 x + 1 of images of one pixel; `forward` may be told to stop the training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Conv2d(1, 1, 1)
        self.left: int | None = None

    def loss(self, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        given = torch.from_numpy(rng.normal(size=(8, 1, 1, 1)).astype(np.float32))
        noise = 0.1 * torch.randn(8, 1, 1, 1)
        wrong = (self.body(given) - 2 * given - 1 + noise).square().mean()
        return wrong, float(wrong.detach())


def trained(course: Course, steps: int = 200, stop_after: int | None = None) -> dict[str, torch.Tensor]:
    net = Line()
    net.left = stop_after
    schedule = Schedule(steps, peak_rate=3e-2)
    mean = optimise(net, lambda net, rng: net.loss(rng), schedule, np.random.default_rng(1), course)
    return {name: tensor.clone() for name, tensor in mean.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_learns():
    course = Course()
    weights = trained(course, steps=1000)
    assert float(weights["body.weight"]) == pytest.approx(2, abs=0.05)
    assert float(weights["body.bias"]) == pytest.approx(1, abs=0.05)
    assert course.points[-1].loss < 0.1 * course.points[0].loss


def test_one_seed_is_one_network():
    torch.manual_seed(0)
    assert same(trained(Course()), trained(Course()))


def test_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.training.course.KEEP_EVERY_S", 0.0)
    whole = Course(tmp_path / "whole.ckpt", {"seed": 0})
    expected = trained(whole)
    with pytest.raises(KeyboardInterrupt):
        trained(Course(tmp_path / "fit.ckpt", {"seed": 0}), stop_after=130)
    torch.manual_seed(99)  # another process begins with other chance
    second = Course(tmp_path / "fit.ckpt", {"seed": 0})
    assert same(trained(second), expected)
    assert [point.steps for point in second.points] == [50, 100, 150, 200]
    assert second.points == whole.points


def test_what_is_finished_is_not_trained_again(tmp_path):
    expected = trained(Course(tmp_path / "fit.ckpt"))
    assert same(trained(Course(tmp_path / "fit.ckpt"), stop_after=0), expected)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    trained(Course(tmp_path / "fit.ckpt", {"seed": 0}))
    with pytest.raises(CheckpointError, match="--fresh"):
        trained(Course(tmp_path / "fit.ckpt", {"seed": 1}))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", b"\x80\x04\x95 a pickle"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    (tmp_path / "fit.ckpt").write_bytes(damage)
    with pytest.raises(CheckpointError, match="--fresh"):
        trained(Course(tmp_path / "fit.ckpt"))


def test_a_checkpoint_runs_no_code(tmp_path):
    import pickle

    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-run"), "w"))

    torch.save({"recipe": "{}", "state": Attack()}, tmp_path / "fit.ckpt", pickle_module=pickle)
    with pytest.raises(CheckpointError):
        trained(Course(tmp_path / "fit.ckpt"))
    assert not (tmp_path / "was-run").exists()


def test_time_ends_it_too():
    assert Schedule(1000, seconds=10.0).done(10, 5.0) == 0.5
    assert Schedule(1000, seconds=10.0).done(900, 5.0) == 0.9
    assert Schedule(1000, seconds=10.0).done(10, 20.0) == 1.0
    assert Schedule(1000).done(10, 1e9) == 0.01


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("from_step", [20, 149])
def test_a_loss_that_is_no_number_ends_it_and_is_not_kept(tmp_path, monkeypatch, odd, from_step):
    monkeypatch.setattr("edge.training.course.KEEP_EVERY_S", 0.0)
    path, net, steps = tmp_path / "fit.ckpt", Line(), 0

    def loss(net: Line, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
        nonlocal steps
        steps += 1
        wrong, figure = net.loss(rng)
        return (wrong * odd if steps > from_step else wrong), figure

    with pytest.raises(TrainingError, match=rf"after {from_step} steps .*--fresh"):
        optimise(net, loss, Schedule(150, 3e-2), np.random.default_rng(1), Course(path, {}))
    assert all(bool(torch.isfinite(one).all()) for one in net.state_dict().values())
    assert path.exists() is (from_step > 50)
    if path.exists():
        state = torch.load(path, weights_only=True)["state"]
        assert state["steps"] == 100 and bool(torch.isfinite(state["mean"]["body.weight"]).all())


def test_a_slope_that_is_no_number_ends_it():
    """The root has a finite value at 0, and no finite slope."""

    def loss(net: Line, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
        return (0.0 * net.body.weight).abs().sum().sqrt(), 0.0

    with pytest.raises(TrainingError, match="slope"):
        optimise(Line(), loss, Schedule(5), np.random.default_rng(1))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    trained(Course(tmp_path / "fit.ckpt"))
    other = nn.Sequential(nn.Conv2d(1, 7, 3))
    with pytest.raises(CheckpointError, match=r"another network.*--fresh"):
        optimise(other, lambda net, rng: (net[0].weight.sum(), 0.0), Schedule(5), np.random.default_rng(1),
                 Course(tmp_path / "fit.ckpt"))  # fmt: skip
