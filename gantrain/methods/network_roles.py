"""What each network does in its method, so that other code need not know the networks' names."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkRole:
    """The role of a network in its method.

    Attributes:
        kind: `generator`, `discriminator` or another kind. It is the key of the recipe's `method`
            that states such networks, and the kind that `gantrain import` recognises in a file.
        back: Whether the network belongs to the reverse direction. Such a generator translates
            targets to sources, and such a discriminator sees images of the source domain.
    """

    kind: str
    back: bool = False

    def __str__(self) -> str:
        return f"{self.kind} of the reverse direction" if self.back else self.kind
