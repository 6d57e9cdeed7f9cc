"""What numpy, h5py and zipfile raise for files that are damaged, cut off or still being written: more than they say."""

import zipfile
import zlib
from tokenize import TokenError

UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,  # of an array as large as its header claims
    RuntimeError,  # h5py; zipfile of what is encrypted or compressed in another way
    zipfile.BadZipFile,
    zlib.error,
    TokenError,  # numpy of a header
)
