"""Settings of the wrong type are refused when the record is made, by the name of the field."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax.errors import LcaError, SettingsError
from lca_jax.experiment.config import Experiment, Study
from lca_jax.machine.fields import check_fields
from lca_jax.probing.objective import ElasticNet
from lca_jax.store.recipe import WordChoice

pytestmark = pytest.mark.usefixtures("as_users_run_it")
FILES = dict.fromkeys(("train", "test"), Path("words.conllu"))
RUN = Experiment(model="bert", out=Path("run"), **FILES)
ODD = [None, True, 1.5, -1, "x", [], {}, ["x"], [1.5], {"a": 1}, float("nan"), float("inf"), 10**5000, "\0", [None]]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20] if value != 10**5000 else "huge")
@pytest.mark.parametrize("name", [field.name for field in fields(Experiment)])
def test_whatever_a_config_holds_is_taken_or_refused_by_name(name: str, value: object) -> None:
    """Taken values come back unchanged from JSON, so that nothing is bent into another type on the way."""
    content = RUN.as_json() | {name: value}
    refused: LcaError | None = None
    taken: Experiment | None = None
    try:
        taken = Experiment.from_json(content)
    except LcaError as error:
        refused = error
    if taken is None:
        assert f"`{name}`" in str(refused) or name == "probe"
        assert "\n" not in str(refused)
    else:
        again = taken.as_json()[name]
        assert type(again) is type(value) or name in ("train", "dev", "test", "out", "tasks")
        assert Experiment.from_json(json.loads(json.dumps(taken.as_json()))).as_json() == taken.as_json()


@pytest.mark.parametrize(
    ("record", "change", "message"),
    [
        (RUN, {"seed": 1.5}, "`seed` must be a whole number, got 1.5"),
        (RUN, {"draws": 2.5}, "`draws` must be a whole number"),
        (RUN, {"drop": float("nan")}, "`drop` must be a finite number, got nan"),
        (RUN, {"labelled_only": "x"}, "`labelled_only` must be true or false, got 'x'"),
        (RUN, {"dtype": "float8"}, "`dtype` must be 'float32', 'bfloat16' or 'float16'"),
        (RUN, {"layers": (1, "x")}, "`layers` must be a list of whole numbers"),
        (RUN, {"train": "a\0b"}, "`train` must be a path"),
        (ElasticNet(), {"standardize": "x"}, "`standardize` must be true or false"),
        (ElasticNet(), {"tolerance": float("nan")}, "`tolerance` must be a finite number"),
        (ElasticNet(), {"l1": float("nan")}, "`l1` must be one or more finite numbers"),
        (ElasticNet(), {"l1": "x"}, "`l1` must be one or more finite numbers"),
        (ElasticNet(), {"l1": 1e39}, "`l1` must .* float32"),
        (ElasticNet(), {"max_iterations": 2.5}, "`max_iterations` must be a whole number"),
        (WordChoice(), {"per_class": True}, "`per_class` must be a whole number"),
    ],
)
def test_messages(record: object, change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(record, **change)  # pyright: ignore[reportArgumentType] - wrong on purpose


def test_numbers_of_numpy_become_those_of_python() -> None:
    study = Study(model="bert", train=Path("words.conllu"), out=Path("out"), seed=np.int64(3), replicates=np.int32(2))  # pyright: ignore[reportArgumentType]
    assert type(study.seed) is int
    assert type(study.replicates) is int


def test_nested_types() -> None:
    @dataclass(frozen=True)
    class Record:
        pair: tuple[int, str]
        table: dict[str, float]

    check_fields(Record((1, "x"), {"a": 1}))
    with pytest.raises(SettingsError, match="`pair` must be"):
        check_fields(Record((1, 2), {}))  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match="`table` must be a table of settings"):
        check_fields(Record((1, "x"), {"a": "b"}))  # pyright: ignore[reportArgumentType]
