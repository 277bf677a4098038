"""Cityscapes as it is unpacked: leftImg8bit/SPLIT/CITY/*.png beside gtFine/SPLIT/CITY/*.png."""

from pathlib import Path

from gantrain.data.prepare.layouts import Found, Layout, Part, match, natural

LICENCE_PAGE = "https://www.cityscapes-dataset.com/"
HOW_TO = (
    "get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip (registration and licence: "
    f"{LICENCE_PAGE}), unpack both into one folder and run "
    "`gantrain prepare FOLDER --out data/cityscapes/train --as cityscapes --split train`"
)

_FILES = {
    "image": ("leftImg8bit", "_leftImg8bit.png"),
    "label": ("gtFine", "_gtFine_labelIds.png"),
}

# The data set's own colours, by labelId; 34 stands for its licence plate (id -1 there), which the
# id maps never hold but pix2pixHD and SPADE count: 35 classes.
PALETTE = [
    *[(0, 0, 0)] * 5,  # unlabeled, ego vehicle, rectification border, out of roi, static
    (111, 74, 0),  # dynamic
    (81, 0, 81),  # ground
    (128, 64, 128),  # road
    (244, 35, 232),  # sidewalk
    (250, 170, 160),  # parking
    (230, 150, 140),  # rail track
    (70, 70, 70),  # building
    (102, 102, 156),  # wall
    (190, 153, 153),  # fence
    (180, 165, 180),  # guard rail
    (150, 100, 100),  # bridge
    (150, 120, 90),  # tunnel
    (153, 153, 153),  # pole
    (153, 153, 153),  # polegroup
    (250, 170, 30),  # traffic light
    (220, 220, 0),  # traffic sign
    (107, 142, 35),  # vegetation
    (152, 251, 152),  # terrain
    (70, 130, 180),  # sky
    (220, 20, 60),  # person
    (255, 0, 0),  # rider
    (0, 0, 142),  # car
    (0, 0, 70),  # truck
    (0, 60, 100),  # bus
    (0, 0, 90),  # caravan
    (0, 0, 110),  # trailer
    (0, 80, 100),  # train
    (0, 0, 230),  # motorcycle
    (119, 11, 32),  # bicycle
    (0, 0, 142),  # license plate
]


def _find(source: Path, split: str) -> Found:
    listed = {}
    for member, (folder, ending) in _FILES.items():
        if not (source / folder / split).is_dir():
            splits = ", ".join(f.name for f in sorted((source / folder).glob("*/")))
            raise ValueError(
                f"{source / folder / split} is missing (found there: {splits or 'nothing'}); "
                f"choose another --split, or {HOW_TO}"
            )
        files = sorted(
            (source / folder / split).glob(f"*/*{ending}"), key=lambda f: natural(f.name)
        )
        listed[member] = [(f.name.removesuffix(ending), f) for f in files]
    samples, unmatched = match(listed)
    if not samples:
        raise ValueError(
            f"{source}: no *_leftImg8bit.png of {split} has its *_gtFine_labelIds.png; {HOW_TO}"
        )
    return Found(
        {"image": Part("image"), "label": Part("label", None, "label", 35, PALETTE)},
        samples,
        unmatched,
    )


CITYSCAPES = Layout(
    "the unpacked folders leftImg8bit and gtFine (fields: image, label)",
    lambda source: all((source / folder).is_dir() for folder, _ in _FILES.values()),
    _find,
)
