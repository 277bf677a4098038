"""No recipe ends in a traceback, hangs or prints what a terminal would obey: it is right, or
refused in lines.
"""

from pathlib import Path

import fuzz_recipes
import pytest
from fuzzing import limited

from gantrain.core.errors import UserError
from gantrain.core.yaml12 import parse_yaml
from gantrain.recipe import costs, schema
from gantrain.recipe.build_method import check_method, sketch_method
from gantrain.recipe.schema import Recipe

CASES = 1500
QUICK = 60


def make(loaded: Recipe) -> None:
    """What training would make of it, without storage."""
    assert schema.from_dict(parse_yaml(loaded.yaml(), "saved")) == loaded
    for stage in schema.stages(loaded):
        labels = stage.data.labels
        channels = {
            "source": labels.get(stage.data.source, 3),
            "target": labels.get(stage.data.target, 3),
        }
        sketch = sketch_method(
            stage, {f"{role}_channels": count for role, count in channels.items()}
        )
        check_method(stage, sketch)
        memory = costs.count_memory(sketch, 4)
        size = costs.checkpoint_bytes(sketch, stage, 4)
        for line in [
            str(memory),
            *costs.describe_run(stage, epoch=400, images=4000, checkpoint=size),
        ]:
            assert line.isprintable()


def check_case(case: fuzz_recipes.Case) -> bool:
    """Whether the recipe is right.

    Fails with the case's number where it is neither right nor refused in lines.
    """
    name = f"fuzz_recipes.make_case({case.number}), which is {case!r:.600}"
    case.write()
    problem = ""
    with limited(name):
        try:
            make(schema.load(case.name, case.words))
        except Exception as e:
            if not isinstance(e, UserError):
                pytest.fail(f"{name} ended in {e!r:.1000}")
            problem = str(e)
    for line in problem.splitlines():
        assert line.isprintable(), (name, line)
        assert line.strip(), (name, problem)
        assert len(line) < 3000, (name, line)
        assert "pydantic" not in line.lower(), (name, line)
    return not problem


def check_cases(numbers: range) -> None:
    works = [check_case(fuzz_recipes.make_case(number)) for number in numbers]
    assert 0.03 < sum(works) / len(works) < 0.9, "some are right and most are not"


def test_some_recipes_by_chance_are_right_or_refused() -> None:
    check_cases(range(QUICK))


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", range(QUICK, CASES, 120))
def test_many_recipes_by_chance_are_right_or_refused(start: int) -> None:
    check_cases(range(start, min(CASES, start + 120)))


def test_a_case_is_a_function_of_its_number() -> None:
    assert fuzz_recipes.make_case(7) == fuzz_recipes.make_case(7)
    assert {fuzz_recipes.make_case(number).name for number in range(50)} > {
        f"./{fuzz_recipes.FILE}"
    }
    assert not Path(fuzz_recipes.FILE).exists()
