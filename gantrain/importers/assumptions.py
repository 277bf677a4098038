"""Sentences on what the importer assumes where a file does not show it.

Each names the option, or the key of the recipe, that changes it.
"""

from collections.abc import Mapping

from torch import nn

from gantrain.core.errors import UserError
from gantrain.data.shards import Field
from gantrain.importers.import_options import ImportOptions
from gantrain.importers.layout import DISCRIMINATOR_ROLE, PROJECTION_ROLE
from gantrain.importers.reading import ALLOWED_NORMS, NetworkFile
from gantrain.methods.base import Method

_USUAL_IMAGE = (1, 3)  # channels: grey, RGB
_LAB = (1, 2)  # channels of a colorization model: L to a and b


def of_norms(networks: Mapping[str, NetworkFile], options: ImportOptions) -> list[str]:
    """Return sentences on the norms that have neither weights nor statistics in a file."""
    if options.norm is not None:
        return []
    open_norms: dict[str, list[str]] = {}  # the networks' names, by the norm that is assumed
    for name, network in networks.items():
        if _has_open_norm(network):
            open_norms.setdefault(network.layout.component["norm"], []).append(name)
    sentences: list[str] = []
    if "instance" in open_norms:
        names = " and ".join(open_norms["instance"])
        sentences.append(
            f"assumed: instance norm in {names}, which leaves no tensors in a file; --norm none if"
            " there was no norm"
        )
    if "none" in open_norms:
        names = " and ".join(open_norms["none"])
        sentences.append(
            f"assumed: no norm in {names}; --norm instance if there was instance norm, "
            "which leaves no tensors in a file"
        )
    return sentences


def of_test_time(generator: NetworkFile, method: Method, options: ImportOptions) -> list[str]:
    """Return sentences on dropout and on the statistics of batch norm in use.

    method: the networks as built. Raises UserError where an option has nothing to act on.
    """
    modules: list[nn.Module] = []
    for name in method.inference:
        modules += method.networks[name].modules()
    has_dropout = any(isinstance(module, nn.Dropout) for module in modules)
    has_batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
    place = f"the generator of {generator.file}"
    if options.dropout and not has_dropout:
        other = ", or give --batch-statistics for batch norm" if has_batch_norm else ""
        raise UserError(f"--dropout: found no dropout in {place}; leave the option out{other}")
    if options.batch_statistics and not has_batch_norm:
        raise UserError(f"--batch-statistics: found no batch norm in {place}; leave the option out")
    kind = generator.layout.component["name"]
    sentences: list[str] = []
    # The test.py of SPADE takes the running statistics too.
    if has_batch_norm and not options.batch_statistics and kind != "spade":
        is_pix2pixhd = kind == "coarse_to_fine"
        published = "pix2pixHD's test.py takes" if is_pix2pixhd else "test.py takes without --eval"
        sentences.append(
            "assumed: batch norm takes the running statistics of the file; "
            f"--batch-statistics for those of each image, which {published}"
        )
    if has_dropout and not options.dropout:
        sentences.append(
            "assumed: dropout is off; --dropout keeps it on, as test.py does without --eval"
        )
    if has_dropout and options.dropout and kind == "unet":
        sentences.append(
            "assumed: dropout begins behind the decoder's second layer, as in the PyTorch code; "
            "method.generator.dropout_from=innermost in recipe.yaml for that of the Torch code"
        )
    return sentences


def of_domains(generator: NetworkFile, fields: Mapping[str, Field]) -> list[str]:
    """Return sentences on what the channels of the generator's source and target are."""
    source = fields["source"]
    sentences: list[str] = []
    if source.kind == "label":
        sentences += _of_classes(generator, fields)
    if source.kind == "image" and source.channels not in _USUAL_IMAGE:
        sentences.append(
            f"assumed: the source is an image of {source.channels} channels; --labels if they are "
            "classes, and --instances too if the last of them is the instance boundary map"
        )
    if source.kind == "image" and (source.channels, fields["target"].channels) == _LAB:
        sentences.append(
            "assumed: the values 0 to 255 stand for -1 to 1 in source and target; no colours are "
            "converted, if this is a colorization model from L to a and b of Lab"
        )
    component = generator.layout.component
    if "style_channels" in generator.layout.data_dims and "head" in component:
        height, width = component["head"]
        sentences.append(
            f"assumed: the coarsest map, of {height * width} pixels, is {height}x{width} "
            "(height x width); method.generator.head in recipe.yaml for another shape"
        )
    return sentences


def _of_classes(generator: NetworkFile, fields: Mapping[str, Field]) -> list[str]:
    classes = fields["source"].classes or 1
    highest = classes - 1
    sentences: list[str] = []
    if "instances" not in fields:
        sentences.append(
            f"assumed: the source has the class ids 0 to {highest}; --instances if the last of its "
            "channels is the instance boundary map, as without --no_instance"
        )
    if generator.layout.component["name"] == "spade":
        sentences.append(
            f"assumed: class {highest} is a class like the others; with --contain_dontcare_label "
            "it is that of unlabelled pixels, which SPADE's own files hold as 255"
        )
    return sentences


def of_start(networks: Mapping[str, NetworkFile]) -> list[str]:
    """Return sentences on a run that starts at networks of files.

    The run's recipe states what these files do not show.
    """
    sentences: list[str] = []
    for network in networks.values():
        sentences += network.notes
    kinds = [network.layout.role.kind for network in networks.values() if _has_open_norm(network)]
    for kind in dict.fromkeys(kinds):
        sentences.append(
            f"assumed: {kind} had the norm of this recipe, since instance norm and no norm leave no"
            f" tensors in a file; method.{kind}.norm for another"
        )
    return sentences + of_training(networks, unpaired=True)


def of_training(networks: Mapping[str, NetworkFile], *, unpaired: bool) -> list[str]:
    """Return sentences on what matters for evaluation and for a run that starts at the networks."""
    sentences: list[str] = []
    if not unpaired:
        sentences.append(
            "assumed: evaluate takes pairs, with left as the source and right as the target; "
            "--unpaired for two sets of images, or data.source and data.target in recipe.yaml for "
            "other fields"
        )
    discriminators = [
        name for name, network in networks.items() if network.layout.role == DISCRIMINATOR_ROLE
    ]
    if discriminators:
        sentences.append(
            f"assumed: {' and '.join(discriminators)} had the method's own loss; --gan_mode or"
            " --no_lsgan may have chosen another, which a run that starts at these weights takes as"
            " method.adversarial"
        )
    if any(network.layout.role == PROJECTION_ROLE for network in networks.values()):
        sentences.append(
            "assumed: --nce_layers 0,4,8,12,16; method.layers in recipe.yaml for others"
        )
    return sentences


def _has_open_norm(network: NetworkFile) -> bool:
    """Return whether a file leaves open which norm its network has."""
    norm = network.layout.component.get("norm", "batch")
    return len(ALLOWED_NORMS[norm]) > 1
