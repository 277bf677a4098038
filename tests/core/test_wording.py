"""Errors name an option in the words of who asked: the command line's, or Python's."""

from typing import Any

import pytest
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.core.wording import (
    import_advice,
    option,
    option_of_set,
    option_with,
    speaking_as_command,
)


def test_an_option_has_two_names() -> None:
    assert (option("data_target"), option_with("best"), option_with("data", "FOLDER")) == (
        "data_target",
        "best=True",
        "data=FOLDER",
    )
    assert "`import MODULE`" in import_advice()
    with speaking_as_command():
        assert (option("data_target"), option_with("best"), option_with("data", "FOLDER")) == (
            "--data-target",
            "--best",
            "--data FOLDER",
        )
        assert option_of_set("test_target", "a") == "--data-target a"
        assert import_advice() == "--import MODULE"
    assert option("best") == "best"


# How train() is called, and what to write instead.
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "the command's word": (("recipe=quickstart",), {}, "write gantrain.train('quickstart', ...)"),
    "the command's word behind": (
        ("quickstart", "recipe=facades"),
        {},
        "write gantrain.train('facades', ...)",
    ),
    "a mapping with recipe": (
        ({"recipe": "quickstart"},),
        {},
        "write gantrain.train('quickstart', {...})",
    ),
    "keywords alone": ((), {"trackers": None}, "write gantrain.train('NAME', {'trackers': None})"),
    "keywords": (
        ("quickstart",),
        {"length": 3},
        "write gantrain.train('quickstart', {'length': 3})",
    ),
    "nothing": ((), {}, "found no recipe; write gantrain.train('NAME', {'length': 1000})"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_of_train_is_one_line(case: str) -> None:
    arguments, keywords, says = CALLS[case]
    with pytest.raises(ValueError, match=r"^train: found ") as caught:
        gantrain.train(*arguments, **keywords)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


EVALUATE: dict[str, tuple[dict[str, Any], str]] = {
    "a list of runs": (
        {"run": ["runs/a", "runs/b"]},
        "run: found list, allowed: one path; call evaluate() for each",
    ),
    "a list of data": (
        {"run": "runs/a", "data": ["a"]},
        "data: found list, allowed: one path; several are a dictionary",
    ),
    "a list of fakes": ({"real": "a", "fake": ["b"]}, "fake: found list, allowed: one path"),
    "a wrong metric": ({"run": "x", "metrics": ["lx"]}, "metrics: found 'lx'"),
}


@pytest.mark.parametrize("case", EVALUATE)
def test_a_wrong_call_of_evaluate_is_one_line(case: str) -> None:
    keywords, says = EVALUATE[case]
    with pytest.raises(ValueError, match=r".") as caught:
        gantrain.evaluate(**keywords)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_an_unknown_method_names_the_import_of_its_caller() -> None:
    with pytest.raises(ValueError, match="an own one needs `import MODULE` before the call"):
        gantrain.train("quickstart", "method=mine")


# A command with a URL where only local paths are taken.
URLS = {
    "translate": ["translate", "s3://bucket/run", "image.png", "--out", "out"],
    "translate images": ["evaluate", "--real", "gs://bucket/a", "--fake", "b"],
    "evaluate": ["evaluate", "hf://owner/run"],
    "prepare": ["prepare", "https://host/images", "--out", "out"],
}


@pytest.mark.parametrize("case", URLS)
def test_a_url_in_the_place_of_a_local_path_is_refused(case: str) -> None:
    done = CliRunner().invoke(app, URLS[case])
    assert done.exit_code == 2
    assert (
        "is a URL, and only data sets may be remote; allowed: a regular file or a folder"
        in done.output
    )
