"""Whatever a JSON text holds, reading it ends in values or in one clear error."""

import json
from pathlib import Path

import pytest

from lca_jax.errors import StoreError
from lca_jax.machine.json_text import as_json_has, compact_parts, parse_json, parse_object, read_object, take

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (DEEP, "nested too deeply"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "nested more than 64 deep"),
        ("[1]", "must be an object, not a list"),
        ("{", "Expecting property name"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        (b"\xff\xfe{", "decode"),
        ("", "Expecting value"),
    ],
)
def test_one_error_names_the_place_and_the_way_out(text: str | bytes, what: str) -> None:
    with pytest.raises(StoreError, match=rf"here cannot be read as JSON: .*{what}.*\. Write it again\."):
        parse_object(text, place="here", error=StoreError, way_out="Write it again.")


def test_deep_texts_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(DEEP)


def test_plain_values_are_as_a_file_gives_them_back() -> None:
    assert as_json_has({1: ("a", None), "b": {}}) == {"1": ["a", None], "b": {}}
    assert as_json_has({"a": {3}}, default=list) == {"a": [3]}


def test_files(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text('{"a": 1}')
    assert read_object(tmp_path / "facts.json", error=StoreError, way_out="") == {"a": 1}
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "none.json", error=StoreError, way_out="")
    with pytest.raises(StoreError, match=r"cannot be read: .*directory.* Mend it"):
        read_object(tmp_path, error=StoreError, way_out="Mend it.")


def test_types_of_values_are_named() -> None:
    content = {"count": 3, "flag": True, "text": "x", "none": None, "part": 0.5}
    assert take(content, "count", float, place="it") == 3
    assert take(content, "none", (int, type(None)), place="it") is None
    with pytest.raises(ValueError, match="`flag` of it must be a whole number, got a Boolean"):
        take(content, "flag", int, place="it")
    with pytest.raises(ValueError, match="`part` of it must be a whole number, got a number"):
        take(content, "part", int, place="it")
    with pytest.raises(ValueError, match="it has no `other`"):
        take(content, "other", int, place="it")


@pytest.mark.parametrize(
    "content", [[], [1], [[]], [["a", ("b", None)], ("c", []), None, [[]]], ["é", [{"k": [1, 2]}]]]
)
def test_parts_of_a_list_are_its_text(content: list) -> None:
    assert b"".join(compact_parts(content)) == json.dumps(content, separators=(",", ":")).encode()
