# pyright: reportMissingImports=false
"""The network behind `ptycho`, and the graph around it: from a detector's bytes to a patch and its deviance.

Unrolled: a frame goes back through the known probe as if the object were transparent, which gives a poor picture of
the object in its own pixels; a small U-Net (Ronneberger et al., MICCAI 2015, doi 10.1007/978-3-319-24574-4_28) makes a
patch of it; what its far field and the frame disagree about goes back in the same way, as a step of rPIE; and a second
one corrects the patch by that. Networks work in pixels of the object only and never learn to Fourier transform.
"""

from copy import deepcopy
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from edge.models.ptycho import LEAST_FLUX, LEAST_MEASURED, UNTOLD, Geometry
from edge.models.spec import SENTINELS
from edge.physics.arrays import Complex
from edge.physics.deviance import FLOOR_COUNTS
from edge.physics.probe import flux
from edge.training.optics import Field, Optics

FIRST_WIDTHS, SECOND_WIDTHS = (16, 32, 64, 96), (16, 32)
"""Channels by level: the first network sees all of the patch, the second mends details."""

EMPTY = 0.01
"""Added to counts that are scaled to a mean of one, so that dark pixels do not divide by nothing."""

FIRST_GATE = 2.0
"""Logit of the share of a step that is taken to begin with."""


class Frame(NamedTuple):
    """A batch of frames, the part that is computed with."""

    counts: Tensor  # [batch, crop, crop], 0 where flagged
    good: Tensor  # [batch, crop, crop], 1 where measured, 0 where flagged

    @property
    def total(self) -> Tensor:
        """Counts in all, [batch, 1, 1]."""
        return self.counts.sum(dim=(1, 2), keepdim=True)

    @property
    def pixels(self) -> Tensor:
        """How many were measured, [batch, 1, 1], at least one."""
        return self.good.sum(dim=(1, 2), keepdim=True).clamp(min=1)


class Patch(NamedTuple):
    """A batch of patches of the object."""

    log_amplitude: Tensor  # [batch, patch, patch]
    phase: Tensor  # [batch, patch, patch], rad, its probe-weighted mean 0

    @property
    def wave(self) -> Field:
        """As a complex number."""
        amplitude = torch.exp(self.log_amplitude)
        return Field(amplitude * torch.cos(self.phase), amplitude * torch.sin(self.phase))


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class UNet(nn.Module):
    """[batch, inside, size, size] and exposures [batch, 1, 1, 1] -> [batch, 2, size, size].

    Works at half the resolution and less, `widths` channels from the finest level to the coarsest.
    """

    def __init__(self, inside: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.doubled = nn.Upsample(scale_factor=2)
        self.halved = nn.Sequential(nn.Conv2d(inside, widths[0], 4, 2, 1, bias=False), nn.BatchNorm2d(widths[0]))
        self.told = nn.Conv2d(1, widths[0], 1)
        self.head = nn.Sequential(nn.ReLU(inplace=True), _block(widths[0], widths[0]))
        self.down = nn.ModuleList(nn.Sequential(_block(fine, rough, 2), _block(rough, rough)) for fine, rough in pairs)
        self.narrowed = nn.ModuleList(_block(rough, fine) for fine, rough in reversed(pairs))
        self.mixed = nn.ModuleList(_block(fine, fine) for fine, _ in reversed(pairs))
        last = nn.Conv2d(widths[0], 8, 3, 1, 1)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(cast(Tensor, last.bias))
        self.tail = nn.Sequential(last, nn.PixelShuffle(2))

    def forward(self, seen: Tensor, exposure: Tensor) -> Tensor:
        """The correction; `exposure` is a number a frame that tells how noisy it is."""
        rough = self.head(self.halved(seen) + self.told(exposure))
        passed = []
        for down in self.down:
            passed.append(rough)
            rough = down(rough)
        for narrowed, mixed, fine in zip(self.narrowed, self.mixed, reversed(passed), strict=True):
            rough = mixed(self.doubled(narrowed(rough)) + fine)
        return self.tail(rough)


class PatchNet(nn.Module):
    """Frames lit by the probe `modes` [modes, frame_px, frame_px], in the roots of counts, to patches."""

    usual: Tensor

    def __init__(self, modes: Complex, geometry: Geometry) -> None:
        super().__init__()
        self.optics = Optics(modes, geometry)
        self.first, self.second = UNet(2, FIRST_WIDTHS), UNet(4, SECOND_WIDTHS)
        self.gate = nn.Conv2d(1, 2, 1)  # of the two parts of a step, by exposure
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(cast(Tensor, self.gate.bias), FIRST_GATE)
        self.register_buffer("usual", torch.tensor(flux(modes)), persistent=False)

    def forward(self, frame: Frame) -> list[Patch]:
        """The first patch, and the corrected one."""
        scaled = frame.counts * (frame.pixels / (frame.total + EMPTY))
        exposure = torch.log10((frame.total + 1) / self.usual)[:, None]
        opened = self.optics.opened()
        change = _change(scaled, frame.good, opened.power.sum(dim=0, keepdim=True))[:, None]
        step = self.optics.backward_step(Field(opened.real[:1] * change, opened.imag[:1] * change))
        found = self._run(self.first, torch.stack(step, dim=1), exposure)
        patch = self._patch(found[:, 0], found[:, 1])
        return [patch, self._corrected(patch, scaled, frame.good, exposure)]

    def deviance(self, patch: Patch, frame: Frame) -> Tensor:
        """Mean deviance a pixel [batch] of `frame` from what the patch leads to expect, scaled to as many counts."""
        power = self.optics.far_field(patch.wave).power.sum(dim=1)
        scale = frame.total / ((power * frame.good).sum(dim=(1, 2), keepdim=True) + 1e-9)
        expected = (power * scale).clamp(min=FLOOR_COUNTS)
        counts = frame.counts
        wrong = expected - counts + counts * torch.log(counts.clamp(min=1) / expected)
        return 2 * (wrong * frame.good).sum(dim=(1, 2)) / frame.pixels[:, 0, 0]

    def _corrected(self, patch: Patch, scaled: Tensor, good: Tensor, exposure: Tensor) -> Patch:
        field = self.optics.far_field(patch.wave)
        change = _change(scaled, good, field.power.sum(dim=1))[:, None]
        step = self.optics.backward_step(Field(field.real[:, :1] * change, field.imag[:, :1] * change))
        # Divided by the wave: to first order what the step adds to the amplitude's logarithm and to the phase.
        shrink = torch.exp(-patch.log_amplitude)
        cos, sin = torch.cos(patch.phase) * shrink, torch.sin(patch.phase) * shrink
        moved = torch.stack((step.real * cos + step.imag * sin, step.imag * cos - step.real * sin), dim=1)
        found = self._run(self.second, torch.cat((torch.stack(patch, dim=1), moved), dim=1), exposure)
        found = found + torch.sigmoid(self.gate(exposure)) * moved
        return self._patch(patch.log_amplitude + found[:, 0], patch.phase + found[:, 1])

    def _patch(self, log_amplitude: Tensor, phase: Tensor) -> Patch:
        return Patch(log_amplitude, phase - (phase * self.optics.weight).sum(dim=(1, 2), keepdim=True))

    def _run(self, net: UNet, seen: Tensor, exposure: Tensor) -> Tensor:
        # bfloat16 halves the time of training; answers are given in float32.
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.training):
            return net(seen.contiguous(memory_format=torch.channels_last), exposure).float()


def _change(scaled: Tensor, good: Tensor, power: Tensor) -> Tensor:
    """Factor [batch, crop, crop] by which far fields of `power` miss the counts, less one; 0 where flagged."""
    lit = power * good
    scale = (scaled.sum(dim=(1, 2), keepdim=True) + EMPTY) / (lit.sum(dim=(1, 2), keepdim=True) + EMPTY)
    return (torch.sqrt((scaled + EMPTY) / (lit * scale + EMPTY)) - 1) * good


class ServedNet(nn.Module):
    """The whole graph: bytes uint8 [batch, height, width, 2] -> amplitude, phase [batch, patch, patch] and deviance
    [batch, 1].

    TensorRT takes no 16- or 32-bit unsigned input, hence bytes. The products with powers of 256 and their sum are
    exact in float32 below 2**24, far above what a pixel counts in a frame. `byte_weights` and `sentinel_from` are
    named here: variants for other item sizes replace them.
    """

    byte_weights: Tensor
    sentinel_from: Tensor

    def __init__(self, net: PatchNet) -> None:
        super().__init__()
        self.net = deepcopy(net)
        # Among the weights here, so that the graph holds each of them once, however often it is used.
        for name, values in list(self.net.optics.named_buffers()):
            self.net.optics.register_buffer(name, values)
        self.register_buffer("byte_weights", torch.tensor([1.0, 256.0]))
        self.register_buffer("sentinel_from", torch.tensor(SENTINELS[2]))

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        geometry = self.net.optics.geometry
        start = (geometry.frame_px - geometry.crop_px) // 2
        inner = slice(start, start + geometry.crop_px)
        # Cast before anything else: TensorRT knows uint8 as an input, not as something to compute with.
        crop = frame.to(torch.float32)[:, inner, inner]
        counts = (crop * self.byte_weights).sum(dim=3)
        good = (counts < self.sentinel_from).to(torch.float32)
        seen = Frame(counts * good, good)
        patch = self.net(seen)[-1]
        empty = self._tells_nothing(seen)
        deviance = self.net.deviance(patch, seen) * (1 - empty) + UNTOLD * empty
        return torch.exp(patch.log_amplitude), patch.phase, deviance[:, None]

    def _tells_nothing(self, seen: Frame) -> Tensor:
        """1 where there are too few photons or measured pixels for an answer, else 0, [batch]."""
        dark = seen.total[:, 0, 0] < LEAST_FLUX * self.net.usual
        covered = seen.good.mean(dim=(1, 2)) < LEAST_MEASURED
        return torch.maximum(dark.to(torch.float32), covered.to(torch.float32))


def parameters(net: nn.Module) -> int:
    """Count of trained numbers."""
    return sum(parameter.numel() for parameter in net.parameters())


def averaged(target: nn.Module, source: nn.Module, keep: float) -> None:
    """Moves the weights of `target` towards `source`: the mean over the last steps judges better than the last."""
    with torch.no_grad():
        for mean, new in zip(target.state_dict().values(), source.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.mul_(keep).add_(cast(Tensor, new).to(mean.dtype), alpha=1 - keep)
            else:
                mean.copy_(new)


def weighted_l1(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over the batch of the error [batch, height, width], weighted by `weight` [height, width], its sum 1."""
    return ((predicted - target).abs() * weight).sum(dim=(1, 2)).mean()
