"""Advice on a folder whose layout is not recognised names what the user's own command takes."""

from pathlib import Path

import pytest

from gantrain.data.layout_advice import advise_layout

OPTIONS = ("--as pairs", "--as folders", "--as images")
PATTERNS = "--pattern a={}_a --pattern b={}_b"
PACK = "`gantrain prepare one --out OUT"
CASES = {
    "pairs for train": (
        ("train", False, ("left", "right"), OPTIONS),
        f"give a folder of side-by-side pairs; or pack this one by {PACK} --as pairs`, and give data.train=OUT",
    ),
    "pairs for evaluate": (
        ("validation", True, ("left", "right"), OPTIONS),
        f"give a folder of side-by-side pairs; or pack this one by {PACK} --as pairs`, and give --data OUT",
    ),
    "endings": (
        ("validation", False, ("a", "b"), (PATTERNS, *OPTIONS)),
        f"give a folder that holds the folders a and b; or pack this one by {PACK} {PATTERNS}`, and give "
        "data.validation=OUT",
    ),
    "nothing that fits": (
        ("test", False, ("left", "right"), ()),
        "give a folder of side-by-side pairs",
    ),
    "targets": (
        ("validation_target", True, ("right",), OPTIONS),
        f"give a folder of side-by-side pairs; or pack this one by {PACK} --as pairs`, and give --data-target OUT",
    ),
    "folders": (
        ("train", False, ("a", "b"), OPTIONS),
        "give a folder that holds the folders a and b",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_advice_has_the_words_of_the_command(case: str) -> None:
    (key, is_for_evaluate, fields, options), expected = CASES[case]
    assert advise_layout(key, is_for_evaluate, Path("one"), fields, options) == expected


@pytest.mark.parametrize(("is_for_evaluate", "giving"), [(False, "data.train="), (True, "--data ")])
def test_one_of_two_folders_leads_to_the_folder_around_both(
    is_for_evaluate: bool, giving: str
) -> None:
    for name in ("sketch", "photo"):
        Path("my set", name).mkdir(parents=True)
    advice = advise_layout(
        "train", is_for_evaluate, Path("my set/sketch"), ("sketch", "photo"), OPTIONS
    )
    assert advice == f"{giving}'my set' has the folders sketch and photo"
