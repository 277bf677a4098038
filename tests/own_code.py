"""Own methods, networks and losses for the tests: modules in the test's folder, forgotten
afterwards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gantrain.core import extensions
from gantrain.data.degradations.degradation_table import DEGRADATIONS
from gantrain.data.formats.format_table import FORMATS
from gantrain.data.kinds.table import KINDS
from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION
from gantrain.methods import METHODS
from gantrain.metrics.paired import PAIRED
from gantrain.networks import NETWORKS

# A small method, from which the cases derive.
PRELUDE = """
import torch
from torch import nn

from gantrain import ADVERSARIAL, METHODS, NETWORKS, PENALTIES, PERCEPTUAL, Generator, Method, NetworkRole, Phase, Terms


class Base(Method):
    def __init__(self, source_channels: int, target_channels: int, *, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.networks["generator"] = nn.Conv2d(source_channels, target_channels, 1)
        self.networks["critic"] = nn.Conv2d(target_channels, 1, 1)
        self.phases = (
            Phase("generator", ("generator",), self.generator_terms),
            Phase("critic", ("critic",), self.critic_terms),
        )

    def translate(self, batch):
        return self.networks["generator"](batch["source"]).tanh()

    def generator_terms(self, batch, carried, context):
        fake = self.translate(batch)
        loss = (fake - batch["target"]).abs().mean() - 0.01 * self.networks["critic"](fake).mean()
        return Terms({"l1": self.weight * loss}, carried={"fake": fake.detach()})

    def critic_terms(self, batch, carried, context):
        critic = self.networks["critic"]
        return Terms({"critic": critic(carried["fake"]).mean().square() - critic(batch["target"]).mean()})


METHODS["mine"] = Base
"""


@contextmanager
def forgotten() -> Iterator[None]:
    """Forget what the block has imported from its folder and put into the tables."""
    tables: tuple[dict[str, Any], ...] = (
        METHODS,
        NETWORKS,
        ADVERSARIAL,
        PENALTIES,
        PERCEPTUAL,
        RECONSTRUCTION,
        DEGRADATIONS,
        KINDS,
        FORMATS,
        PAIRED,
    )
    before = [dict(table) for table in tables]
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setattr(extensions, "_imported", [])
        try:
            yield
        finally:
            for table, content in zip(tables, before, strict=True):
                table.clear()
                table.update(content)
            here = str(Path.cwd())
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", "") or "").startswith(here):
                    del sys.modules[name]


def write(name: str, code: str) -> None:
    Path(f"{name}.py").write_text(code)
