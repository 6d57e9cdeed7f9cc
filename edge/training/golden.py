# pyright: reportMissingImports=false
"""The published PtychoNN on the published frames: does our way of running such a network give the published answer?

Babu et al., Nat. Commun. 14, 7059 (2023), doi 10.1038/s41467-023-41496-z; frames, weights and output from
mdw771/probe_position_correction_w_ptychonn (UChicago Argonne). The weights are a PyTorch state and are loaded as
tensors only, never as code. Needs torch, which is imported where it is used.
"""

import importlib.util
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from edge.physics.arrays import Float
from edge.training.judged import Bar, Judged

if TYPE_CHECKING:
    from torch import nn

SIZE = 128
BORDER = 64
"""Pixels cut off each side of a frame before it is made smaller."""

WEIGHTS, FRAMES, OUTPUT = "weights.pth", "frames.npz", "gold_phase.tiff"
ROWS = (("ptycho_golden_mean_rad", "mean", 0.002), ("ptycho_golden_max_rad", "largest", 0.03))


def golden_rows(folder: Path | None) -> list[Judged]:
    """How far our run of the published network is from its published output; not run where something is missing.

    Raises click.ClickException when the folder's files cannot be read.
    """
    why = ""
    if folder is None:
        why = "not run: name the folder with the published network by --golden"
    elif importlib.util.find_spec("torch") is None:
        why = "not run: needs the extra `train`"
    if folder is None or why:
        return [Judged(name, None, "rad", what=why) for name, _, _ in ROWS]
    try:
        with np.load(folder / FRAMES, allow_pickle=False) as stored:
            frames = stored["reciprocal"]
        published = tifffile.imread(folder / OUTPUT)
        off = np.abs(published_phase(frames, folder / WEIGHTS) - published)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, tifffile.TiffFileError) as error:
        raise click.ClickException(f"{folder}: {error}") from error
    values = {"mean": float(off.mean()), "largest": float(off.max())}
    what = f"difference from the published output over {len(frames)} measured frames, published weights"
    return [
        Judged(name, values[which], "rad", what=f"{which} {what}", bars=(Bar("at most", limit),))
        for name, which, limit in ROWS
    ]


def prepared(frames: NDArray[np.int32]) -> NDArray[np.float32]:
    """Frames [n, 512, 512] as the published network takes them, [n, 128, 128]."""
    counts = np.where(frames < 0, 65536 + frames.astype(np.int64), frames)  # counts above 32767 had wrapped
    inner = counts[:, BORDER:-BORDER, BORDER:-BORDER].astype(np.float64)
    small = np.stack([shrunk(one, SIZE) for one in inner])
    small -= small.mean(axis=0)
    return ((small - small.mean()) / small.std()).astype(np.float32)


def shrunk(image: Float, size: int) -> NDArray[np.float64]:
    """`image` [rows, cols] as [size, size] by straight lines between pixels, after a Gaussian against aliasing.

    What scikit-image's `resize` does with order 1 and `anti_aliasing`: a deviation of (factor - 1) / 2, mirrored
    borders, pixels taken as areas.
    """
    factors = np.array(image.shape) / size
    smooth = ndimage.gaussian_filter(image, np.maximum(0, (factors - 1) / 2), mode="mirror")
    return np.asarray(ndimage.zoom(smooth, 1 / factors, order=1, mode="mirror", grid_mode=True), np.float64)


def published_phase(frames: NDArray[np.int32], weights: Path) -> NDArray[np.float32]:
    """Phase [n, 128, 128] in rad of frames [n, 512, 512]."""
    import torch

    net = published_net()
    state = torch.load(weights, map_location="cpu", weights_only=True)
    net.load_state_dict(state)
    with torch.no_grad():
        phase = net.eval()(torch.from_numpy(prepared(frames))[:, None])
    return np.pi * np.tanh(phase[:, 0].numpy())


def published_net() -> "nn.Sequential":
    """The phase-only network with batch norm, named as its state is; the phase is pi tanh of its [n, 1, 128, 128]."""
    from collections import OrderedDict

    from torch import nn

    def pair(inside: int, outside: int) -> list["nn.Module"]:
        layers: list[nn.Module] = []
        for width in (inside, outside):
            layers += [nn.Conv2d(width, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
        return layers

    down, up = (1, 16, 32, 64, 128), (128, 128, 64, 32, 16)
    encoder, decoder = [], []
    for inside, outside in pairwise(down):
        encoder += [*pair(inside, outside), nn.MaxPool2d(2)]
    for inside, outside in pairwise(up):
        decoder += [*pair(inside, outside), nn.Upsample(scale_factor=2, mode="bilinear")]
    decoder.append(nn.Conv2d(up[-1], 1, 3, padding=1))
    return nn.Sequential(OrderedDict(encoder=nn.Sequential(*encoder), decoder2=nn.Sequential(*decoder)))
