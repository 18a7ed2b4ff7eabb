"""HDF5 files that would bring in other files' bytes, or ask for memory that they do not fill, are refused."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from lca_jax.errors import StoreError
from lca_jax.exchange.neurox.convert import read_neurox
from tests.neurox_files import draw_vectors, open_hdf5, write_hdf5

SECRET = np.full((3, 3, 4), 7.0, np.float32)


def harm(path: Path, how: str) -> Path:
    write_hdf5(path, draw_vectors())
    other = path.with_name("secret.bin")
    other.write_bytes(SECRET.tobytes())
    with h5py.File(path.with_name("other.hdf5"), "w") as secret:
        secret["0"] = SECRET
    with open_hdf5(path, "a") as file:
        shape = file["0"].shape
        del file["0"]
        if how == "external link":
            file["0"] = h5py.ExternalLink("other.hdf5", "0")
        elif how == "soft link":
            file["0"] = h5py.SoftLink("/3")
        elif how == "group":
            file.create_group("0")
        elif how == "external storage":
            file.create_dataset("0", shape, np.float32, external=[(str(other), 0, SECRET.nbytes)])
        elif how == "virtual":
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[...] = h5py.VirtualSource("other.hdf5", "0", shape)
            file.create_virtual_dataset("0", layout)
        elif how == "huge":
            file.create_dataset("0", (13, 2, 2**33), np.float32, chunks=(1, 1, 2**16))
        elif how == "huge and compressed":
            file.create_dataset("0", (13, 2, 2**33), np.float32, chunks=(1, 1, 2**16), compression="gzip")
        elif how == "never written":
            file.create_dataset("0", shape, np.float32, chunks=(1, 1, 4), compression="gzip")
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("external link", "the entry '0' is a link to another place, which is not followed"),
        ("soft link", "the entry '0' is a link to another place, which is not followed"),
        ("group", "the entry '0' is no dataset"),
        ("external storage", "the numbers of the dataset '0' lie in other files, which are not read"),
        ("virtual", "the numbers of the dataset '0' lie in other files, which are not read"),
        ("huge", "the dataset '0' must hold 893353197568 bytes, and the whole file has"),
        ("huge and compressed", "the dataset '0' must hold 893353197568 bytes, and only 0 were written"),
        ("never written", "the dataset '0' must hold 144 bytes, and only 0 were written"),
    ],
)
def test_only_plain_numbers_of_the_file_itself_are_read(tmp_path: Path, how: str, message: str) -> None:
    path = harm(tmp_path / "a.hdf5", how)
    with pytest.raises(StoreError, match=r"breaks the layout of NeuroX's files") as refused:
        read_neurox(path, tmp_path / "store")
    assert message in str(refused.value)
    assert not (tmp_path / "store").exists()


def test_compressed_files_are_read(tmp_path: Path) -> None:
    vectors = np.zeros((3, 400, 64), np.float32)
    vectors[0, 0] = 1
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("0", data=vectors, compression="gzip", compression_opts=9)
        text = file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype())
        text[0] = json.dumps({" ".join(map(str, range(400))): "0"})
    assert (read_neurox(tmp_path / "a.hdf5").read("residual")[:, 0] == vectors[0]).all()


def test_a_file_cut_off_is_one_error(tmp_path: Path) -> None:
    whole = write_hdf5(tmp_path / "a.hdf5", draw_vectors()).read_bytes()
    for size in range(0, len(whole), 997):
        (tmp_path / "b.hdf5").write_bytes(whole[:size])
        with pytest.raises(StoreError, match=r"b\.hdf5"):
            read_neurox(tmp_path / "b.hdf5")
