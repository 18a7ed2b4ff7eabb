"""The page of descriptions: what it says, that it escapes what strangers wrote, and that its one script is allowed."""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lca_jax.descriptors.describing import describe_neurons
from lca_jax.descriptors.finding import PhraseChoice, find_descriptors
from lca_jax.report.descriptions import write_descriptions_page
from tests.descriptors.planted_texts import Namer, planted


def test_the_page_lists_neurons_and_allows_its_own_script_alone(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    store, texts, labels = planted()
    found = find_descriptors(Namer(), texts, choice=PhraseChoice(fewest=10))
    found = replace(found, names=("<b>odd</b>", *found.names[1:]))
    told = describe_neurons(store, found, permutations=19)
    page = write_descriptions_page(told, tmp_path / "index.html", against=told.score_against(labels, permutations=3))
    text = page.read_text("utf-8")
    assert "8 of 48 neurons have a description" in text
    assert text.count('<th scope="row">') == 8
    assert "P@2" in text
    assert "<b>odd" not in text
    assert "&lt;b&gt;odd" in text
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in text
    assert "strongest tags" not in text
    few = write_descriptions_page(told, tmp_path / "few.html", most=3).read_text("utf-8")
    assert few.count('<th scope="row">') == 3
    assert "The table has the 3 neurons with the strongest tags" in few
    assert not re.search(r"(src|href)=\"(?!data:)", text)
