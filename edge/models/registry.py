"""All models that the system can serve."""

from collections.abc import Mapping
from types import MappingProxyType

from edge.models import bragg, denoise, identity, peaks, ptycho
from edge.models.spec import ModelSpec

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {spec.name: spec for spec in (identity.SPEC, ptycho.SPEC, ptycho.SPEC64, peaks.SPEC, bragg.SPEC, denoise.SPEC)}
)
"""By name, as in configuration files and in `model_repo`."""
