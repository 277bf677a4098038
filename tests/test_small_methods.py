"""The table of small methods covers every method, so that the tests made from it do too."""

import pytest
from conftest import RECIPE_FILES
from small_methods import ALL, SHORT_RUN, SMALL_METHODS, VARIANTS, method_words, missing_methods

from gantrain.methods import METHODS
from gantrain.recipe import schema


def test_every_method_is_in_the_table() -> None:
    assert METHODS
    assert missing_methods(SMALL_METHODS, METHODS) == []


def test_an_empty_table_and_a_forgotten_method_are_noticed() -> None:
    assert missing_methods({}, METHODS) == sorted(METHODS)
    without = {name: small for name, small in SMALL_METHODS.items() if name != "survey"}
    assert missing_methods(without, METHODS) == ["survey"]
    assert missing_methods(SMALL_METHODS, [*METHODS, "new"]) == ["new"]


def test_variants_have_names_of_their_own() -> None:
    assert not set(SMALL_METHODS) & set(VARIANTS)
    assert not set(VARIANTS) & set(METHODS)


@pytest.mark.parametrize("name", ALL)
def test_a_small_method_is_a_whole_recipe(name: str) -> None:
    for exact in (False, True):
        loaded = schema.load("quickstart", (*SHORT_RUN, *method_words(name, exact=exact)))
        assert loaded.method["name"] == ALL[name].method["name"]
        assert loaded.data.size == (ALL[name].size, ALL[name].size)


def test_every_method_has_a_recipe() -> None:
    used = {schema.load(str(path)).method["name"] for path in RECIPE_FILES}
    assert set(METHODS) - used == set()
