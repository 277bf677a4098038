"""A small stand-in for a checkout of pytorch-CycleGAN-and-pix2pix, with its public interface.

Its modules have the names and the calls that `train.py` of that project uses. The code is our own.
"""

from pathlib import Path

_OPTIONS = """
import argparse
import json
from pathlib import Path

TEXTS = ("dataroot", "name", "checkpoints_dir", "model", "direction", "netG", "netD", "norm",
         "gan_mode", "preprocess")
NUMBERS = ("input_nc", "output_nc", "ngf", "ndf", "n_layers_D", "batch_size", "load_size",
           "crop_size", "num_threads", "pool_size")
FRACTIONS = ("lr", "beta1", "lambda_A", "lambda_B", "lambda_identity", "lambda_L1")


class BaseOptions:
    def parse(self):
        parser = argparse.ArgumentParser()
        for names, kind in ((TEXTS, str), (NUMBERS, int), (FRACTIONS, float)):
            for name in names:
                parser.add_argument("--" + name, type=kind)
        parser.add_argument("--no_dropout", action="store_true")
        parser.add_argument("--no_flip", action="store_true")
        GPU_IDS
        opt = parser.parse_args()
        print("----------------- Options ---------------")
        (Path(__file__).parent / "parsed.json").write_text(json.dumps(vars(opt)))
        return opt
"""
_GPU_IDS = 'parser.add_argument("--gpu_ids", type=str, default="0")'
_TRAIN_OPTIONS = """
from options.base_options import BaseOptions


class TrainOptions(BaseOptions):
    isTrain = True
"""
_DATA = """
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def tensor(image, opt):
    array = np.asarray(image.resize((opt.crop_size, opt.crop_size)))
    return torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 127.5 - 1


class Loader:
    def __init__(self, opt):
        self.opt = opt
        root = Path(opt.dataroot)
        names = ["train"] if opt.model == "pix2pix" else ["trainA", "trainB"]
        self.files = [sorted((root / name).iterdir()) for name in names]

    def sample(self, index):
        images = [Image.open(files[index]) for files in self.files]
        assert all(image.mode == "RGB" for image in images)
        if len(images) == 1:
            width = images[0].width // 2
            assert images[0].height * 2 == images[0].width
            images = [images[0].crop((left, 0, left + width, width)) for left in (0, width)]
        return [tensor(image, self.opt) for image in images]

    def __iter__(self):
        size = self.opt.batch_size
        for start in range(0, len(self.files[0]) - size + 1, size):
            samples = [self.sample(index) for index in range(start, start + size)]
            a, b = (torch.stack(images) for images in zip(*samples))
            yield {"A": a, "B": b, "A_paths": [], "B_paths": []}


def create_dataset(opt):
    return Loader(opt)
"""
_MODELS = """
import torch


class Model:
    def __init__(self, opt):
        device = torch.device("cpu") if hasattr(opt, "gpu_ids") else opt.device
        self.net = torch.nn.Conv2d(3, 3, 3, padding=1).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=opt.lr)
        self.is_set_up = False

    def setup(self, opt):
        print("---------- Networks initialized -------------")
        self.is_set_up = True

    def set_input(self, data):
        self.real_A, self.real_B = data["A"], data["B"]

    def optimize_parameters(self):
        assert self.is_set_up
        self.optimizer.zero_grad()
        (self.net(self.real_A) - self.real_B).abs().mean().backward()
        self.optimizer.step()


def create_model(opt):
    return Model(opt)
"""


def write_stand_in(folder: Path, *, has_gpu_ids: bool = True) -> Path:
    """Write the stand-in. has_gpu_ids: as older versions of the project, or as newer ones."""
    options = _OPTIONS.replace("GPU_IDS", _GPU_IDS if has_gpu_ids else "")
    files = {
        "options/__init__.py": "",
        "options/base_options.py": options,
        "options/train_options.py": _TRAIN_OPTIONS,
        "data/__init__.py": _DATA,
        "models/__init__.py": _MODELS,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
