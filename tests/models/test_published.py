"""Every switch that published checkpoints use, against PyTorch; the few that are not supported are refused by name."""

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from lca_jax.errors import ModelError
from lca_jax.models.families import FAMILIES, find_family
from tests.models.parity import identity_edits
from tests.models.published import PUBLISHED, REFUSED
from tests.models.tiny import compare_tiny
from tests.tiny_models import VOCABULARY


def test_every_family_is_among_the_published() -> None:
    assert {tiny.model_type for tiny in PUBLISHED.values()} == set(FAMILIES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_states_of_a_published_configuration_equal_pytorch(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    tiny = PUBLISHED[name]
    model, comparison = compare_tiny(tiny, tmp_path, as_published=True)
    assert json.loads((tmp_path / "config.json").read_text()).items() >= tiny.changes.items()
    compared = comparison.run(identity_edits(model))
    for site, difference in compared.difference.items():
        allowed = (2e-5 if model.config.decoder else 1e-5) * max(1.0, compared.size[site] / 10)
        assert difference < allowed, (site, compared)


@pytest.mark.parametrize("name", REFUSED)
def test_a_switch_that_is_not_supported_is_refused_by_name(name: str) -> None:
    tiny, named = REFUSED[name]
    theirs = AutoConfig.for_model(tiny.model_type, **{"vocab_size": VOCABULARY, **tiny.changes})
    with pytest.raises(ModelError, match=named):
        find_family(tiny.model_type).read_config(theirs, "float32")
