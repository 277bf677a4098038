"""Cityscapes as it is unpacked: leftImg8bit/SPLIT/CITY/*.png beside gtFine/SPLIT/CITY/*.png."""

from pathlib import Path

from gantrain.data.prepare.layouts import Found, Layout, Part, match, natural

HOW_TO = (  # format it with the folder to make and the split, train or val
    "get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip (registration and licence: "
    "https://www.cityscapes-dataset.com/), unpack both into one folder and run "
    "`gantrain prepare FOLDER --out {out} --as cityscapes --split {split}`"
)

_FILES = {
    "image": ("leftImg8bit", "_leftImg8bit.png"),
    "label": ("gtFine", "_gtFine_labelIds.png"),
}

# The data set's own colours, by labelId; 34 stands for its licence plate (id -1 there), which the
# id maps never hold but pix2pixHD and SPADE count: 35 classes.
PALETTE = [
    *[(0, 0, 0)] * 5,  # unlabeled, ego vehicle, rectification border, out of roi, static
    # dynamic, ground, road, sidewalk, parking
    (111, 74, 0), (81, 0, 81), (128, 64, 128), (244, 35, 232), (250, 170, 160),
    # rail track, building, wall, fence, guard rail
    (230, 150, 140), (70, 70, 70), (102, 102, 156), (190, 153, 153), (180, 165, 180),
    # bridge, tunnel, pole, polegroup, traffic light
    (150, 100, 100), (150, 120, 90), (153, 153, 153), (153, 153, 153), (250, 170, 30),
    # traffic sign, vegetation, terrain, sky, person
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
    # rider, car, truck, bus, caravan
    (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 0, 90),
    # trailer, train, motorcycle, bicycle, license plate
    (0, 0, 110), (0, 80, 100), (0, 0, 230), (119, 11, 32), (0, 0, 142),
]  # fmt: skip


def _find(source: Path, split: str) -> Found:
    how_to = HOW_TO.format(out="OUT", split=split)
    listed = {}
    for member, (folder, ending) in _FILES.items():
        place = source / folder / split
        if not place.is_dir():
            splits = ", ".join(f.name for f in sorted((source / folder).glob("*/")))
            raise ValueError(
                f"{place} is missing (found there: {splits or 'nothing'}); choose another --split, "
                f"or {how_to}"
            )
        files = sorted(place.glob(f"*/*{ending}"), key=lambda f: natural(f.name))
        listed[member] = [(f.name.removesuffix(ending), f) for f in files]
    samples, unmatched = match(listed)
    if not samples:
        raise ValueError(
            f"{source}: no *_leftImg8bit.png of {split} has its *_gtFine_labelIds.png; {how_to}"
        )
    fields = {"image": Part("image"), "label": Part("label", None, "label", 35, PALETTE)}
    return Found(fields, samples, unmatched)


CITYSCAPES = Layout(
    "the unpacked folders leftImg8bit and gtFine (fields: image, label)",
    lambda source: all((source / folder).is_dir() for folder, _ in _FILES.values()),
    _find,
)
