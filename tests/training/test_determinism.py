"""`deterministic: true`: the same bits with any method, no timing of kernels, one line else."""

import os
from collections.abc import Iterator

import pytest
import torch
from comparing import assert_identical, tensors
from conftest import run_here
from small_methods import ALL
from test_equality import BITS, method_words
from test_step import QUICK, make, step, weights

from gantrain.core.errors import RunStopped
from gantrain.recipe.differences import differences
from gantrain.training.batch_split import BatchLayout
from gantrain.training.determinism import algorithms
from gantrain.training.failures import stop_for

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def _cublas(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(CUBLAS, raising=False)
    yield
    os.environ.pop(CUBLAS, None)


def test_settings_hold_inside_the_block_alone() -> None:
    before = torch.backends.cudnn.benchmark
    with algorithms(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch._inductor.config.deterministic
        assert not torch.backends.cudnn.benchmark
        assert os.environ[CUBLAS] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == before
    with algorithms(False):
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before


def test_a_users_own_deterministic_workspace_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUBLAS, ":16:8")
    with algorithms(True):
        assert os.environ[CUBLAS] == ":16:8"


@pytest.mark.parametrize("options", QUICK)
def test_every_method_steps_with_the_same_bits(options: str) -> None:
    results = []
    with algorithms(True):
        for _ in range(2):
            engine, batch = make(options)
            step(engine, batch)
            assert engine.read_nonfinite() == (0, 0)
            results.append(weights(engine))
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name
    assert ALL[options]


def test_an_operator_without_such_an_algorithm_is_one_line() -> None:
    x = torch.zeros(1, 1, 4, 4)
    indices = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    with algorithms(True), pytest.raises(RuntimeError) as raised:
        torch.nn.functional.max_unpool2d(x[..., :2, :2], indices, 2)
    stop = stop_for(raised.value, BatchLayout(1, 1, 1), keeps_forward=False)
    assert isinstance(stop, RunStopped)
    assert "deterministic: found true, but max_unpooling2d" in str(stop)
    assert "deterministic=false" in str(stop)
    assert len(str(stop).splitlines()) == 1
    assert stop_for(RuntimeError("another"), BatchLayout(1, 1, 1), keeps_forward=False) is None


def test_a_resumed_run_keeps_the_choice() -> None:
    assert differences({"deterministic": True}, {"deterministic": False}) == [
        "deterministic: True -> False"
    ]


@pytest.mark.slow
def test_a_run_has_the_same_bits_as_without_it_on_a_cpu() -> None:
    arguments = (*BITS, *method_words("pix2pix"), "length=16")
    run_here(*arguments, "run=plain")
    run_here(*arguments, "run=fixed", "deterministic=true")
    assert_identical(tensors("plain", 16), tensors("fixed", 16))
