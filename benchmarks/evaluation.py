"""Measures the speed and the memory of an evaluation.

    python benchmarks/evaluation.py --images 256 --size 128
    python benchmarks/evaluation.py --real FOLDER --fake FOLDER
    python benchmarks/evaluation.py --images 0 --features 50000x2048 --distances fd

The first command times FID and KID, from images in memory to values, beside torch-fidelity with the
same Inception network and the same images. The second command times the same from files, for a
first pass and for one that remembers the features of the real images. The third command simulates
features. It measures the time and the additional memory of each distance, each in a process of its
own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gantrain.bench.repeats import alternate, ratio, rounded
from gantrain.core.world import World
from gantrain.evaluation.evaluate_folders import evaluate_folders
from gantrain.inference.translate_files import images_by_stem
from gantrain.metrics.features import Features
from gantrain.metrics.metric_suite import MetricSuite
from gantrain.metrics.registry import FAMILIES


class Images(Dataset[Tensor]):
    """A data set of smooth noise, uint8 images of 3 x size x size."""

    def __init__(self, count: int, size: int, seed: int) -> None:
        coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
        self.images = (smooth * 255).to(torch.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.images[i]


def inception(path: Path) -> Path:
    """Write an Inception network with random weights, and return the path.

    The speed does not depend on the weights.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Network

    load, Network.load_state_dict = Network.load_state_dict, lambda *_: None  # type: ignore[method-assign]
    torch.save({}, path)
    state = Network("inception-v3-compat", ["2048"], str(path)).state_dict()
    Network.load_state_dict = load  # type: ignore[method-assign]
    torch.save(state, path)
    return path


def images(args: argparse.Namespace) -> list[report.Row]:
    from torch_fidelity import calculate_metrics

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fake, real = (Images(args.images, args.size, seed) for seed in (0, 1))
    with tempfile.TemporaryDirectory() as folder:
        file = args.weights or inception(Path(folder) / "inception.pth")

        def ours() -> float:
            before = time.perf_counter()
            panel = MetricSuite(
                ["fd_inception", "kd_inception"], device, {"inception": str(file)}, args.images
            )
            for which, several in (("fake", fake), ("real", real)):
                for batch in torch.split(several.images, 32):
                    panel.add_images(which, batch.to(device).float() / 127.5 - 1)
            panel.results()
            return 2 * args.images / (time.perf_counter() - before)

        def theirs() -> float:
            before = time.perf_counter()
            calculate_metrics(
                input1=fake,
                input2=real,
                cuda=device.type == "cuda",
                batch_size=32,
                fid=True,
                kid=True,
                verbose=False,
                kid_subset_size=min(1000, args.images),
                feature_extractor_weights_path=str(file),
                save_cpu_ram=True,
            )
            return 2 * args.images / (time.perf_counter() - before)

        found = alternate({"gantrain": ours, "torch-fidelity": theirs}, args.repeats)
    return [
        {"loop": name, "images": 2 * args.images, "images/s": rate} for name, rate in found.items()
    ]


def folders(args: argparse.Namespace) -> list[report.Row]:
    """Return a row for each way to compare two folders of image files."""
    from torch_fidelity import calculate_metrics

    count = len(images_by_stem("--fake", args.fake))
    total = count + len(images_by_stem("--real", args.real))
    with tempfile.TemporaryDirectory() as folder, World("auto") as world:
        file = args.weights or inception(Path(folder) / "inception.pth")
        options = {
            "metrics": ["fd_inception", "kd_inception"],
            "weights": {"inception": str(file)},
        }

        def ours(cache: Path) -> float:
            os.environ["GANTRAIN_CACHE"] = str(cache)
            before = time.perf_counter()
            evaluate_folders(world, args.real, args.fake, options)
            return total / (time.perf_counter() - before)

        def first() -> float:
            with tempfile.TemporaryDirectory() as empty:
                return ours(Path(empty))

        def again() -> float:
            return ours(Path(folder) / "cache")

        def theirs() -> float:
            before = time.perf_counter()
            calculate_metrics(
                input1=str(args.fake),
                input2=str(args.real),
                cuda=world.device.type == "cuda",
                batch_size=32,
                fid=True,
                kid=True,
                verbose=False,
                kid_subset_size=min(1000, count),
                feature_extractor_weights_path=str(file),
                save_cpu_ram=True,
                cache=False,
            )
            return total / (time.perf_counter() - before)

        again()  # fills its cache
        contenders = {
            "gantrain, first": first,
            "gantrain, features remembered": again,
            "torch-fidelity": theirs,
        }
        rates = alternate(contenders, args.repeats)
    rows: list[report.Row] = []
    for name, rate in rates.items():
        row = {"loop": name, "images": total, "images/s": rate}
        row["x torch-fidelity"] = ratio(rate, rates["torch-fidelity"])
        rows.append(row)
    return rows


def one(name: str, n: int, d: int) -> None:
    """Print the seconds of one distance, its GiB beyond the features, and the features' GiB."""
    sets = [
        Features(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))
        for seed in (0, 1)
    ]
    before, start = report.resident("VmHWM"), time.perf_counter()
    FAMILIES[name](*sets)
    print(time.perf_counter() - start, report.resident("VmHWM") - before, 2 * n * d * 4 / 2**30)


def features(args: argparse.Namespace) -> list[report.Row]:
    rows = []
    for name in args.distances.split(","):
        command = [sys.executable, __file__, "--one", name, "--features", args.features]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        seconds, beyond, own = map(rounded, map(float, output.split()))
        row = {"distance": name, "features": args.features, "seconds": seconds}
        rows.append(row | {"GiB beyond the features": beyond, "GiB of the features": own})
        print(f"{name} done", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=int, default=256, help="in each of two sets; 0: leave this out"
    )
    parser.add_argument("--real", type=Path, help="folder of real images, instead of --images")
    parser.add_argument("--fake", type=Path, help="folder of images to compare with --real")
    parser.add_argument("--size", type=int, default=128, help="height and width")
    parser.add_argument(
        "--weights", type=Path, help="torch-fidelity's Inception file; default: random weights"
    )
    parser.add_argument("--features", help="NxD: simulated features of each set")
    parser.add_argument("--distances", default=",".join(FAMILIES), help="for --features")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--note", default="", help="is kept with the result")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    n, d = map(int, args.features.split("x")) if args.features else (0, 0)
    if args.one:
        one(args.one, n, d)
        return
    rows: list[report.Row] = []
    if args.real and args.fake:
        rows += folders(args)
    elif args.images:
        rows += images(args)
    if n:
        rows += features(args)
    report.conclude("evaluation", args.out, rows, lambda *_: None, note=args.note)


if __name__ == "__main__":
    main()
