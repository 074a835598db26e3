from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from dagster_contracts.documents.yaml_writer import write_yaml


def test_a_comment_stands_behind_its_value_or_above_a_line_that_it_would_make_too_long() -> None:
    document = {"fields": {"a": {"type": "integer", "enum": ["no", "yes"], "why": "two\nlines"}}}

    text = write_yaml(
        document,
        {
            ("fields", "a", "type"): "seen in\n3 rows",
            ("fields", "a", "enum"): "all",
            ("fields", "a", "enum", 1): "x" * 100,
            ("fields", "a", "why"): "a block",
            ("fields", "b"): "of nothing",
        },
    )

    assert text == (
        "fields:\n"
        "  a:\n"
        "    type: integer  # seen in 3 rows\n"
        "    enum:  # all\n"
        "      - 'no'\n"
        f"      # {'x' * 100}\n"
        "      - 'yes'\n"
        "    # a block\n"
        "    why: |-\n"
        "      two\n"
        "      lines\n"
    )


keys = st.text(min_size=1, max_size=150).filter(lambda text: text.isprintable())
documents = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text(max_size=150)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


def places_in(value: object, place: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [place, *(found for key, item in inner for found in places_in(item, (*place, key)))]


@given(st.dictionaries(keys, documents, max_size=4), st.sampled_from(["x", "# odd: [", "y" * 99]))
def test_comments_change_nothing_but_the_text(document: dict, comment: str) -> None:
    text = write_yaml(document, dict.fromkeys(places_in(document), comment))

    assert yaml.safe_load(text) == yaml.safe_load(write_yaml(document))
    assert comment in text
