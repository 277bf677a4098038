"""`--pattern`: names whose endings differ between the fields, in folders and in one folder."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gantrain.cli.app import app
from gantrain.data.decode import encode
from gantrain.data.open_dataset import open_set
from gantrain.data.prepare.pack import prepare
from gantrain.data.prepare.patterns import choose, parse_patterns, split_name
from gantrain.data.request import DataRequest
from gantrain.data.shards import Shards

PATTERNS = {"label": "{}_label", "photo": "{}_photo"}


def put(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    path.write_bytes(encode(random.integers(0, 256, (20, 24, 3), dtype=np.uint8), "png"))


NAMES = [
    ("{}_label", "7_label.png", "7"),
    ("{}_label", "cam1/7_label.png", "cam1/7"),
    ("{}_label", "7_label.v2.png", None),
    ("{}_label", "7_photo.png", None),
    ("{}_label", "_label.png", None),
    ("img_{}", "img_7.jpg", "7"),
    ("{}", "a/b.png", "a/b"),
    ("{}.jpg", "7.jpg", "7"),
    ("{}.jpg", "7.png", None),
    ("rgb-{}.left", "rgb-7.left.png", "7"),
]


@pytest.mark.parametrize(("pattern", "name", "shared"), NAMES)
def test_the_shared_part_of_a_name(pattern: str, name: str, shared: str | None) -> None:
    assert split_name(pattern, name) == shared


def test_the_most_exact_pattern_is_taken() -> None:
    patterns = {"photo": "{}", "label": "{}_label"}
    assert choose(patterns, "7_label.png") == ("label", "7")
    assert choose(patterns, "7.png") == ("photo", "7")
    assert choose(PATTERNS, "7.png") is None


@pytest.mark.parametrize(
    "texts", [["label={}_label", "photo={}_photo"], ["label={}_label photo={}_photo"]]
)
def test_several_options_or_words_are_the_same(texts: list[str]) -> None:
    assert parse_patterns(texts) == PATTERNS


MISTAKES = [
    ("label", r"found 'label=', allowed: FIELD=PATTERN, where \{\} stands once"),
    ("label=_label", "found 'label=_label'"),
    ("label={}{}", "found 'label={}{}'"),
    ("a.b={}_a", "found 'a.b={}_a'"),
    ("a={}/x", "allowed: a file's name without its folder"),
    ("a={}_a a={}_b", "found a twice"),
]


@pytest.mark.parametrize(("text", "says"), MISTAKES)
def test_wrong_patterns_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"--pattern: .*{says}"):
        parse_patterns([text])


@pytest.fixture(params=["folders", "one folder", "folders inside", "one folder with folders"])
def suffixes(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """Label and photo of four samples, whose names differ in their endings."""
    separate = request.param.startswith("folders")
    inside = "cam.1/" if request.param in ("folders inside", "one folder with folders") else ""
    for i in range(4):
        for field in PATTERNS:
            put(tmp_path / "in" / (field if separate else "") / f"{inside}{i}_{field}.png", seed=i)
    return tmp_path / "in", [f"{inside}{i}" for i in range(4)]


def test_patterns_match_in_every_layout(suffixes: tuple[Path, list[str]], tmp_path: Path) -> None:
    source, keys = suffixes
    report = prepare(source, tmp_path / "out", patterns=PATTERNS, progress=False)
    shards = Shards.open(tmp_path / "out")
    assert (report.samples, report.unmatched, sorted(report.fields)) == (4, [], ["label", "photo"])
    assert [shards.key(i) for i in range(4)] == keys
    for i in range(4):
        (photo,) = source.rglob(f"{i}_photo.png")
        assert shards.read(i, "photo") == photo.read_bytes()


def test_a_file_like_no_pattern_is_named(tmp_path: Path) -> None:
    for name in ("0_label", "0_photo", "0_color"):
        put(tmp_path / "in" / f"{name}.png")
    report = prepare(tmp_path / "in", tmp_path / "out", patterns=PATTERNS, progress=False)
    assert report.unmatched == [
        f"{tmp_path / 'in'}/0_color.png: its name is not like {{}}_label or {{}}_photo (--pattern)"
    ]


def test_a_pattern_of_an_unknown_field_or_layout_is_refused(tmp_path: Path) -> None:
    for field in PATTERNS:
        put(tmp_path / "in" / field / f"0_{field}.png")
    with pytest.raises(ValueError, match="--pattern: lable is not a field, found are label, photo"):
        prepare(
            tmp_path / "in",
            tmp_path / "out",
            patterns={"lable": "{}_label", "photo": "{}_photo"},
            progress=False,
        )
    with pytest.raises(ValueError, match="--pattern: found --as pairs too"):
        prepare(
            tmp_path / "in", tmp_path / "out", patterns=PATTERNS, layout="pairs", progress=False
        )


def test_names_without_a_partner_advise_the_option(tmp_path: Path) -> None:
    for i in range(4):
        for field in PATTERNS:
            put(tmp_path / "in" / field / f"{i}_{field}.png")
    advice = r"--pattern label=\{\}_label --pattern photo=\{\}_photo"
    with pytest.raises(ValueError, match=advice):
        prepare(tmp_path / "in", tmp_path / "out", progress=False)
    with pytest.raises(
        ValueError, match=rf"data\.train: .*{advice}.*`gantrain prepare .*--out OUT`"
    ):
        open_set(
            "train", str(tmp_path / "in"), DataRequest("mine", "label", "photo", {}, (16, 16), None)
        )


COMMANDS = [
    ["--pattern", "label={}_label", "--pattern", "photo={}_photo"],
    ["--pattern", "label={}_label photo={}_photo"],
    ["--pattern", "label={}_label", "photo={}_photo"],
]


@pytest.mark.parametrize("words", COMMANDS)
def test_the_option_on_the_command_line(tmp_path: Path, words: list[str]) -> None:
    for field in PATTERNS:
        put(tmp_path / "in" / f"0_{field}.png")
    result = CliRunner().invoke(app, ["prepare", "in", "--out", "out", *words])
    assert result.exit_code == 0, result.output
    assert "1 sample (folders)" in result.output


@pytest.mark.parametrize("words", [["in2"], ["photo={}_photo"], ["--pattern", "a={}_a", "in2"]])
def test_a_strange_word_on_the_command_line_is_refused(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in" / "0_label.png")
    result = CliRunner().invoke(app, ["prepare", "in", "--out", "out", *words])
    assert result.exit_code == 2
    assert (
        f"found {words[-1]}, allowed: one folder of images"
        in result.output + capsys.readouterr().err
    )
