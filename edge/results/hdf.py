"""Access to HDF5 objects by what they must be."""

import h5py


def group_at(parent: h5py.Group, name: str) -> h5py.Group:
    """The group `name` below `parent`.

    Raises:
        KeyError: there is none.
    """
    found = parent[name]
    if not isinstance(found, h5py.Group):
        raise KeyError(f"{parent.name}/{name} is no group")
    return found


def dataset_at(parent: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset `name` below `parent`.

    Raises:
        KeyError: there is none.
    """
    found = parent[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{parent.name}/{name} is no dataset")
    return found


def last_name(item: h5py.Group | h5py.Dataset) -> str:
    """The last part of the path of a named object."""
    return (item.name or "").rpartition("/")[2]
