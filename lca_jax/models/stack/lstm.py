"""LSTM layers as blocks of a stack: their states are not added to those before, and nothing is normalised.

A row holds several texts, as for transformers (`text.packing`), and the state is reset where a text begins; read from
the end, where it ends. The products of all slots with the input matrices are one product; only those with the state
before are taken slot by slot. While a text is written, outputs and cells of the slots before lie in the memory.

A decoder's layer attends to the encoder's states with its output h: with their mixture c, tanh(W h + V c) flows on
(Luong et al. 2015, section 3), and the next slot of this layer reads h.

Source: Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000) and projections (Sak et al. 2014); the
order of the gates in the matrices is input, forget, cell, output, as in PyTorch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lca_jax.machine.precision import precision_of
from lca_jax.models.stack.attention import Attention, EncoderStates, View
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.layers import linear
from lca_jax.models.stack.memory import Memory
from lca_jax.models.stack.taps import Edit, Taps, apply_edit

States = Float[Array, "row slot neuron"]
_GATES = 4


class _Read(NamedTuple):
    """What one direction makes of rows."""

    states: Float[Array, "row slot own"]
    cells: Float[Array, "row slot cell"] | None
    gates: Float[Array, "row slot gate"] | None


class Direction(nnx.Module):
    """One direction of a layer."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        self.cells = config.attention.head_width
        self.width = config.residual_width // config.attention.heads
        self.precision = precision_of(config.dtype)
        self.input = linear(config, config.residual_width, _GATES * self.cells, bias=True, rngs=rngs)
        self.state = linear(config, self.width, _GATES * self.cells, bias=False, rngs=rngs)
        projected = self.cells != self.width
        self.project = linear(config, self.cells, self.width, bias=False, rngs=rngs) if projected else None

    def __call__(
        self,
        states: States,
        *,
        resets: Bool[Array, "row slot"],
        before: tuple[Float[Array, "row own"], Float[Array, "row cell"]] | None,
        edits: "_Edits",
        with_cells: bool,
        with_gates: bool,
        reverse: bool,
    ) -> _Read:
        """Reads rows; `resets` marks the slots before which nothing was read, `before` is what was read earlier."""
        inputs = self.input(states)
        rows = inputs.shape[0]
        if before is None:
            before = jnp.zeros((rows, self.width), inputs.dtype), jnp.zeros((rows, self.cells), inputs.dtype)
        matrix = self.state.kernel[...]
        project = None if self.project is None else self.project.kernel[...]

        def multiply(left: Float[Array, "row _in"], right: Float[Array, "_in _out"]) -> Float[Array, "row _out"]:
            return jnp.matmul(left, right, precision=self.precision)

        def step(carried: tuple[Array, Array], slot: tuple[Array, Array, _Where]) -> tuple[tuple[Array, Array], _Read]:
            of_slot, reset, where = slot
            state, cell = (jnp.where(reset[:, None], jnp.zeros((), part.dtype), part) for part in carried)
            enter, keep, new, leave = jnp.split(of_slot + multiply(state, matrix), _GATES, axis=-1)
            enter, keep, leave = (jax.nn.sigmoid(gate) for gate in (enter, keep, leave))
            gates = None
            if with_gates or edits.gates is not None:
                gates = _edited(edits.gates, where.gates, jnp.concatenate([enter, keep, jnp.tanh(new), leave], axis=-1))
                enter, keep, new, leave = jnp.split(gates, _GATES, axis=-1)
            else:
                new = jnp.tanh(new)
            cell = _edited(edits.cell, where.cell, keep * cell + enter * new)
            state = leave * jnp.tanh(cell)
            state = state if project is None else multiply(state, project)
            return (state, cell), _Read(state, cell if with_cells else None, gates if with_gates else None)

        by_slot = jnp.swapaxes(inputs, 0, 1), resets.T, edits.where()
        read = jax.lax.scan(step, before, by_slot, reverse=reverse)[1]
        return jax.tree.map(lambda part: jnp.swapaxes(part, 0, 1), read)


class _Where(NamedTuple):
    """The slots at which cells and gates are edited; by slot first, as a scan reads them. None for all."""

    cell: Bool[Array, "*slot row"] | None
    gates: Bool[Array, "*slot row"] | None


class _Edits(NamedTuple):
    """The edits of one direction of a layer, of one layer each."""

    cell: Edit | None
    gates: Edit | None

    @classmethod
    def of(cls, taps: Taps, layer: int, *, direction: int, cells: int) -> "_Edits":
        """Cuts the part of one direction out of the edits of a stack."""

        def cut(site: str, width: int) -> Edit | None:
            if site not in taps.edits:
                return None
            edit, own = taps.edits[site], slice(direction * width, (direction + 1) * width)
            scale, shift = (jnp.asarray(part)[layer : layer + 1, own] for part in (edit.scale, edit.shift))
            return Edit(scale, shift, edit.where)

        return cls(cut("cell", cells), cut("gates", _GATES * cells))

    def where(self) -> _Where:
        """Returns the slots of both edits."""
        places = [None if one is None or one.where is None else jnp.asarray(one.where).T for one in self]
        return _Where(*places)


def _edited(
    edit: Edit | None, where: Bool[Array, " row"] | None, states: Float[Array, "row neuron"]
) -> Float[Array, "row neuron"]:
    """Returns the states of one slot after an edit."""
    if edit is None:
        return states
    here = edit._replace(where=None if where is None else where[:, None])
    return apply_edit(here, 0, states[:, None])[:, 0]


class LstmBlock(nnx.Module):
    """An LSTM layer, and in a decoder what it reads of the encoder."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        self.forward = Direction(config, rngs=rngs)
        self.backward = None if config.attention.causal else Direction(config, rngs=rngs)
        self.cross = Attention(config, site="cross", rngs=rngs) if config.cross else None
        width = config.residual_width
        self.combine = linear(config, width, width, bias=True, rngs=rngs) if config.cross else None

    def __call__(
        self, states: States, *, view: View, encoder: EncoderStates | None, layer: int, taps: Taps, memory: Memory
    ) -> States:
        """Returns the next hidden states."""
        assert view.starts is not None
        before = memory.state_before(layer)
        earlier = None if before is None else (before[0][:, 0], before[1][:, 0])
        parts: list[_Read] = []
        for number, direction in enumerate((self.forward, self.backward)):
            if direction is None:
                continue
            resets = view.ends if number else view.starts
            assert resets is not None
            parts.append(
                direction(
                    states,
                    resets=resets,
                    before=earlier,
                    edits=_Edits.of(taps, layer, direction=number, cells=direction.cells),
                    with_cells=before is not None or taps.asks("cell", layer),
                    with_gates=taps.asks("gates", layer),
                    reverse=bool(number),
                )
            )
        output = jnp.concatenate([part.states for part in parts], axis=-1)
        for site, own in (("cell", [part.cells for part in parts]), ("gates", [part.gates for part in parts])):
            if taps.asks(site, layer):
                taps.capture(site, layer, jnp.concatenate([part for part in own if part is not None], axis=-1))
        if before is not None:
            memory.extend(layer, (output, parts[0].cells))
        if self.cross is not None and self.combine is not None and encoder is not None:
            read = self.cross.read(encoder, output, layer=layer, taps=taps, memory=memory)
            output = jnp.tanh(self.combine(output) + read)
        return taps.drop(output)
