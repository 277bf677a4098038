"""Sentences on what the importer assumes, because the files of networks do not show it. Each names the option."""

from collections.abc import Mapping

from torch import nn

from gantrain.data.shards import Field
from gantrain.importers.options import ImportOptions
from gantrain.importers.reading import ALLOWED_NORMS, Network
from gantrain.method import Method

_USUAL_IMAGE = (1, 3)  # channels: grey, RGB
_LAB = (1, 2)  # channels of a colorization model: L to a and b


def of_norms(networks: Mapping[str, Network], options: ImportOptions) -> list[str]:
    """Sentences on the norms that have neither weights nor statistics in a file."""
    if options.norm is not None:
        return []
    roles: dict[str, list[str]] = {}
    for role, network in networks.items():
        norm = network.found.component.get("norm", "batch")
        if len(ALLOWED_NORMS[norm]) > 1:
            roles.setdefault(norm, []).append(role)
    sentences: list[str] = []
    if "instance" in roles:
        names = " and ".join(roles["instance"])
        sentences.append(
            f"assumed: {names} with instance norm, which leaves no tensors in a file; --norm none if there was no norm"
        )
    if "none" in roles:
        names = " and ".join(roles["none"])
        sentences.append(
            f"assumed: {names} without a norm; --norm instance if there was instance norm, which leaves no tensors"
        )
    return sentences


def of_test_time(networks: Mapping[str, Network], method: Method, options: ImportOptions) -> list[str]:
    """Sentences on dropout and on batch norm's statistics in use.

    method: the networks as built. Raises ValueError where an option has nothing to act on.
    """
    made = networks["generator"]
    modules = [module for name in method.inference for module in method.networks[name].modules()]
    has_dropout = any(isinstance(module, nn.Dropout) for module in modules)
    has_batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
    if options.dropout and not has_dropout:
        raise ValueError(
            f"--dropout: {made.file}, a {made}, has no dropout; leave the option out, or give --batch-statistics"
            if has_batch_norm
            else f"--dropout: {made.file}, a {made}, has no dropout; leave the option out"
        )
    if options.batch_statistics and not has_batch_norm:
        raise ValueError(f"--batch-statistics: {made.file}, a {made}, has no batch norm; leave the option out")
    kind = made.found.component["name"]
    sentences: list[str] = []
    if has_batch_norm and not options.batch_statistics and kind != "spade":  # SPADE's own test takes the running ones
        command = "test.py" if kind == "coarse_to_fine" else "test.py without --eval"
        sentences.append(
            "assumed: batch norm takes the running statistics of the file; --batch-statistics for those of each image, "
            f"as {command} takes"
        )
    if has_dropout and not options.dropout:
        sentences.append("assumed: dropout is off; --dropout keeps it on, as test.py without --eval does")
    if has_dropout and options.dropout and kind == "unet":
        sentences.append(
            "assumed: dropout begins behind the decoder's second layer, as in the PyTorch code; "
            "method.generator.dropout_from=innermost in recipe.yaml for that of the Torch code"
        )
    return sentences


def of_sides(made: Network, fields: Mapping[str, Field]) -> list[str]:
    """Sentences on what the channels of the generator's source and target are."""
    source, target = fields["source"], fields["target"]
    component = made.found.component
    sentences: list[str] = []
    if source.kind == "label" and "instances" not in fields:
        sentences.append(
            f"assumed: the source has the class ids 0 to {(source.classes or 1) - 1}; --instances if the last of its "
            "channels are edges of instances, as without --no_instance"
        )
    if source.kind == "label" and component["name"] == "spade":
        sentences.append(
            f"assumed: class {(source.classes or 1) - 1} is a class like the others; where --contain_dontcare_label "
            "was on, it is that of unlabelled pixels, which SPADE's own files hold as 255"
        )
    if source.kind == "image" and source.channels not in _USUAL_IMAGE:
        sentences.append(
            f"assumed: the source is an image of {source.channels} channels; --labels if they are classes, and "
            "--instances too if the last of them are edges of instances"
        )
    if (source.channels, target.channels) == _LAB and source.kind == "image":
        sentences.append(
            "assumed: the values 0 to 255 stand for -1 to 1 in source and target; no colours are converted, "
            "if this is a colorization model from L to a and b of Lab"
        )
    if "style_channels" in made.found.facts and "head" in component:
        height, width = component["head"]
        sentences.append(
            f"assumed: the coarsest map, of {height * width} pixels, is {height}x{width} (height x width); "
            "method.generator.head in recipe.yaml for another shape"
        )
    return sentences


def of_training(networks: Mapping[str, Network], *, unpaired: bool) -> list[str]:
    """Sentences on what only evaluation, or a run that starts at the networks, depends on."""
    sentences: list[str] = []
    if not unpaired:
        sentences.append(
            "assumed: evaluate takes pairs, left to right; --unpaired for two sets of images, and data.source and "
            "data.target in recipe.yaml for other fields"
        )
    judges = [role for role, network in networks.items() if network.found.role == "discriminator"]
    if judges:
        sentences.append(
            f"assumed: the loss of {' and '.join(judges)} (--gan_mode, --no_lsgan) is the method's own; "
            "method.adversarial in a run that starts there for another"
        )
    if "projection" in networks:
        sentences.append("assumed: --nce_layers 0,4,8,12,16; method.layers in recipe.yaml for others")
    return sentences
