"""The incumbent: extraction and probe training as NeuroX does them, and a careful PyTorch loop for comparison.

NeuroX (Dalvi et al. 2019; Sajjad et al. 2023) extracts one sentence in a forward pass. To count the pieces of a word,
it tokenizes the word between two letters ("a WORD a") and drops the letters. It applies the counts to the pieces of the
sentence; the vector of a word is that of its last piece at every layer. Its probe is one `nn.Linear`, trained by Adam
(rate 1e-3) on mini-batches of 32 words in the order of the corpus, 10 epochs, on

    mean cross-entropy of the batch + l1 ‖W‖₁ + l2 ‖W‖_F          (the norm is not squared, the bias is free)

`extract_one_by_one` and `train_probe` are written from that description; nothing is copied. `extract_in_batches` is
the loop of a careful PyTorch user: sentences sorted by length, 32 at a time, pieces from `word_ids()`, last pieces
gathered before they leave the model. It shows how much of a gain comes from batching alone.

NeuroX itself is timed too if it can be imported. Its pins (torch 1.8, numpy 1.19, …) cannot be met on a
current Python, so install it without them: `pip install --no-deps neurox==1.0.9 imbalanced-learn sklearn-compat`. Two
names that numpy and torch have since removed are then missing: `np.int`, for `create_tensors`, and `torch.eig`, for its
Gaussian probe. This module calls only its extraction and its linear probe, which need neither.

The functions of this module import PyTorch themselves.
"""

import importlib
import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int
from transformers import AutoTokenizer, PreTrainedTokenizerFast

if TYPE_CHECKING:
    import torch

Sentences = Sequence[Sequence[str]]
Vectors = Float32[np.ndarray, "word layer neuron"]


class TorchModel(NamedTuple):
    """A loaded PyTorch model that returns all hidden states, and its tokenizer."""

    network: "torch.nn.Module"
    tokenizer: PreTrainedTokenizerFast
    max_pieces: int
    """Maximum number of pieces of a sentence, special ones included."""
    layers: int
    """Number of hidden states, the embedding output included."""
    width: int


class TorchProbe(NamedTuple):
    """The weights of a trained probe."""

    weights: Float32[np.ndarray, "feature class"]
    bias: Float32[np.ndarray, " class"]


def load_torch_model(folder: Path) -> TorchModel:
    """Loads a Hugging Face folder in float32, with the default attention of transformers (`sdpa`)."""
    transformers = importlib.import_module("transformers")
    network = transformers.AutoModel.from_pretrained(folder, output_hidden_states=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return TorchModel(
        network=network,
        tokenizer=tokenizer,
        max_pieces=min(network.config.max_position_embeddings, tokenizer.model_max_length),
        layers=network.config.num_hidden_layers + 1,
        width=network.config.hidden_size,
    )


def extract_one_by_one(model: TorchModel, sentences: Sentences, out: Path) -> Path:
    """Extracts as NeuroX does: one forward pass for each sentence, all layers to the host, last pieces by counting.

    Args:
        model: Model from `load_torch_model`.
        sentences: Words of each sentence.
        out: File to write, which `read_vectors` reads.
    """
    import torch

    with torch.no_grad(), _Writer(out) as writer:
        for words in sentences:
            special = _special_ids(model.tokenizer)
            counts = [_count_pieces(model.tokenizer, words, place, special) for place in range(len(words))]
            ids = model.tokenizer.encode(" ".join(words), truncation=True, max_length=model.max_pieces)
            states = model.network(torch.tensor([ids])).hidden_states
            layers = np.array([layer[0].numpy() for layer in states])
            ordinary = np.flatnonzero(~np.isin(ids, special))
            ends = np.cumsum(counts)
            whole = ends <= len(ordinary)
            vectors = layers[:, ordinary[ends[whole] - 1]]
            vectors[:, np.array(counts)[whole] == 0] = 0
            writer.add(vectors)
    return out


def extract_in_batches(model: TorchModel, sentences: Sentences, out: Path, *, batch_size: int = 32) -> Path:
    """Extracts as a careful PyTorch user would, into one `.npy` of shape (word, layer, neuron).

    Args:
        model: Model from `load_torch_model`.
        sentences: Words of each sentence; no sentence may be longer than the model allows.
        out: File to write.
        batch_size: Number of sentences in a forward pass.
    """
    import torch

    encoded = model.tokenizer([list(words) for words in sentences], is_split_into_words=True)
    order = np.argsort([len(ids) for ids in encoded["input_ids"]], kind="stable")
    offsets = np.cumsum([0, *map(len, sentences)])
    shape = (int(offsets[-1]), model.layers, model.width)
    vectors = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=shape)
    with torch.inference_mode():
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            batch = model.tokenizer.pad({"input_ids": [encoded["input_ids"][i] for i in chosen]}, return_tensors="pt")
            states = model.network(**batch).hidden_states
            places = [_last_pieces(encoded.word_ids(i)) for i in chosen]
            rows = np.repeat(np.arange(len(chosen)), [len(words) for words, _ in places])
            slots = np.concatenate([last for _, last in places])
            read = torch.stack([layer[rows, slots] for layer in states], dim=1)
            words = np.concatenate([offsets[i] + words for i, (words, _) in zip(chosen, places, strict=True)])
            vectors[words] = read.numpy()
    vectors.flush()
    return out


def sentence_file(folder: Path, name: str) -> Path:
    """Returns the file for `extract_one_by_one`: HDF5 if h5py is installed, else NumPy arrays one after the other."""
    return folder / (f"{name}.hdf5" if importlib.util.find_spec("h5py") else f"{name}.npy-sequence")


def read_vectors(path: Path) -> Iterator[Vectors]:
    """Yields the sentences of a file that `extract_one_by_one` or NeuroX wrote, in order.

    HDF5 files have NeuroX's layout: one dataset for each sentence, (layer, word, neuron), named by its number.
    """
    if path.suffix == ".hdf5":
        with importlib.import_module("h5py").File(path) as file:
            for number in range(sum(name.isdigit() for name in file)):
                yield np.swapaxes(file[str(number)][:], 0, 1)
    else:
        with path.open("rb") as file:
            while file.peek(1):
                yield np.swapaxes(np.load(file), 0, 1)


def train_probe(
    X: Float32[np.ndarray, "word feature"],
    y: Int[np.ndarray, " word"],
    *,
    l1: float,
    l2: float,
    squared: bool = False,
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> TorchProbe:
    """Trains a probe by NeuroX's procedure for some epochs; the other arguments are those of `probe_epochs`."""
    probes = probe_epochs(
        X,
        y,
        l1=l1,
        l2=l2,
        squared=squared,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
    )
    return next(islice(probes, epochs - 1, None))


def probe_epochs(
    X: Float32[np.ndarray, "word feature"],
    y: Int[np.ndarray, " word"],
    *,
    l1: float,
    l2: float,
    squared: bool = False,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[TorchProbe]:
    """Yields the probe after every epoch of NeuroX's procedure, without end.

    Args:
        X: Features.
        y: Class numbers from 0.
        l1: Weight of ‖W‖₁.
        l2: Weight of ‖W‖_F.
        squared: Whether the second term is (l2/2) ‖W‖²_F: the same procedure on the elastic net.
        batch_size: Number of words in a step, in their order.
        learning_rate: Learning rate of Adam.
        seed: Seed of the starting weights.
        device: PyTorch's name of the device, which holds all of X.
    """
    import torch

    torch.manual_seed(seed)
    layer = torch.nn.Linear(X.shape[1], int(y.max()) + 1).to(device)
    optimizer = torch.optim.Adam(layer.parameters(), lr=learning_rate)
    inputs, labels = torch.from_numpy(X).to(device), torch.from_numpy(y.astype(np.int64)).to(device)
    while True:
        for first in range(0, len(y), batch_size):
            optimizer.zero_grad()
            scores = layer(inputs[first : first + batch_size])
            loss = torch.nn.functional.cross_entropy(scores, labels[first : first + batch_size])
            norm = (layer.weight**2).sum() / 2 if squared else layer.weight.norm()
            (loss + l1 * layer.weight.abs().sum() + l2 * norm).backward()
            optimizer.step()
        weights, bias = layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()
        yield TorchProbe(weights.T.copy(), bias.copy())


def training_device() -> str:
    """Returns PyTorch's name of the device that JAX computes on, or `cpu` if PyTorch does not see that device."""
    import torch

    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def has_neurox() -> bool:
    """Returns whether NeuroX itself can be timed."""
    return importlib.util.find_spec("neurox") is not None


def neurox_extractor(folder: Path) -> Callable[[Sentences, Path], Path]:
    """Returns NeuroX's own extraction from a loaded model into its own HDF5 writer, without its printing."""
    extractor = importlib.import_module("neurox.data.extraction.transformers_extractor")
    writer_of = importlib.import_module("neurox.data.writer").ActivationsWriter.get_writer
    network, tokenizer = extractor.get_model_and_tokenizer(str(folder), device="cpu")
    counts: dict[str, int] = {}

    def extract(sentences: Sentences, out: Path) -> Path:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            writer = writer_of(str(out), filetype="hdf5")
            for number, words in enumerate(sentences):
                vectors, pieces = extractor.extract_sentence_representations(
                    " ".join(words), network, tokenizer, tokenization_counts=counts
                )
                writer.write_activations(number, pieces, vectors)
            writer.close()
        return out

    return extract


def neurox_train_probe(
    X: Float32[np.ndarray, "word feature"], y: Int[np.ndarray, " word"], *, l1: float, l2: float, batch_size: int = 32
) -> TorchProbe:
    """Trains NeuroX's own probe for 10 epochs, without its printing."""
    linear_probe = importlib.import_module("neurox.interpretation.linear_probe")
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        probe = linear_probe.train_logistic_regression_probe(
            X, y.astype(np.int64), lambda_l1=l1, lambda_l2=l2, batch_size=batch_size
        )
    parameters: dict[str, np.ndarray] = {name: value.detach().cpu().numpy() for name, value in probe.named_parameters()}
    (weights,) = (value for name, value in parameters.items() if name.endswith("weight"))
    (bias,) = (value for name, value in parameters.items() if name.endswith("bias"))
    return TorchProbe(weights.T.copy(), bias.copy())


class _Writer:
    """Writes one array (layer, word, neuron) for each sentence into the file that `read_vectors` reads; a context."""

    def __init__(self, path: Path) -> None:
        hdf5 = path.suffix == ".hdf5"
        self._file: Any = importlib.import_module("h5py").File(path, "w") if hdf5 else path.open("wb")
        self._hdf5 = hdf5
        self._count = 0

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, vectors: Float32[np.ndarray, "layer word neuron"]) -> None:
        if self._hdf5:
            self._file.create_dataset(str(self._count), data=vectors)
        else:
            np.save(self._file, vectors)
        self._count += 1


def _special_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    return [piece for piece in tokenizer.all_special_ids if piece != tokenizer.unk_token_id]


def _count_pieces(tokenizer: PreTrainedTokenizerFast, words: Sequence[str], place: int, special: Sequence[int]) -> int:
    """Counts the pieces of a word between letters, without these; the first and the last word have one letter."""
    before, after = place > 0, place < len(words) - 1
    text = f"{'a ' if before else ''}{words[place]}{' a' if after else ''}"
    return sum(piece not in special for piece in tokenizer.encode(text)) - before - after


def _last_pieces(word_ids: Sequence[int | None]) -> tuple[Int[np.ndarray, " word"], Int[np.ndarray, " word"]]:
    """Returns the words of a sentence that have a piece, and the slot of the last piece of each."""
    last = {word: slot for slot, word in enumerate(word_ids) if word is not None}
    return np.array(list(last), np.int64), np.array(list(last.values()), np.int64)
