"""One rank of a run with `precision: auto` on a stand-in CPU.

Arguments: the ranks that lack bf16, then overrides.
"""

import os
import sys

import gantrain
from gantrain.recipe import conv_timing, machine_precision
from gantrain.recipe.conv_timing import Times

lacking = [int(rank) for rank in sys.argv[1].split(",") if rank]
rank = int(os.environ["RANK"])
machine_precision.has_bf16 = lambda device: rank not in lacking


def measure(*arguments: object, backward: bool) -> Times:
    """Rank 0 finds bf16 faster; another rank must not measure."""
    assert rank == 0
    return Times(fp32_microseconds=2000, bf16_microseconds=1000)


conv_timing.measure = measure
gantrain.train("quickstart", *sys.argv[2:])
