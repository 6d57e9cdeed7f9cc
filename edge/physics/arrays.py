"""Names of the array types that the physics modules hand to each other."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Complex: TypeAlias = NDArray[np.complex64] | NDArray[np.complex128]
Float: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Bool: TypeAlias = NDArray[np.bool_]
