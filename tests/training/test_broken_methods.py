"""Mistakes in own methods, networks and losses: status 2, one line that names the class, and
nothing made.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SMALL
from own_code import PRELUDE, forgotten, write
from typer.testing import CliRunner

from gantrain import load
from gantrain.cli.app import app
from gantrain.cli.train_command import train_main
from gantrain.methods import METHODS
from gantrain.networks import NETWORKS
from gantrain.recipe import schema
from gantrain.runs import checkpoint

QUICK = (
    "recipe=quickstart",
    *SMALL,
    "batch_size=4",
    "length=4",
    "method=mine",
    "evaluate.metrics=[l1]",
    "run=x",
)
QUICK = tuple(word for word in QUICK if not word.startswith("method."))
PIX2PIX = ("recipe=quickstart", *SMALL, "batch_size=4", "length=4", "run=x")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with forgotten():
        yield


def init(*lines: str) -> str:
    """A class derived from the small method, whose constructor does something else at its end."""
    body = "\n".join(f"        {line}" for line in lines)
    return (
        "class Bad(Base):\n"
        "    def __init__(self, source_channels: int, target_channels: int) -> None:\n"
        "        super().__init__(source_channels, target_channels)\n"
        f"{body}\n"
        "METHODS['mine'] = Bad\n"
    )


def function(name: str, *lines: str, arguments: str = "self, batch, carried, context") -> str:
    """A class derived from the small method with another function."""
    body = "\n".join(f"        {line}" for line in lines)
    return f"class Bad(Base):\n    def {name}({arguments}):\n{body}\nMETHODS['mine'] = Bad\n"


GENERATOR_TERMS = "self.generator_terms"
ONE = ("generator",)


def phases(
    networks: object, name: str = "generator", terms: str = GENERATOR_TERMS, before: str = ""
) -> str:
    return f"self.phases = ({before}Phase({name!r}, {networks!r}, {terms}),)"


L1 = "loss = (self.translate(batch) - batch['target']).abs().mean()"
CRITIC = "loss = self.networks['critic'](batch['target']).mean()"
HAS_STYLE = "Bad.has_style = True\n"
SHARED = "self.networks['critic'] = self.networks['generator']"

# By name: the code behind the small method, and what the line says.
METHOD_CASES: dict[str, tuple[str, str]] = {
    "no Method": (
        "class Bad(nn.Module):\n"
        "    def __init__(self, source_channels: int, target_channels: int) -> None:\n"
        "        super().__init__()\n"
        "METHODS['mine'] = Bad\n",
        "method: Bad is no Method; derive the class from gantrain.Method",
    ),
    "no super().__init__()": (
        "class Bad(Base):\n"
        "    def __init__(self, source_channels: int, target_channels: int) -> None:\n"
        "        self.networks['generator'] = nn.Conv2d(1, 1, 1)\n"
        "METHODS['mine'] = Bad\n",
        "method: Bad.__init__ does not call super().__init__() first, which makes the parts of a PyTorch module; begin",
    ),
    "no super().__init__(), and a network as an attribute": (
        "class Bad(Base):\n"
        "    def __init__(self, source_channels: int, target_channels: int) -> None:\n"
        "        self.layer = nn.Conv2d(1, 1, 1)\n"
        "METHODS['mine'] = Bad\n",
        "method: Bad.__init__ does not call super().__init__() first, which makes the parts of a PyTorch module; begin",
    ),
    "no super().__init__() of Method": (
        "class Bad(Base):\n"
        "    def __init__(self, source_channels: int, target_channels: int) -> None:\n"
        "        nn.Module.__init__(self)\n"
        "        self.networks = nn.ModuleDict({'generator': nn.Conv2d(1, 1, 1)})\n"
        "METHODS['mine'] = Bad\n",
        "method: Bad.__init__ does not call super().__init__() first, which makes auxiliary, phases, pools; begin the",
    ),
    "a layer without its super().__init__()": (
        "class Layer(nn.Module):\n    def __init__(self) -> None:\n        self.layer = nn.Conv2d(1, 1, 1)\n"
        + init("self.networks['critic'] = Layer()"),
        "method: Layer.__init__ does not call super().__init__() first, which makes the parts of a PyTorch module; be",
    ),
    "a translate that is no function": (
        "class Bad(Base):\n    translate = None\nMETHODS['mine'] = Bad\n",
        "method: Bad.translate: found None, allowed: a function translate(batch)",
    ),
    "a translate of other parameters": (
        function("translate", "return source", arguments="self, source, style"),
        "method: Bad.translate: found translate(source, style) behind self, allowed: translate(batch)",
    ),
    "terms of too few parameters": (
        function("critic_terms", "return Terms({})", arguments="self, batch"),
        "method: Bad.phases: 'critic': found terms (batch), allowed: a function of (batch, carried, context)",
    ),
    "weights that are no dictionary": (
        init("self.loss_weights = 3"),
        "method: Bad.loss_weights: found 3, allowed: a dictionary of numbers by loss",
    ),
    "a weight that is a text": (
        init("self.loss_weights = {'l1': 'three'}"),
        "method: Bad.loss_weights['l1']: found 'three', allowed: a finite number",
    ),
    "a weight that is no number": (
        init("self.loss_weights = {'l1': float('nan')}"),
        "method: Bad.loss_weights['l1']: found nan, allowed: a finite number",
    ),
    "the weight of no loss": (
        init("self.loss_weights = {'nope': 3.0}"),
        "method: Bad.loss_weights: found 'nope', allowed: the losses of a first step, l1, critic",
    ),
    "no translate": (
        "class Bad(Method):\n"
        "    def __init__(self, source_channels: int, target_channels: int) -> None:\n"
        "        super().__init__()\n"
        "METHODS['mine'] = Bad\n",
        "Bad lacks translate; define it in mine",
    ),
    "an exception": (init("1 / 0"), "method: building it with Bad raised ZeroDivisionError: division by zero (mine"),
    "a fact of its own": (
        "class Bad(Base):\n"
        "    def __init__(self, channels: int) -> None:\n"
        "        super().__init__(channels, channels)\n"
        "METHODS['mine'] = Bad\n",
        "method: found channels as parameters of Bad, allowed: source_channels, target_channels, and others behind",
    ),
    "any parameters": (
        "class Bad(Base):\n"
        "    def __init__(self, source_channels: int, target_channels: int, **options: int) -> None:\n"
        "        super().__init__(source_channels, target_channels)\n"
        "METHODS['mine'] = Bad\n",
        "mine: Bad can't be a part of a recipe (**options: int stands for any parameters",
    ),
    "a plain dictionary": (
        init("del self.networks", "self.networks = {}"),
        "method: Bad.networks: found an object of dict, allowed: an nn.ModuleDict",
    ),
    "no networks": (init("self.networks.clear()", "self.phases = ()"), "Bad.networks: found none, allowed: at least"),
    "no phases": (init("self.phases = ()"), "method: Bad.phases: found none, allowed: at least one Phase"),
    "a single phase": (
        init("self.phases = self.phases[0]"),
        "method: Bad.phases: found an object of Phase, allowed: a tuple",
    ),
    "no Phase": (init("self.phases = (self.generator_terms,)"), "Bad.phases: found an object of method, allowed: gant"),
    "a misspelt network": (
        init(phases(("genrator",))),
        "method: Bad.phases: 'generator': found the network 'genrator', allowed: generator, critic",
    ),
    "a text of networks": (
        init(phases("generator")),
        "'generator': found 'generator' as networks, allowed: a tuple, such as ('generator',)",
    ),
    "overlapping phases": (
        init(phases(("critic",), "more", before="*self.phases, ")),
        "method: Bad.phases: 'more': found the network 'critic', which 'critic' trains; allowed: one phase each",
    ),
    "two phases of one name": (
        init(phases(("critic",), before="self.phases[0], ")),
        "method: Bad.phases: found the name 'generator' 2 times, allowed: once",
    ),
    "a name that no file can have": (
        init(phases(("critic",), "a/b", before="self.phases[0], ")),
        "method: Bad.phases: found the name 'a/b', allowed: letters, digits and underscores",
    ),
    "terms that are none": (
        init(phases(ONE, terms="3")),
        "method: Bad.phases: 'generator': found 3 as terms, allowed: a function that returns gantrain.Terms",
    ),
    "shared parameters": (init(SHARED), "Bad.networks: found critic and generator with the same parameters"),
    "nothing to train": (
        init("self.networks['critic'] = nn.Flatten()"),
        "method: Bad.phases: 'critic': found networks without parameters, allowed: at least one to train",
    ),
    "frozen by itself": (
        init("self.networks['critic'].requires_grad_(False)"),
        "method: found a phase 'critic' all of whose parameters have requires_grad=False, allowed: something to",
    ),
    "an inference that is no network": (
        init("self.inference = ('genrator',)"),
        "method: Bad.inference: found 'genrator', allowed: generator, critic, the networks that translate needs",
    ),
    "a text of inference": (init("self.inference = 'generator'"), "Bad.inference: found 'generator', allowed: a tuple"),
    "no pool": (
        init("self.pools = {'fakes': []}"),
        "Bad.pools['fakes']: found [], allowed: a gantrain.methods.image_pool.ImagePool",
    ),
    "an input of no kind": (
        function("style", "return given", arguments="self, given") + "Bad.inputs = {'mask': 'mask'}\n",
        "Bad.inputs['mask']: found 'mask', allowed: gantrain.Input(KIND), whose kind is one of image, label, instances",
    ),
    "an input in the role of the source": (
        function("style", "return given", arguments="self, given") + "Bad.inputs = {'source': None}\n",
        "Bad.inputs: found the role 'source', allowed: a name other than source, target, style",
    ),
    "inputs of the object": (
        init("self.inputs = {}"),
        "Bad.inputs: found in the object, allowed: in the class, which is read before it is built",
    ),
    "a way back without its function": (
        init("self.has_back = True"),
        "method: Bad.has_back: found True without a translate_back(); define it, or leave has_back out",
    ),
    "a way back to other channels": (
        function("translate_back", "return batch['source']", arguments="self, batch") + "Bad.has_back = True\n",
        "Bad.translate_back gives a float32 tensor of shape (2, 3, 32, 32), allowed: float images of shape (2, 10",
    ),
    "a style that raises": (
        function("style", "raise RuntimeError('none for you')", arguments="self, given") + HAS_STYLE,
        "method: Bad.style raised RuntimeError: none for you (mine",
    ),
    "a style that is none": (
        function("style", "return None", arguments="self, given") + HAS_STYLE,
        "method: Bad.style gives None, allowed: a float tensor of shape (1, channels)",
    ),
    "a style of an image alone": (
        function("style", "return given.mean((2, 3))", arguments="self, given") + HAS_STYLE,
        "method: Bad.style raised AttributeError: 'int' object has no attribute 'mean' (mine",
    ),
    "roles that are no dictionary": (
        init("self.roles = ('generator',)"),
        "Bad.roles: found an object of tuple, allowed: a dictionary of gantrain.NetworkRole by network",
    ),
    "a role of an unknown network": (
        init("self.roles = {'judge': NetworkRole('discriminator')}"),
        "Bad.roles: found the network 'judge', allowed: generator, critic",
    ),
    "a role that is a text": (
        init("self.roles = {'critic': 'discriminator'}"),
        "Bad.roles['critic']: found 'discriminator', allowed: gantrain.NetworkRole(KIND, back=False), whose kind is",
    ),
    "a role without a kind": (
        init("self.roles = {'critic': NetworkRole('')}"),
        "Bad.roles['critic']: found an object of NetworkRole, allowed: gantrain.NetworkRole(KIND, back=False)",
    ),
    "two networks in one role": (
        init("self.roles = {'critic': NetworkRole('generator')}"),
        "Bad.roles: found generator and critic as the generator, allowed: one of them",
    ),
    "a flag that is no flag": (
        init("self.paired = 'yes'"), "Bad.paired: found 'yes', allowed: True or False",
    ),
    "a plain network that states its padding": (
        init("self.networks['generator'].multiple = 16"),
        "Bad.networks['generator']: Conv2d states multiple, but is a plain nn.Module; derive it from gantrain.Gener",
    ),
    "a network whose padding is no whole number": (
        "class Half(nn.Conv2d, Generator):\n    multiple = 0.5\n" + init("self.networks['generator'] = Half(1, 1, 1)"),
        "Bad.networks['generator']: Half.multiple: found 0.5, allowed: a whole number of at least 1",
    ),
    "a network whose smallest size is zero": (
        "class Zero(nn.Conv2d, Generator):\n    minimum_size = 0\n" + init("self.networks['generator'] = Zero(1, 1, 1)"),
        "Bad.networks['generator']: Zero.minimum_size: found 0, allowed: a whole number of at least 1",
    ),
    "features that are no dictionary": (
        "class Flat(nn.Conv2d, Generator):\n    feature_channels = [3, 3]\n" + init("self.networks['generator'] = Flat(1, 1, 1)"),
        "Bad.networks['generator']: Flat.feature_channels: found an object of list, allowed: a dictionary of numbers",
    ),
    "a random stream without a name": (
        function("critic_terms", "context.random(0, '')", CRITIC, "return Terms({'critic': loss})"),
        "method: a first step with Bad raised ValueError: purpose: found an empty text, allowed: a name such as",
    ),
    "styles without their function": (init("self.has_style = True"), "Bad.has_style: found True without a style();"),
    "what can't be copied": (
        init("import threading", "self.lock = threading.Lock()"),
        "method: Bad can't be copied (TypeError: cannot pickle '_thread.lock' object",
    ),
    "a tensor for Terms": (
        function("generator_terms", L1, "return loss"),
        "method: Bad, phase 'generator': found a float32 tensor of shape (), allowed: gantrain.Terms({NAME: LOSS})",
    ),
    "nothing for Terms": (function("generator_terms", L1), "Bad, phase 'generator': found None, allowed: gantrain.Ter"),
    "no loss": (function("critic_terms", "return Terms({})"), "phase 'critic': losses: found {}, allowed: a dict"),
    "a loss of several numbers": (
        function("generator_terms", L1.replace(".mean()", ""), "return Terms({'l1': loss})"),
        "losses['l1']: found a float32 tensor of shape (2, 3, 32, 32), allowed: a float tensor without dimensions",
    ),
    "a loss that is a number": (
        function("generator_terms", L1, "return Terms({'l1': loss.item()})"),
        "phase 'generator': losses['l1']: found 0.",
    ),
    "a loss without a gradient": (
        function("generator_terms", L1, "return Terms({'l1': loss.detach()})"),
        "losses: found l1 without a gradient, allowed: at least one that depends on the phase's networks",
    ),
    "a loss of another network": (
        function(
            "critic_terms",
            "x = torch.ones((), requires_grad=True)",
            "return Terms({'critic': x * batch['target'].mean()})",
        ),
        "phase 'critic': no parameter of critic gets a gradient, allowed: losses that depend on them",
    ),
    "carried with its gradient": (
        function("generator_terms", L1, "return Terms({'l1': loss}, carried={'fake': self.translate(batch)})"),
        "carried['fake']: found a tensor with a gradient, allowed: a detached one; call detach()",
    ),
    "stats with their gradient": (
        function("generator_terms", L1, "return Terms({'l1': loss}, {'fake': loss.detach()}, {'l1': loss})"),
        "stats['l1']: found a tensor with a gradient, allowed: a detached one",
    ),
    "stats that are numbers": (
        function("generator_terms", L1, "return Terms({'l1': loss}, stats={'x': 1.0})"),
        "stats['x']: found 1.0, allowed: a tensor without dimensions",
    ),
    "terms that raise": (
        function("critic_terms", "return batch['nothing']"),
        "method: a first step with Bad raised KeyError: 'nothing' (mine",
    ),
    "other channels": (
        function("translate", "return batch['source']", arguments="self, batch"),
        "Bad.translate gives a float32 tensor of shape (2, 10, 32, 32), allowed: float images of shape (2, 3, height",
    ),
    "no batch": (
        function("translate", "return self.networks['generator'](batch['source'])[0]", arguments="self, batch"),
        "method: Bad.translate gives a float32 tensor of shape (3, 32, 32), allowed: float images of shape (2, 3",
    ),
    "no images": (
        function("translate", "return [self.networks['generator'](batch['source'])]", arguments="self, batch"),
        "method: Bad.translate gives an object of list, allowed: float images",
    ),
    "a translation that needs the target": (
        function("translate", "return batch['target']", arguments="self, batch"),
        "method: a first step with Bad raised KeyError: 'target' (mine",
    ),
    "a state that is no tensor": (
        "class Layer(nn.Conv2d):\n    def get_extra_state(self):\n        return {'a': 1}\n"
        "    def set_extra_state(self, state):\n        pass\n"
        + init("self.networks['critic'] = Layer(target_channels, 1, 1)"),
        "method: found _extra_state, an object of dict, in the state_dict of critic, allowed: tensors",
    ),
    "a diagnosis without tensors": (
        function("diagnose", "return {'share': 0.5}", arguments="self, batch"),
        "method: Bad.diagnose gives {'share': 0.5}, allowed: a dictionary of tensors of one number",
    ),
    "a diagnosis of images": (
        function("diagnose", "return {'x': batch['source']}", arguments="self, batch"),
        "method: Bad.diagnose gives {'x': a float32 tensor of shape (2, 10, 32, 32)}, allowed: a dictionary of tensors",
    ),
    "a metric of gantrain's name": (
        function("measure", "return {'l1': torch.tensor(1.0)}", arguments="self, batch"),
        "method: Bad.measure gives a value named 'l1', which is a name of gantrain's own; choose another name",
    ),
    "a diagnosis of the name of a distance of sets": (
        function("diagnose", "return {'fd_random0': torch.tensor(1.0)}", arguments="self, batch"),
        "method: Bad.diagnose gives a value named 'fd_random0', which is a name of gantrain's own; choose another name",
    ),
    "a name that the metrics' sums have": (
        function("measure", "return {'samples': torch.tensor(1.0)}", arguments="self, batch"),
        "method: Bad.measure gives a value named 'samples', which is a name of gantrain's own; choose another name",
    ),
    "a loss of two phases": (
        function("critic_terms", CRITIC, "return Terms({'l1': loss})"),
        "phase 'critic': losses['l1']: found a name that the losses of phase 'generator' have, too; choose another",
    ),
    "a stat of the name of a loss": (
        function("critic_terms", CRITIC, "return Terms({'critic': loss}, stats={'l1': loss.detach()})"),
        "phase 'critic': stats['l1']: found a name that the losses of phase 'generator' have, too; choose another",
    ),
    "a loss that is called lr": (
        function("critic_terms", CRITIC, "return Terms({'lr': loss})"),
        "phase 'critic': losses['lr']: found a name of gantrain's own values in metrics.jsonl; choose another name",
    ),
    "a stat that is called images_seen": (
        function("critic_terms", CRITIC, "return Terms({'critic': loss}, stats={'images_seen': loss.detach()})"),
        "phase 'critic': stats['images_seen']: found a name of gantrain's own values in metrics.jsonl",
    ),
    "a dictionary of tensors for Terms": (
        function("critic_terms", CRITIC, "return {'critic': batch['target']}"),
        "method: Bad, phase 'critic': found {'critic': tensor([[[[",
    ),
}  # fmt: skip


def refused(
    code: str, says: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write(name, PRELUDE + textwrap.dedent(code))
    capsys.readouterr()
    status = train_main([*words, "--import", name])
    printed = capsys.readouterr().err
    lines = [line for line in printed.splitlines() if line.strip()]
    assert len(lines) == 1, printed
    assert says in lines[0]
    assert "Traceback" not in printed
    assert status == 2
    assert sorted(path.name for path in Path.cwd().iterdir()) == [f"{name}.py"]


@pytest.mark.parametrize("name", METHOD_CASES)
def test_a_methods_mistakes_are_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, says = METHOD_CASES[name]
    refused(code, says, QUICK, capsys, f"mine_{list(METHOD_CASES).index(name)}")


def network(constructor: str, forward: str, table: str = "NETWORKS") -> str:
    return (
        "class Bad(nn.Module):\n"
        f"    def __init__({constructor}) -> None:\n"
        "        super().__init__()\n"
        "        self.layer = nn.LazyConv2d(1, 1) if False else nn.Conv2d(self.before, self.after, 1)\n"
        "    before, after = 10, 3\n"
        f"    def forward(self, x):\n        return {forward}\n"
        f"{table}['mine'] = Bad\n"
    )


FACTS = "self, in_channels: int, out_channels: int"
ALONE = "self, in_channels: int"
BAD_LOSS = "from gantrain.losses import AdversarialLoss\nclass Bad(AdversarialLoss):\n"
GENERATOR = ("method.generator=mine",)
DISCRIMINATOR = ("method.discriminator=mine",)
ADVERSARIAL = ("method.adversarial=mine",)
PENALTY = ("method.penalties=[mine]",)
VGG = (
    "method={name: pix2pixhd, losses: {perceptual: {network: mine}}, generator: {name: coarse_to_fine, width: 4, downsampling: 1, blocks: 1}}",
)

# By name: the words, the code, and what the line says.
PART_CASES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a parameter without a type": (
        GENERATOR, network(f"{FACTS}, *, width=8", "self.layer(x)"),
        "mine: Bad can't be a part of a recipe (width has no annotation), allowed: a class whose parameters have",
    ),
    "a type that no recipe holds": (
        GENERATOR, network(f"{FACTS}, *, layer: nn.Module = None", "self.layer(x)"),
        "mine: Bad can't be a part of a recipe (Unable to generate pydantic-core schema for",
    ),
    "facts of a discriminator": (
        GENERATOR, network("self, channels: int", "self.layer(x)"),
        "mine is built from (channels), here from (in_channels, out_channels); allowed: unet,",
    ),
    "no class": (
        GENERATOR, "NETWORKS['mine'] = lambda in_channels, out_channels: nn.Conv2d(10, 3, 1)\n",
        "mine is built from (), here from (in_channels, out_channels); allowed: unet,",
    ),
    "a generator that raises": (
        GENERATOR, network(FACTS, "self.layers(x)"),
        "method: a first step with Bad raised AttributeError: 'Bad' object has no attribute 'layers' (part",
    ),
    "a generator of other channels": (
        GENERATOR, network(FACTS, "self.layer(x)[:, :1]"),
        "Pix2Pix.translate gives a float32 tensor of shape (2, 1, 32, 32), allowed: float images of shape (2, 3",
    ),
    "a generator of another size": (
        GENERATOR, network(FACTS, "self.layer(x)[..., ::2, ::2]"),
        "Pix2Pix.translate makes (16, 16) of images of (32, 32), allowed: the size of the target",
    ),
    "a generator of several images": (
        GENERATOR, network(FACTS, "(self.layer(x), x)"),
        "Pix2Pix.translate gives an object of tuple, allowed: float images",
    ),
    "a discriminator of one tensor": (
        DISCRIMINATOR, network(ALONE, "self.layer(x)").replace("10, 3", "13, 1"),
        "discriminator: Bad gives a tensor of shape (2, 1, 32, 32), allowed: a list of scales, each a list of",
    ),
    "a discriminator of one scale": (
        DISCRIMINATOR, network(ALONE, "[self.layer(x)]").replace("10, 3", "13, 1"),
        "discriminator: Bad gives list, allowed: a list of scales, each a list of features with 2 images",
    ),
    "a loss that is no AdversarialLoss": (
        ADVERSARIAL, "class Bad:\n    pass\nADVERSARIAL['mine'] = Bad\n",
        "adversarial: Bad is no gantrain.losses.AdversarialLoss; derive it from that",
    ),
    "a loss without its functions": (
        ADVERSARIAL, f"{BAD_LOSS}    pass\nADVERSARIAL['mine'] = Bad\n",
        "Bad lacks discriminator, generator; define it in",
    ),
    "a loss of a map": (
        ADVERSARIAL,
        f"{BAD_LOSS}    def discriminator(self, real, fake):\n        return fake - real\n"
        "    def generator(self, fake):\n        return -fake\nADVERSARIAL['mine'] = Bad\n",
        "adversarial: Bad gives shape (2, 1, ",
    ),
    "a penalty of another signature": (
        PENALTY,
        "class Bad:\n    interval_steps = 1\n    def __call__(self, real):\n        return real.mean()\n"
        "PENALTIES['mine'] = Bad\n",
        "method: a first step with Bad raised TypeError: Bad.__call__() takes 2 positional arguments but 5 were given",
    ),
    "a penalty without its interval": (
        PENALTY,
        "class Bad:\n    def __call__(self, discriminate, real, fake, mix):\n        return real.mean()\n"
        "PENALTIES['mine'] = Bad\n",
        "method: a first step with Bad raised AttributeError: 'Bad' object has no attribute 'interval_steps'",
    ),
    "a perceptual distance of a map": (
        VGG, network("self, channels: int", "(x - y).abs()", "PERCEPTUAL").replace("self, x", "self, x, y"),
        "phase 'generator': losses['perceptual']: found a float32 tensor of shape (2, 3, 32, 32), allowed: a float",
    ),
    "a perceptual distance whose weights can't be read": (
        VGG,
        network("self, channels: int", "x.mean()", "PERCEPTUAL")
        + "Bad.load = lambda self: open('nothing.pt')\n",
        "method: Bad.load raised FileNotFoundError: [Errno 2] No such file or directory: 'nothing.pt' (part",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PART_CASES)
def test_mistakes_of_networks_and_losses_are_one_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, code, says = PART_CASES[name]
    usual = [word for word in PIX2PIX if not word.startswith(words[0].partition("=")[0] + ".")]
    refused(code, says, (*usual, *words), capsys, f"part_{list(PART_CASES).index(name)}")


def test_all_problems_come_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code = init("self.inference = ('genrator',)", phases(("genrator", "critic", "x")))
    write("mine_all", PRELUDE + code)
    assert train_main([*QUICK, "--import", "mine_all"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 3
    assert all(" Bad." in line for line in lines)


def test_the_doctor_finds_them_too() -> None:
    write("mine_ill", PRELUDE + METHOD_CASES["nothing for Terms"][0])
    result = CliRunner().invoke(app, ["doctor", *QUICK, "--import", "mine_ill"])
    assert result.exit_code == 1
    assert (
        "method  fails  method: Bad, phase 'generator': found None, allowed: gantrain.Terms"
        in result.output
    )
    assert "Traceback" not in result.output


TIED = """
class Tied(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1)
        self.second = nn.Conv2d(channels, channels, 1)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))
"""


STYLED = """
class Styled(Base):
    has_style = True

    def translate(self, batch):
        return super().translate(batch) * batch.get("style", torch.ones(1, 1)).mean()

    def style(self, given):
        return torch.full((1, 3), float(given)) if isinstance(given, int) else given.mean((2, 3))


METHODS["mine"] = Styled
"""


def test_an_own_style_is_tried_before_training_and_checked_at_every_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("mine_styled", PRELUDE + STYLED)
    assert train_main([*QUICK, "--import", "mine_styled"]) == 0
    assert load("runs/x", "cpu", style="2").style["style"].tolist() == [[2.0, 2.0, 2.0]]

    def refuse(method: object, given: object) -> None:
        raise KeyError("no style")

    monkeypatch.setattr(METHODS["mine"], "style", refuse)
    with pytest.raises(ValueError, match=r"^method: Styled\.style raised KeyError: 'no style' \("):
        load("runs/x", "cpu", style="2")
    monkeypatch.setattr(METHODS["mine"], "style", lambda method, given: None)
    with pytest.raises(ValueError, match=r"^method: Styled\.style gives None, allowed: a float"):
        load("runs/x", "cpu", style="2")


@pytest.mark.parametrize("critic", ["nn.Conv2d(target_channels, 1, 1)", "Tied(target_channels)"])
def test_the_small_method_itself_trains_and_resumes(critic: str) -> None:
    """Also with weights that two layers share."""
    name = f"mine_good_{len(critic)}"
    write(name, PRELUDE + TIED + init(f"self.networks['critic'] = {critic}"))
    assert train_main([*QUICK, "--import", name]) == 0
    assert train_main([*QUICK, "length=8", "--import", name]) == 0
    state = checkpoint.state(Path("runs/x/checkpoints/000000008"))
    assert state.modules == [name]


def test_a_broken_entry_stops_only_the_recipes_that_name_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Bad:
        def __init__(self, **options: int) -> None:
            pass

    monkeypatch.setitem(METHODS, "bad_method", Bad)
    monkeypatch.setitem(NETWORKS, "bad_network", NetworkWithoutTypes)
    assert schema.load("quickstart").method["name"] == "pix2pix"
    assert "bad_method" not in json.dumps(schema.schema())
    with pytest.raises(
        ValueError, match=r"bad_method: .*Bad can't be a part of a recipe"
    ) as caught:
        schema.load("quickstart", ["method=bad_method"])
    assert "\n" not in str(caught.value)


class NetworkWithoutTypes:
    def __init__(self, in_channels: int, out_channels: int, *, width=8) -> None:  # type: ignore[no-untyped-def]
        pass
