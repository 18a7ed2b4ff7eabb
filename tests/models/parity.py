"""The PyTorch model beside ours: read and edited by hooks at the three sites, window by window."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lca_jax.axes import DECODER
from lca_jax.models.model import Model
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit
from tests.tiny_bert import pack

Zeroed = Mapping[str, Mapping[int, Sequence[int]]]
"""Site -> layer -> neurons."""


class Places(NamedTuple):
    """Where the sites of a stack lie in the PyTorch model."""

    blocks: str
    """The list of blocks."""
    attention: str
    """Inside a block, the matrix that reads the heads, or the method whose last argument they are."""
    mlp: str
    """Inside a block, the matrix that reads the units."""
    final_norm: str | None = None
    """What comes after the last block, if anything."""
    cross: str | None = None
    """Inside a block, the matrix that reads the heads of the attention to the encoder."""
    decoder: "Places | None" = None
    """The same for the second stack of an encoder-decoder."""


def _encoder_decoder(encoder: Places, **decoder: str) -> Places:
    """The decoder lies beside the encoder and has the same names but those given."""
    moved = {
        "blocks": encoder.blocks.replace("encoder", "decoder"),
        "final_norm": encoder.final_norm and encoder.final_norm.replace("encoder", "decoder"),
    }
    return encoder._replace(decoder=encoder._replace(**moved, **decoder))


_BERT = ("attention.output.dense", "output.dense")
_LLAMA = Places("model.layers", "self_attn.o_proj", "mlp.down_proj", "model.norm")
_T5 = _encoder_decoder(
    Places("encoder.block", "layer.0.SelfAttention.o", "layer.1.DenseReluDense.wo", "encoder.final_layer_norm"),
    mlp="layer.2.DenseReluDense.wo",
    cross="layer.1.EncDecAttention.o",
)
_BART = Places("model.encoder.layers", "self_attn.out_proj", "fc2")
_CROSS = "encoder_attn.out_proj"
PLACES = {
    "bert": Places("bert.encoder.layer", *_BERT),
    "roberta": Places("roberta.encoder.layer", *_BERT),
    "xlm-roberta": Places("roberta.encoder.layer", *_BERT),
    "camembert": Places("roberta.encoder.layer", *_BERT),
    "electra": Places("electra.encoder.layer", *_BERT),
    "albert": Places(
        "albert.encoder.albert_layer_groups", "albert_layers.0.attention.dense", "albert_layers.0.ffn_output"
    ),
    "distilbert": Places("distilbert.transformer.layer", "attention.out_lin", "ffn.lin2"),
    "mpnet": Places("mpnet.encoder.layer", "attention.attn.o", "output.dense"),
    "deberta-v2": Places("deberta.encoder.layer", *_BERT),
    "modernbert": Places("model.layers", "attn.Wo", "mlp.Wo", "model.final_norm"),
    "t5": _T5,
    "mt5": _T5,
    "bart": _encoder_decoder(_BART, cross=_CROSS),
    "mbart": _encoder_decoder(_BART._replace(final_norm="model.encoder.layer_norm"), cross=_CROSS),
    "marian": _encoder_decoder(_BART, cross=_CROSS),
    "m2m_100": _encoder_decoder(_BART._replace(final_norm="model.encoder.layer_norm"), cross=_CROSS),
    "xlnet": Places("transformer.layer", "rel_attn.post_attention", "ff.layer_2"),
    "gpt2": Places("transformer.h", "attn.c_proj", "mlp.c_proj", "transformer.ln_f"),
    "gpt_neox": Places("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h", "gpt_neox.final_layer_norm"),
    "opt": Places("model.decoder.layers", "self_attn.out_proj", "fc2", "model.decoder.final_layer_norm"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _LLAMA,
}


class Seen(NamedTuple):
    """What a model computed for one window."""

    states: dict[str, np.ndarray]
    """(layer, piece, neuron) by site."""
    logits: np.ndarray | None
    """(piece, vocabulary); None without a head."""


class Reference:
    """A PyTorch model with hooks. Layers that share a block share its hooks, which then count the calls."""

    def __init__(self, model: Any, config: StackConfig, places: Places) -> None:
        self.model = model
        self.stacks = [("", config.blocks, places)]
        if config.decoder is not None:
            assert places.decoder is not None
            self.stacks.append((DECODER, config.decoder.blocks, places.decoder))

    def run(self, window: np.ndarray, zeroed: Zeroed | None = None, *, target: np.ndarray | None = None) -> Seen:
        """Runs one window, and its target through the decoder, with some neurons zeroed at some layers."""
        import torch

        seen: dict[str, dict[int, np.ndarray]] = {}

        def tap(site: str, layer: int, states: Any) -> Any:
            states = states.clone()
            states[..., list((zeroed or {}).get(site, {}).get(layer, []))] = 0
            pieces = window if target is None or not site.startswith(DECODER) else target
            seen.setdefault(site, {})[layer] = states.reshape(len(pieces), -1).numpy()
            return states

        inputs = {"input_ids": window, "decoder_input_ids": target}
        inputs = {name: torch.tensor(ids[None].astype(np.int64)) for name, ids in inputs.items() if ids is not None}
        hooks = [hook for stack in self.stacks for hook in self._hooks(*stack, tap)]
        try:
            with torch.inference_mode():
                output = self.model(**inputs)
        finally:
            for hook in hooks:
                hook.remove()
        states = {site: np.stack([layers[number] for number in sorted(layers)]) for site, layers in seen.items()}
        logits = getattr(output, "logits", None)
        return Seen(states, None if logits is None else logits[0].numpy())

    def _hooks(self, prefix: str, block_of_layer: Sequence[int], places: Places, tap: Callable) -> Any:
        blocks = self.model.get_submodule(places.blocks)
        last = len(block_of_layer)
        norm = self._final_norm(places)
        for number in sorted(set(block_of_layer)):
            layers = [layer for layer, block in enumerate(block_of_layer) if block == number]
            block = blocks[number]
            inputs = {"attention": places.attention, "cross": places.cross, "mlp": places.mlp}
            for site, name in inputs.items():
                if name is None:
                    continue
                owner, _, leaf = name.rpartition(".")
                module = block.get_submodule(owner)
                if leaf in dict(module.named_children()):
                    yield module.get_submodule(leaf).register_forward_pre_hook(_before(tap, prefix + site, layers))
                else:
                    yield _MethodHook(module, leaf, _before_method(tap, prefix + site, layers))
            if number == 0:
                yield block.register_forward_pre_hook(_first_input(tap, f"{prefix}residual"), with_kwargs=True)
            ends = [layer + 1 if layer + 1 < last or norm is None else None for layer in layers]
            yield block.register_forward_hook(_after(tap, f"{prefix}residual", ends))
        if norm is not None:
            yield norm.register_forward_hook(_after(tap, f"{prefix}residual", [last]))

    def _final_norm(self, places: Places) -> Any:
        if places.final_norm is None:
            return None
        parent, _, name = places.final_norm.rpartition(".")
        return getattr(self.model.get_submodule(parent), name, None)


def _before(tap: Callable, site: str, layers: Sequence[int]) -> Callable:
    calls = iter(layers)
    return lambda _module, inputs: (tap(site, next(calls), inputs[0]), *inputs[1:])


def _before_method(tap: Callable, site: str, layers: Sequence[int]) -> Callable:
    calls = iter(layers)
    return lambda heads: tap(site, next(calls), heads.flatten(-2)).view_as(heads)


class _MethodHook:
    """Changes what a method of a module gets as its last argument, until it is removed."""

    def __init__(self, module: Any, name: str, change: Callable) -> None:
        self.module, self.name = module, name
        method = getattr(module, name)
        setattr(module, name, lambda *inputs: method(*inputs[:-1], change(inputs[-1])))

    def remove(self) -> None:
        delattr(self.module, self.name)


def _first_input(tap: Callable, site: str) -> Callable:
    calls = iter([0])

    def change(_module: Any, inputs: tuple, named: dict) -> tuple:
        if next(calls, None) is None:  # a shared block, called again
            return inputs, named
        if inputs:
            return (tap(site, 0, inputs[0]), *inputs[1:]), named
        return inputs, named | {"hidden_states": tap(site, 0, named["hidden_states"])}

    return change


def _after(tap: Callable, site: str, layers: Sequence[int | None]) -> Callable:
    calls = iter(layers)

    def change(_module: Any, _inputs: tuple, output: Any) -> Any:
        layer = next(calls)
        if layer is None:
            return output
        return (tap(site, layer, output[0]), *output[1:]) if isinstance(output, tuple) else tap(site, layer, output)

    return change


def identity_edits(model: Model) -> dict[str, Edit]:
    """Edits of every site that change nothing."""
    shapes = {site: (model.layer_count(site), model.width(site)) for site in model.config.sites}
    return {site: Edit(np.ones(shape, np.float32), np.zeros(shape, np.float32)) for site, shape in shapes.items()}


def zeroing_edits(model: Model, zeroed: Zeroed) -> dict[str, Edit]:
    """Edits of every site that zero some neurons."""
    edits = identity_edits(model)
    for site, layers in zeroed.items():
        for layer, neurons in layers.items():
            edits[site].scale[layer, list(neurons)] = 0
    return edits


class Compared(NamedTuple):
    """Largest differences over layers, pieces and neurons, by site and for logits, and how large the numbers are."""

    difference: dict[str, float]
    size: dict[str, float]
    share: dict[str, float]
    """Largest difference as a share of the largest neuron of the same piece in the same layer."""


class Comparison:
    """One compiled program that reads all sites and logits of windows, each alone in a row and packed with others.

    The decoder of an encoder-decoder reads `targets`, one a window, packed in the same rows.
    """

    def __init__(
        self,
        model: Model,
        reference: Reference,
        windows: Sequence[np.ndarray],
        *,
        slots: int,
        targets: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.reference, self.windows, self.targets = reference, windows, targets
        self.batch, self.places = _alone_and_packed(windows, slots=slots)
        target_batch, self.target_places = None, self.places
        if targets is not None:
            like = [(row - len(windows), place) for row, place in self.places[1]]
            target_batch, self.target_places = _alone_and_packed(targets, slots=slots, like=like)

        @jax.jit
        def step(params, edits):
            states = model.forward(params, self.batch, edits, sites=model.config.sites, targets=target_batch)
            if model.config.language_head is None:
                return states
            # The logits are returned like a further site of one layer.
            return states | {"logits": model.logits(params, self.batch, edits, targets=target_batch)[None]}

        self.step = lambda edits: jax.tree.map(np.asarray, step(model.params, edits))

    def run(self, edits: dict[str, Edit], zeroed: Zeroed | None = None) -> Compared:
        """Compares all sites and the logits, in both layouts."""
        ours = self.step(edits)
        difference: dict[str, float] = {}
        size: dict[str, float] = {}
        share: dict[str, float] = {}
        for number, window in enumerate(self.windows):
            theirs = self.reference.run(window, zeroed, target=self.targets[number] if self.targets else None)
            expected = theirs.states | ({} if theirs.logits is None else {"logits": theirs.logits[None]})
            for name in ours:
                of_target = self.targets and (name.startswith(DECODER) or name == "logits")
                for row, place in (layout[number] for layout in (self.target_places if of_target else self.places)):
                    mine = ours[name][:, row, place]
                    assert mine.shape == expected[name].shape, (name, mine.shape, expected[name].shape)
                    differences = np.abs(mine - expected[name]).max(axis=-1)
                    sizes = np.abs(expected[name]).max(axis=-1)
                    for found, value in ((difference, differences), (size, sizes), (share, differences / sizes)):
                        found[name] = max(found.get(name, 0.0), float(value.max()))
        return Compared(difference, size, share)


def _alone_and_packed(
    windows: Sequence[np.ndarray], *, slots: int, like: Sequence[tuple[int, slice]] | None = None
) -> tuple[Batch, tuple[list, list]]:
    """One batch of rows that hold one window each, then of rows that hold several; where each window is in both."""
    alone, lone_places = pack(windows, slots=slots, alone=True)
    packed, places = pack(windows, slots=slots, like=like)
    batch = jax.tree.map(lambda *both: np.concatenate(both), alone, packed)
    return batch, (lone_places, [(row + len(windows), place) for row, place in places])
