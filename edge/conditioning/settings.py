"""What `[source.conditioning]` of edge.toml asks for, and the same with its files read."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from numpy.typing import NDArray

from edge.conditioning.errors import ConditioningError
from edge.conditioning.geom import Geometry
from edge.conditioning.jungfrau import Jungfrau
from edge.conditioning.orientation import Orientation

HEADER = "header"
"""In place of a file: what the detector announces with each series."""

UNSUPPORTED = frozenset(
    {"agipd", "lpd", "dssc", "epix", "epix100", "epix10k", "epixhr", "cspad", "pnccd", "moench", "gotthard", "icarus"}
)
"""Integrating detectors that others calibrate."""


class ConditioningSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to every image of a source."""

    mask: str = HEADER
    flatfield: str = ""
    detector: str = ""
    pedestal: str = ""
    gain: str = ""
    photon_energy_kev: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    geometry: str = ""
    modules: tuple[str, ...] = ()
    orientation: Orientation = "as-is"


@dataclass(frozen=True)
class Conditioning:
    """Settings with their files read; what does not depend on the frames' shape has been checked."""

    mask: NDArray[Any] | None = None  # [rows, columns] or [modules, rows, columns]; 0 a good pixel
    mask_from_header: bool = False
    flatfield: NDArray[Any] | None = None  # the same; factors
    flatfield_from_header: bool = False
    jungfrau: Jungfrau | None = None
    geometry: Geometry | None = None
    modules: tuple[str, ...] = ()  # channels in the geometry's order; empty: by the number in their names
    orientation: Orientation = "as-is"

    @property
    def assembles(self) -> bool:
        """Whether one image comes as several frames."""
        return self.geometry is not None and len(self.geometry.modules) > 1


def check(settings: ConditioningSettings) -> None:
    """Find contradictions, without reading a file.

    Raises:
        ConditioningError: naming the setting.
    """
    detector = settings.detector.lower()
    maps = {"pedestal": settings.pedestal, "gain": settings.gain, "photon_energy_kev": settings.photon_energy_kev}
    if detector in UNSUPPORTED:
        raise ConditioningError(
            f"detector: {settings.detector!r} is not calibrated here; send frames that its own pipeline has calibrated "
            "to photons, and leave out detector"
        )
    if detector not in ("", "jungfrau"):
        raise ConditioningError(
            f'detector: {settings.detector!r} is not known; "jungfrau" is calibrated here, and a detector that counts '
            "photons needs none"
        )
    missing = [name for name, value in maps.items() if not value]
    if detector == "jungfrau" and missing:
        raise ConditioningError(f"detector = {settings.detector!r} needs {', '.join(missing)}")
    if not detector and len(missing) < len(maps):
        given = next(name for name, value in maps.items() if value)
        raise ConditioningError(f'{given} is given without detector = "jungfrau"')
    if settings.modules and not settings.geometry:
        raise ConditioningError("modules name the channels of a geometry; geometry is not given")
    if len(set(settings.modules)) < len(settings.modules):
        raise ConditioningError("modules names a channel twice")
