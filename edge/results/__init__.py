"""Result files: an append-only log while a series runs, HDF5/NeXus at absolute image indices when it is over."""
