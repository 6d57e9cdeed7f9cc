"""The files that a conditioning names, read at the start: what is wrong with them stops `edge serve` there."""

from typing import Any

from numpy.typing import NDArray

from edge.conditioning.errors import ConditioningError
from edge.conditioning.files import masks_of, read_array, read_geometry
from edge.conditioning.jungfrau import Jungfrau
from edge.conditioning.mask import joined
from edge.conditioning.settings import HEADER, Conditioning, ConditioningSettings, check


def load(settings: ConditioningSettings) -> Conditioning:
    """Read what `settings` names.

    Raises:
        ConditioningError: naming setting, file and dataset.
    """
    check(settings)
    geometry = read_geometry(settings.geometry, "geometry") if settings.geometry else None
    if geometry is not None and settings.modules and len(settings.modules) != len(geometry.modules):
        raise ConditioningError(
            f"modules names {len(settings.modules)} channels, {settings.geometry} has {len(geometry.modules)} modules"
        )
    mask = _file(settings.mask, "mask")
    masks = masks_of(geometry, "geometry") if geometry is not None else None
    if mask is not None and masks is not None and mask.shape != masks.shape:
        raise ConditioningError(f"mask has the shape {list(mask.shape)}, that of the geometry {list(masks.shape)}")
    return Conditioning(
        mask=joined(mask, masks),
        mask_from_header=settings.mask == HEADER,
        flatfield=_file(settings.flatfield, "flatfield"),
        flatfield_from_header=settings.flatfield == HEADER,
        jungfrau=_jungfrau(settings),
        geometry=geometry,
        modules=settings.modules,
        orientation=settings.orientation,
    )


def _file(where: str, setting: str) -> NDArray[Any] | None:
    if where in ("", HEADER):
        return None
    array = read_array(where, setting)
    if array.ndim > 3:
        raise ConditioningError(
            f"{setting}: {where} has the shape {list(array.shape)}; [rows, columns] or [modules, rows, columns] is "
            "expected"
        )
    return array


def _jungfrau(settings: ConditioningSettings) -> Jungfrau | None:
    if not settings.detector:
        return None
    pedestal, gain = read_array(settings.pedestal, "pedestal"), read_array(settings.gain, "gain")
    try:
        return Jungfrau(pedestal, gain, settings.photon_energy_kev)
    except ConditioningError as error:
        raise ConditioningError(f"{settings.pedestal}, {settings.gain}: {error}") from error
