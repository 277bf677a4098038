"""The options of pytorch-CycleGAN-and-pix2pix that equal a recipe's settings."""

from pathlib import Path
from typing import Any, NamedTuple

from gantrain.core.errors import UserError
from gantrain.data.scale import text_of
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.recipe.schema import Recipe
from gantrain.training.setup import RunSetup

_MODELS = {"pix2pix": "pix2pix", "cyclegan": "cycle_gan"}  # by method
_FILES = (
    "options/train_options.py",
    "options/base_options.py",
    "models/__init__.py",
    "data/__init__.py",
)
_UNETS = {7: "unet_128", 8: "unet_256"}  # by levels
_RESNETS = {6: "resnet_6blocks", 9: "resnet_9blocks"}  # by blocks
_GAN_MODES = {"vanilla": "vanilla", "lsgan": "lsgan"}  # by adversarial loss
_NORMS = ("batch", "instance", "none")
_OTHERS = ("penalties", "more_discriminators", "augment")  # options that the peer lacks


class PeerSettings(NamedTuple):
    """Options of the peer's train.py. differences: lines on what the peer cannot equal."""

    arguments: list[str]
    differences: list[str]


def check_peer(folder: Path, recipe: Recipe) -> str:
    """Return the peer's name of the recipe's method.

    Raises UserError where the folder is no checkout, or the peer lacks the method or the size.
    """
    for file in _FILES:
        if not (folder / file).is_file():
            raise UserError(
                f"--peer: {folder} is no checkout of pytorch-CycleGAN-and-pix2pix, it has no"
                f" {file}; give the folder that holds its train.py"
            )
    method = recipe.method["name"]
    if method not in _MODELS:
        raise UserError(
            f"--peer: found the recipe {recipe.name} of the method {method}, allowed: recipes of"
            f" {' or '.join(_MODELS)}, which that project has, too"
        )
    data = recipe.data
    for key, size in (("size", data.size), ("resize", data.resize)):
        if size is not None and size[0] != size[1]:
            raise UserError(
                f"--peer: data.{key} is {text_of(size)}, and the peer trains on square images;"
                f" give a square data.{key}"
            )
    return _MODELS[method]


def peer_settings(setup: RunSetup, model: str, has_gpu_ids: bool) -> PeerSettings:
    """Return the options of the peer that equal the recipe's settings.

    model: the peer's name of the method. has_gpu_ids: whether this version of the peer has the
    option `--gpu_ids`. Raises UserError where no options come near.
    """
    recipe = setup.recipe
    method = recipe.method
    differences: list[str] = []
    for key in _OTHERS:
        if method.get(key):
            differences.append(f"the peer has no method.{key}")
    arguments = [f"--model={model}", "--direction=AtoB"]
    arguments += _data_options(setup)
    arguments += _generator_options(recipe, differences)
    arguments += _discriminator_options(method["discriminator"], differences)
    arguments += _loss_options(setup, differences)
    arguments += [f"--lr={recipe.optimizer.lr}", f"--beta1={recipe.optimizer.betas[0]}"]
    arguments.append(f"--pool_size={method.get('pool', 0)}")
    if has_gpu_ids:
        arguments.append("--gpu_ids=0" if setup.world.device.type == "cuda" else "--gpu_ids=-1")
    return PeerSettings(arguments, differences)


def _data_options(setup: RunSetup) -> list[str]:
    data = setup.recipe.data
    options = [f"--batch_size={setup.data.split.batch_size}", f"--crop_size={data.size[0]}"]
    if data.resize is None:
        options += [f"--load_size={data.size[0]}", "--preprocess=crop"]
    else:
        options += [f"--load_size={data.resize[0]}", "--preprocess=resize_and_crop"]
    if not data.flip:
        options.append("--no_flip")
    options += ["--input_nc=3", "--output_nc=3"]
    options.append(f"--num_threads={setup.data.workers(setup.threads)}")
    return options


def _generator_options(recipe: Recipe, differences: list[str]) -> list[str]:
    generator: dict[str, Any] = recipe.method["generator"]
    options = [f"--ngf={generator.get('width', 64)}", f"--norm={_norm(generator, differences)}"]
    if not generator.get("dropout"):
        options.append("--no_dropout")
    if generator.get("upsample", "transpose") != "transpose":
        differences.append("the peer's generator has transposed convolutions")
    name = generator["name"]
    if name == "unet":
        levels = generator["levels"]
        nearest = min(_UNETS, key=lambda known: abs(known - levels))
        if nearest != levels:
            differences.append(f"the peer's U-Net has {nearest} levels, the recipe's {levels}")
        multiple = 2**nearest
        if recipe.data.size[0] % multiple:
            raise UserError(
                f"--peer: data.size is {text_of(recipe.data.size)}, and the peer's"
                f" {_UNETS[nearest]} takes multiples of {multiple}; give another data.size, or"
                " method.generator=resnet"
            )
        return [*options, f"--netG={_UNETS[nearest]}"]
    if name == "resnet":
        blocks = generator["blocks"]
        nearest = min(_RESNETS, key=lambda known: abs(known - blocks))
        if nearest != blocks:
            differences.append(f"the peer's generator has {nearest} blocks, the recipe's {blocks}")
        return [*options, f"--netG={_RESNETS[nearest]}"]
    raise UserError(
        f"--peer: method.generator is {name}, allowed: unet or resnet, which that project has, too"
    )


def _discriminator_options(discriminator: dict[str, Any], differences: list[str]) -> list[str]:
    options = [f"--ndf={discriminator.get('width', 64)}"]
    name = discriminator["name"]
    if name == "pixel":
        return [*options, "--netD=pixel"]
    if name != "patchgan":
        differences.append(f"the peer has no {name} discriminator, and takes its patchgan")
    layers = discriminator.get("layers", 3)
    return [*options, "--netD=n_layers", f"--n_layers_D={layers}"]


def _loss_options(setup: RunSetup, differences: list[str]) -> list[str]:
    method = setup.recipe.method
    loss = method["adversarial"]["name"]
    if loss not in _GAN_MODES:
        differences.append(f"the peer has no loss {loss}, and takes lsgan")
    options = [f"--gan_mode={_GAN_MODES.get(loss, 'lsgan')}"]
    if method["name"] == "cyclegan":
        cycle = method["cycle"]
        options += [f"--lambda_A={cycle}", f"--lambda_B={cycle}"]
        return [*options, f"--lambda_identity={method['identity'] / cycle if cycle else 0}"]
    assert isinstance(setup.sketch, Pix2Pix)
    losses = setup.sketch.reconstruction.weights
    for name in losses:
        if name != "l1":
            differences.append(f"the peer has no loss {name}")
    weight = losses.get("l1", 0)
    if not isinstance(weight, int | float):
        differences.append("the peer has no schedule of a loss, and takes l1 with a weight of 100")
        weight = 100
    return [*options, f"--lambda_L1={weight}"]


def _norm(generator: dict[str, Any], differences: list[str]) -> str:
    norm = str(generator.get("norm", "batch"))
    if norm not in _NORMS:
        differences.append(f"the peer has no norm {norm}, and takes instance")
        return "instance"
    return norm
