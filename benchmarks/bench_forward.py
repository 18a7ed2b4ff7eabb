"""Measures the forward pass alone: tokens a second on real text against PyTorch, and the speed of every family.

    python -m benchmarks.bench_forward --corpus en_ewt-ud-train.conllu.gz --sentences 2000 --out result.json

Two parts.

Text. Both competitors start with the pieces of the same sentences and end when all hidden states have been computed;
no states are copied from the device. They are compared on the first piece of every word, in the last layer.

    lca_jax    packed rows of 128 slots, eight a batch (on an accelerator 128 a batch)
    torch      `sdpa` attention, sentences sorted by length, batches of 32

Sentences of more than 128 pieces are left out for both; the result says how many.

Stacks. One batch of 1,024 slots (16,384 on an accelerator), full of windows of 32 pieces, goes through random weights:
of every family at one size (768 wide, 4 layers, 12 heads, its other settings unchanged), and of the whole shapes of
BERT-base and XLM-R-large. An accelerator computes in bfloat16, a CPU in float32.

The work. A piece costs two operations for every number in the matrices of the layers it passes, and 4 · heads · width
of a head · L in attention to the L pieces of its sentence. The floor is this work at the rate measured for a large
matrix product in the same precision. A row of R slots computes and masks R/L times the scores that L pieces
need: at R = 128, L = 24 and 384 neurons these are 6 % of the matrices' operations. Reading the weights once a batch
costs 4 bytes for every 2,048 operations, so no machine is bound by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float32
from transformers import AutoConfig

from benchmarks import harness, incumbent
from benchmarks.source import ModelAndCorpus
from lca_jax.models.families import FAMILIES
from lca_jax.models.load import load_model
from lca_jax.models.loading.weights import draw_weights
from lca_jax.models.model import Model
from lca_jax.models.stack.attention_config import AttentionKind
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.stack import Batch, Params, build, forward
from lca_jax.text.alignment import align_sentences, special_pieces
from lca_jax.text.conllu import read_conllu
from lca_jax.text.packing import PackedRows, pack_windows
from lca_jax.text.windows import Window, cut_windows

ROW_LENGTH = 128
WINDOW = 32
TORCH_BATCH = 32
LARGEST_DIFFERENCE = 1e-4
"""Largest allowed difference between the hidden states of two competitors: float32 rounding of a whole model."""

SHAPES: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "BERT-base": ("bert", {}),
    "XLM-R-large": (
        "xlm-roberta",
        {
            "vocab_size": 250_002,
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "max_position_embeddings": 514,
        },
    ),
}
"""Model type and config of the whole shapes."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    sentences: int = 2000
    """Number of leading sentences; fewer if the corpus has fewer."""
    repetitions: int = 5
    """Number of timed rounds."""
    stacks: bool = True
    """Measure the families and whole shapes too."""
    out: Path | None = None
    """Result file; without it the tables are only printed."""
    quick: bool = False
    """40 sentences, one round, two narrow families: tries the program, measures nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(
        Settings, args=arguments, description="The forward pass against PyTorch, and the speed of every family."
    )
    if settings.quick:
        settings = replace(settings, sentences=min(40, settings.sentences), repetitions=1)
    before = harness.load_average()
    content: dict[str, object] = {"text": measure_text(settings)}
    if settings.stacks:
        content["stacks"] = measure_stacks(settings)
    content["load"] = {"before": before, "after": harness.load_average()}
    if settings.out:
        harness.write_result(settings.out, "forward", content)


def measure_text(settings: Settings) -> dict[str, object]:
    """Times both competitors on the same sentences and checks that they compute the same states."""
    model = load_model(settings.model_folder)
    sentences = read_conllu(settings.corpus_file).sentences[: settings.sentences]
    windows = _short_windows(model, sentences)
    offsets = np.cumsum([0, *(len(sentence) for sentence in sentences)])
    packed = pack_windows(windows, row_length=ROW_LENGTH, word_offsets=offsets, pad_id=0)
    batches = _cut_batches(packed, rows=_batch_slots() // ROW_LENGTH)
    traces: list[None] = []

    @jax.jit
    def run(params: Params, batch: Batch) -> tuple[Array, Array]:
        traces.append(None)
        layers = model.forward(params, batch)["residual"]
        return layers, layers[-1]

    def ours() -> list[Array]:
        last = []
        for batch in batches:
            layers, states = run(model.params, batch)
            last.append(states)
            if len(last) > 2:  # as in extraction, two batches are computed ahead
                last[-3].block_until_ready()
            del layers
        return jax.block_until_ready(last)

    peer = incumbent.load_torch_model(settings.model_folder)
    competitors: dict[str, Callable[[], Sequence[Array | np.ndarray]]] = {
        "lca_jax": ours,
        "torch": partial(_run_torch, peer, windows),
    }
    timings, results = harness.time_interleaved(competitors, repetitions=settings.repetitions)
    our_states = np.concatenate(results["lca_jax"])[packed.rows, packed.starts]
    difference = float(np.abs(our_states - np.concatenate(results["torch"])).max())
    if difference > LARGEST_DIFFERENCE:
        raise ValueError(f"Hidden states may differ by {LARGEST_DIFFERENCE}, got {difference:.2e}.")
    lengths = [len(window.piece_ids) for window in windows]
    flop = sum(_flop(model.config, model.params, pieces=length, length=length) for length in lengths)
    ceiling = harness.measure_machine(side=256 if settings.quick else None)
    words = len(packed.words)
    rows = {
        name: {
            **timing.as_json(),
            "words_per_s": words / timing.median_s,
            "tokens_per_s": sum(lengths) / timing.median_s,
            "peak_share": flop / timing.median_s / ceiling.flop_per_s,
        }
        for name, timing in timings.items()
    }
    ratio = timings["torch"].median_s / timings["lca_jax"].median_s
    shown = ("median_s", "spread", "words_per_s", "tokens_per_s", "peak_share", "compile_s")
    harness.print_table(f"{words} words", {name: {key: row[key] for key in shown} for name, row in rows.items()})
    print(f"times as long as lca_jax: torch {ratio:.2f}; largest difference {difference:.1e}")
    return {
        "input": {**settings.names(), "sentences": len(windows), "words": words},
        "left_out": len(sentences) - len(windows),
        "packed_share": sum(lengths) / packed.segments.size,
        "compilations": len(traces),
        "largest_difference": difference,
        "ceiling": ceiling.as_json(),
        "work": {"flop": flop, "floor_s": ceiling.floor_s(flop=flop)},
        "competitors": rows,
        "times_as_long_as_lca_jax": ratio,
    }


def measure_stacks(settings: Settings) -> dict[str, object]:
    """Times every family at one size, and whole shapes, on one batch through random weights."""
    dtype: Precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    shapes = {
        name: FAMILIES[kind].read_config(AutoConfig.for_model(kind, **keys), dtype)
        for name, (kind, keys) in SHAPES.items()
    }
    families = {f"family {kind}": _at_one_size(kind, dtype, quick=settings.quick) for kind in sorted(FAMILIES)}
    chosen = dict(list(families.items())[:2]) if settings.quick else families | shapes
    rows: dict[str, dict[str, object]] = {}
    for name, config in chosen.items():
        rows[name] = _measure_stack(config, repetitions=settings.repetitions)
    shown = ("median_s", "spread", "tokens_per_s", "flop_per_s", "compile_s")
    harness.print_table(f"stacks, {dtype}", {name: {key: row[key] for key in shown} for name, row in rows.items()})
    return {
        "dtype": dtype,
        "ceiling": harness.measure_machine(side=256 if settings.quick else None).as_json(),
        "rows": rows,
    }


def _measure_stack(config: StackConfig, *, repetitions: int) -> dict[str, object]:
    config = replace(config, head=None)
    graph, shapes = build(config)
    params = draw_weights(config, shapes, seed=0)
    slots = _batch_slots()
    ids = np.random.default_rng(0).integers(5, config.embedding.vocabulary, slots).astype(np.int32)
    place = np.arange(slots, dtype=np.int32).reshape(-1, ROW_LENGTH) % ROW_LENGTH
    batch = Batch(ids.reshape(place.shape), place % WINDOW, place // WINDOW + 1)
    run = jax.jit(lambda params, batch: forward(graph, params, batch, reads={"residual": (config.layers,)})["residual"])
    timings, results = harness.time_interleaved(
        {"run": lambda: run(params, batch).block_until_ready()}, repetitions=repetitions
    )
    if not bool(jnp.isfinite(results["run"]).all()):
        raise ValueError(f"The states of {config.family} are not finite.")
    timing = timings["run"]
    flop = _flop(config, params, pieces=slots, length=WINDOW)
    return {
        **timing.as_json(),
        "layers": config.layers,
        "width": config.residual_width,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "tokens_per_s": slots / timing.median_s,
        "flop_per_s": flop / timing.median_s,
    }


def _at_one_size(kind: str, dtype: Precision, *, quick: bool) -> StackConfig:
    """Returns the family's default config with one width and few layers; the encoder, for encoder-decoders."""
    width, layers, heads = (64, 2, 4) if quick else (768, 4, 12)
    plain = replace(FAMILIES[kind].read_config(AutoConfig.for_model(kind), dtype), decoder=None)
    attention = replace(
        plain.attention,
        heads=heads,
        key_heads=heads if plain.attention.heads == plain.attention.key_heads else heads // 2,
        head_width=width // heads,
        kinds=tuple(_cut_rotation(kind, pairs=width // heads // 2) for kind in plain.attention.kinds),
        kind_of_layer=plain.attention.kind_of_layer[:layers],
    )
    embedding_width = width // 2 if plain.embedding.projected else width
    vocabulary = min(plain.embedding.vocabulary, 30_000)
    return replace(
        plain,
        layers=layers,
        residual_width=width,
        embedding=replace(plain.embedding, vocabulary=vocabulary, width=embedding_width),
        attention=attention,
        mlp=replace(plain.mlp, width=4 * width),
        block_of_layer=plain.block_of_layer[:layers],
    )


def _cut_rotation(kind: AttentionKind, *, pairs: int) -> AttentionKind:
    if kind.rotary is None:
        return kind
    return replace(kind, rotary=replace(kind.rotary, frequencies=kind.rotary.frequencies[:pairs]))


def _flop(config: StackConfig, params: Params, *, pieces: int, length: int) -> float:
    """Operations of some pieces of windows of one length, as the module's docstring counts them."""
    leaves = jax.tree_util.tree_flatten_with_path(params["blocks"])[0]
    matrices = dict.fromkeys(config.blocks, 0)
    for path, leaf in leaves:
        if leaf.ndim == 2:
            matrices[path[0].key] += leaf.size
    in_matrices = sum(2 * matrices[block] for block in config.blocks)
    return float(pieces) * (in_matrices + 4 * config.layers * config.heads_width * length)


def _batch_slots() -> int:
    return 1_024 if jax.default_backend() == "cpu" else 16_384


def _short_windows(model: Model, sentences: Sequence[Sequence[str]]) -> list[Window]:
    prefix, suffix = special_pieces(model.tokenizer)
    windows = []
    for number, aligned in enumerate(align_sentences(model.tokenizer, sentences)):
        cut, _ = cut_windows(aligned, sentence=number, max_pieces=model.max_pieces, prefix=prefix, suffix=suffix)
        windows += [window for window in cut if len(cut) == 1 and len(window.piece_ids) <= ROW_LENGTH]
    return windows


def _cut_batches(packed: PackedRows, *, rows: int) -> list[Batch]:
    """Cuts the rows into batches of one shape; the last one is filled with padding."""
    arrays = [np.pad(array, ((0, -len(array) % rows), (0, 0))) for array in packed[:3]]
    return [Batch(*(array[first : first + rows] for array in arrays)) for first in range(0, len(arrays[0]), rows)]


def _run_torch(peer: incumbent.TorchModel, windows: Sequence[Window]) -> list[Float32[np.ndarray, "word neuron"]]:
    """Returns the last states at the first piece of every word, in the order of the sentences."""
    import torch

    order = np.argsort([len(window.piece_ids) for window in windows], kind="stable")
    states_of: dict[int, Float32[np.ndarray, "word neuron"]] = {}
    with torch.inference_mode():
        for first in range(0, len(order), TORCH_BATCH):
            chosen = order[first : first + TORCH_BATCH].tolist()
            ids = [windows[number].piece_ids.tolist() for number in chosen]
            batch = peer.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
            states = peer.network(**batch).hidden_states[-1].numpy()
            states_of |= {number: states[row, windows[number].starts] for row, number in enumerate(chosen)}
    return [states_of[number] for number in range(len(windows))]


if __name__ == "__main__":
    main()
