"""Names of the array types that the physics modules hand to each other."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Not complexfloating and floating: numpy's own annotations lose the kind in mixed arithmetic, such as real x complex.
Complex: TypeAlias = NDArray[Any]
Float: TypeAlias = NDArray[Any]
Bool: TypeAlias = NDArray[np.bool_]
