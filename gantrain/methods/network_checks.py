"""Checks of the roles that a method gives its networks, and of what the networks state."""

from collections.abc import Iterator, Mapping

from torch import nn

from gantrain.methods.base import Method
from gantrain.methods.network_roles import NetworkRole
from gantrain.methods.terms_check import describe_value
from gantrain.networks.protocol import (
    Generator,
    capabilities_of,
    feature_channels_of,
    undeclared_statements,
)


def role_problems(method: Method) -> Iterator[str]:
    """Yield a line on each wrong role of a network."""
    if not isinstance(method.roles, Mapping):
        value = describe_value(method.roles)
        yield f"roles: found {value}, allowed: a dictionary of gantrain.NetworkRole by network"
        return
    for name, role in method.roles.items():
        if name not in method.networks:
            yield f"roles: found the network {name!r}, allowed: {', '.join(method.networks)}"
        if not _is_role(role):
            yield (
                f"roles[{name!r}]: found {describe_value(role)}, allowed:"
                " gantrain.NetworkRole(KIND, back=False), whose kind is a text"
            )
            return
    owners: dict[NetworkRole, str] = {}
    for name in method.networks:
        role = method.role_of(name)
        if role in owners:
            yield f"roles: found {owners[role]} and {name} as the {role}, allowed: one of them"
        owners.setdefault(role, name)


def _is_role(role: object) -> bool:
    return (
        isinstance(role, NetworkRole)
        and isinstance(role.kind, str)
        and role.kind != ""
        and isinstance(role.back, bool)
    )


def statement_problems(method: Method) -> Iterator[str]:
    """Yield a line on each statement of a network that nobody reads, or that has a wrong value."""
    for name, network in method.networks.items():
        place = f"networks[{name!r}]: {type(network).__name__}"
        undeclared = undeclared_statements(network)
        if undeclared:
            yield (
                f"{place} states {', '.join(undeclared)}, but is a plain nn.Module; derive it from"
                " gantrain.Generator or gantrain.Discriminator"
            )
        for statement, value in _sizes(network).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                yield (
                    f"{place}.{statement}: found {describe_value(value)}, allowed: a whole number"
                    " of at least 1"
                )
        takes: object = isinstance(network, Generator) and network.forward_takes_layers
        if not isinstance(takes, bool):
            yield (
                f"{place}.forward_takes_layers: found {describe_value(takes)}, allowed: True or"
                " False"
            )
        channels: object = feature_channels_of(network)
        if not isinstance(channels, Mapping):
            yield (
                f"{place}.feature_channels: found {describe_value(channels)}, allowed: a dictionary"
                " of numbers by layer"
            )


def _sizes(network: nn.Module) -> dict[str, object]:
    capabilities = capabilities_of(network)
    return {
        "minimum_size": capabilities.minimum_size,
        "multiple": capabilities.multiple,
        "padded_minimum": capabilities.padded_minimum,
    }
