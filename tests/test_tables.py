"""Tables of results at a prompt and in a notebook."""

import numpy as np
import pytest

from lca_jax.errors import SettingsError
from lca_jax.tables import html_table, text_table

_COLUMNS = {"class": ["NOUN", "<X>"], "words": [1200, 3], "share": np.array([0.123456, 1.0]), "seen": [None, True]}


def test_text_table_aligns_numbers_to_the_right_and_text_to_the_left() -> None:
    assert text_table(_COLUMNS, caption="Two classes") == (
        "Two classes\nclass  words   share  seen\nNOUN    1200  0.1235  -\n<X>        3       1  True"
    )


def test_text_table_shows_the_first_rows_and_counts_the_rest() -> None:
    assert text_table({"place": list(range(12))}, rows=2) == "place\n    0\n    1\n… and 10 more rows"
    assert text_table({"place": [1, 2]}, rows=1).endswith("… and 1 more row")


def test_html_table_escapes_names_values_and_caption() -> None:
    html = html_table({"<class>": ["<script>", "a & b"]}, caption="1 < 2")
    assert "<script>" not in html
    for text in ("&lt;script&gt;", "&lt;class&gt;", "a &amp; b", "<caption>1 &lt; 2</caption>"):
        assert text in html


def test_html_table_has_one_row_a_value_and_counts_the_rest() -> None:
    html = html_table({"place": list(range(12)), "name": ["x"] * 12}, rows=3)
    assert html.count("<tr>") == 1 + 3 + 1
    assert '<td colspan="2">… and 9 more rows</td>' in html
    assert html_table({"place": [1]}).count("<tr>") == 2


def test_tables_without_rows_show_the_names_alone() -> None:
    assert text_table({"class": [], "words": []}) == "class  words"
    assert "<th" in html_table({"class": []})


@pytest.mark.parametrize("make", [text_table, html_table])
def test_columns_of_unequal_length_are_refused(make) -> None:
    with pytest.raises(SettingsError, match=r"equal length, got \{'a': 1, 'b': 2\}"):
        make({"a": [1], "b": [1, 2]})
