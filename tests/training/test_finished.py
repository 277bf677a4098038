"""A finished run that is started again with changed keys."""

import pytest
from conftest import SMALL, run_here

RUN = (*SMALL, "batch_size=8", "length=8", "evaluate.max_samples=8", "run=x")


def test_keys_without_effect_are_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(*RUN) == "finished"
    capsys.readouterr()
    assert run_here(*RUN) == "finished"
    assert "no effect" not in capsys.readouterr().out
    assert (
        run_here(*RUN, "checkpoint.best=3", "evaluate.every=4", "data.validation=null")
        == "finished"
    )
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "no effect, since the run is finished: checkpoint.best, data.validation, evaluate.every; "
        in said
    )
    assert (
        "a larger length=... trains on with the changes, `gantrain evaluate runs/x` measures the run"
        in said
    )
