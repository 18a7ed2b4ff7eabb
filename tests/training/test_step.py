"""One step against PyTorch's on copied weights; dropout by count; the learning rate by hand."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax import Corpus, load_model
from lca_jax.errors import SettingsError
from lca_jax.models.model import Model
from lca_jax.models.stack import stack
from lca_jax.models.stack.dropout import Dropout
from lca_jax.training.batches import Shapes, TextBatch, make_batch
from lca_jax.training.settings import Frozen, Tuning, rate_of_step
from lca_jax.training.step import Plan, join_params, measure_step, split_params, start_state, train_step
from lca_jax.training.texts import read_texts
from tests.tiny_bert import write_bert
from tests.training.texts import lettered

RATE, DECAY = 1e-3, 0.1


class Both:
    """The same BERT, classifier and sentences in the package and, in float64, in PyTorch."""

    def __init__(self, folder: Path, *, task: str, pool: Any) -> None:
        import torch
        from transformers import BertModel

        self.model: Model = load_model(write_bert(folder))
        self.corpus: Corpus = lettered(7, seed=3)
        texts = read_texts(self.model, self.corpus, task, classes=self.corpus.classes(task), pool=pool)
        shapes = Shapes.plan([texts], windows=7, seed=0)
        self.batch: TextBatch = make_batch(texts, np.arange(7), shapes)
        self.classes = np.concatenate(texts.classes)
        self.windows = texts.windows
        generator = np.random.default_rng(0)
        kernel = generator.standard_normal((32, 2)).astype(np.float32)
        self.head = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(2)}
        self.torch: Any = BertModel.from_pretrained(folder, add_pooling_layer=False).eval().double()
        self.linear = torch.nn.Linear(32, 2).double()
        self.linear.weight.data = torch.tensor(kernel.T.astype(np.float64))
        self.linear.bias.data.zero_()

    def plan(self, *, clip: float) -> Plan:
        return Plan.of(self.model.config, Tuning(dropout=0.0, weight_decay=DECAY, clip=clip))

    def trained(self) -> dict[str, Any]:
        stack_params, kept = split_params(self.model.params, self.model.config, "nothing")
        assert not kept
        return {"stack": stack_params, "classifier": jax.tree.map(jnp.array, self.head)}

    def torch_loss(self) -> Any:
        import torch

        vectors = []
        for window in self.windows:
            (states,) = self.torch(torch.tensor(window.piece_ids.astype(np.int64))[None]).last_hidden_state
            spans = zip(window.starts.tolist(), window.ends.tolist(), strict=True)
            vectors += [states[first:last].mean(dim=0) for first, last in spans]
        gold = torch.tensor(self.classes.astype(np.int64))
        return torch.nn.functional.cross_entropy(self.linear(torch.stack(vectors)), gold)

    def torch_arrays(self, *, gradient: bool) -> dict[str, np.ndarray]:
        """Parameters or gradients of PyTorch under the names of the stack."""

        def of(parameter: Any) -> np.ndarray:
            return (parameter.grad if gradient else parameter).detach().numpy()

        names = dict(self.torch.named_parameters())
        arrays = {"classifier.kernel": of(self.linear.weight).T, "classifier.bias": of(self.linear.bias)}
        parts = {
            "attention.query": "attention.self.query", "attention.key": "attention.self.key",
            "attention.value": "attention.self.value", "attention.output": "attention.output.dense",
            "attention_norm": "attention.output.LayerNorm", "mlp.expand": "intermediate.dense",
            "mlp.contract": "output.dense", "mlp_norm": "output.LayerNorm",
        }  # fmt: skip
        tables = {"pieces": "word", "positions": "position", "token_types": "token_type"}
        for ours, theirs in tables.items():
            arrays[f"stack.embedding.{ours}.embedding"] = of(names[f"embeddings.{theirs}_embeddings.weight"])
        modules = {"stack.embedding.norm": "embeddings.LayerNorm"}
        for layer in range(2):
            modules |= {
                f"stack.blocks.{layer}.{ours}": f"encoder.layer.{layer}.{theirs}" for ours, theirs in parts.items()
            }
        for ours, theirs in modules.items():
            weight, is_norm = of(names[f"{theirs}.weight"]), ours.endswith("norm")
            arrays[f"{ours}.scale" if is_norm else f"{ours}.kernel"] = weight if is_norm else weight.T
            arrays[f"{ours}.bias"] = of(names[f"{theirs}.bias"])
        return arrays


def by_name(tree: Any) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


@pytest.mark.parametrize(("task", "pool"), [("has", "sentence-mean"), ("half", "mean")])
def test_loss_and_gradient_are_those_of_pytorch(tmp_path: Path, task: str, pool: str) -> None:
    both = Both(tmp_path, task=task, pool=pool)
    plan, count = both.plan(clip=1.0), len(both.classes)

    def loss(trained: Any) -> Any:
        return measure_step(plan, {}, trained, both.batch).loss / count

    ours, gradient = jax.value_and_grad(loss)(both.trained())
    theirs = both.torch_loss()
    theirs.backward()
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-5)
    expected, found = both.torch_arrays(gradient=True), by_name(gradient)
    assert set(expected) == set(found)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("clip", [1e6, 0.1])
def test_a_step_of_adamw_is_that_of_pytorch(tmp_path: Path, clip: float) -> None:
    import torch

    both = Both(tmp_path, task="has", pool="sentence-mean")
    plan = both.plan(clip=clip)
    state, loss = train_step(
        plan, {}, start_state(both.trained(), plan), both.batch, jnp.float32(RATE), jax.random.key(0)
    )
    parameters = [*both.torch.parameters(), *both.linear.parameters()]
    decaying, others = ([p for p in parameters if (p.ndim > 1) == wanted] for wanted in (True, False))
    groups = [{"params": decaying, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    before = both.torch_loss()
    before.backward()
    assert float(torch.nn.utils.clip_grad_norm_(parameters, clip)) > 0.1  # so that the smaller limit is reached
    gradient = both.torch_arrays(gradient=True)
    optimiser.step()
    np.testing.assert_allclose(loss, before.item(), rtol=1e-5)
    expected, found = both.torch_arrays(gradient=False), by_name(state.trained)
    for name, array in expected.items():
        # Adam's first step is the sign of the gradient: where that is nothing but rounding (the bias of keys, which
        # no softmax sees), so is the sign.
        told = (np.abs(gradient[name]) > 1e-6) | (gradient[name] == 0)
        np.testing.assert_allclose(found[name][told], array[told], atol=1e-5, err_msg=name)
        assert told.mean() > 0.9 or name.endswith("key.bias"), name


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    drop = Dropout(rate=0.3, key=jax.random.key(0))
    first, second = (np.asarray(drop(jnp.ones((500, 400)))) for _ in range(2))
    spread = np.sqrt(0.3 * 0.7 / first.size)
    for mask in (first, second):
        assert abs((mask == 0).mean() - 0.3) < 5 * spread
        np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.7], rtol=1e-6)
    both = ((first == 0) & (second == 0)).mean()
    assert abs(both - 0.09) < 5 * np.sqrt(0.09 * 0.91 / first.size), "two masks of a run are independent"
    again = Dropout(rate=0.3, key=jax.random.key(0))(jnp.ones((500, 400)))
    np.testing.assert_array_equal(again, first)


def test_every_part_of_the_stack_is_dropped(tmp_path: Path) -> None:
    both = Both(tmp_path, task="has", pool="sentence-mean")
    model, reads = both.model, {"residual": (2,)}
    drop = Dropout(rate=0.5, key=jax.random.key(1))
    noisy = stack.forward(model.graph, model.params, both.batch.pieces, reads=reads, dropout=drop)["residual"]
    assert drop.calls == 1 + 2 * 3, "the embedding; in each block weights of attention, its output, that of the mlp"
    plain = stack.forward(model.graph, model.params, both.batch.pieces, reads=reads)["residual"]
    none = Dropout(rate=0.0, key=jax.random.key(1))
    same = stack.forward(model.graph, model.params, both.batch.pieces, reads=reads, dropout=none)["residual"]
    np.testing.assert_array_equal(same, plain)
    assert np.abs(np.asarray(noisy - plain)).max() > 0.1


def test_the_rate_rises_and_falls_as_computed_by_hand() -> None:
    settings = Tuning(rate=0.1, warmup=0.4)
    rates = [rate_of_step(settings, step, 10) for step in range(10)]
    np.testing.assert_allclose(
        rates, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1 * 5 / 6, 0.1 * 4 / 6, 0.05, 0.1 * 2 / 6, 0.1 / 6]
    )
    assert [rate_of_step(Tuning(rate=0.1, warmup=0.0), step, 2) for step in range(2)] == [0.1, 0.05]


def test_parameters_are_divided_and_joined(tmp_path: Path) -> None:
    model = load_model(write_bert(tmp_path))
    cases: tuple[tuple[Frozen, set[str]], ...] = (
        ("nothing", set()),
        ("embedding", {"embedding"}),
        ("stack", {"embedding", "blocks"}),
    )
    for frozen, kept_names in cases:
        trained, kept = split_params(model.params, model.config, frozen)
        assert set(kept) == kept_names
        joined, expected = by_name(join_params(trained, kept)), by_name(model.params)
        assert set(joined) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(joined[name], array)


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"dropout": 1.0}, {"warmup": -0.1}, {"rate": 0.0}, {"clip": 0.0}, {"seed": -1}]
)
def test_settings_out_of_range_are_named(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(SettingsError, match=f"`{name}` must be"):
        Tuning(**change)
