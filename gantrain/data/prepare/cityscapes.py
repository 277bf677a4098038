"""Cityscapes as it is unpacked: leftImg8bit/SPLIT/CITY/*.png beside gtFine/SPLIT/CITY/*.png."""

from pathlib import Path

from gantrain.data.prepare.layouts import Part, Parts

HOW_TO = (  # format it with the folder to make and the split, train or val
    "get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip (registration and licence: "
    "https://www.cityscapes-dataset.com/), unpack both into one folder and run "
    "`gantrain prepare FOLDER --out {out} --as cityscapes --split {split}`"
)

# The data set's own colours, by labelId; 34 stands for its licence plate (id -1 there), which the
# id maps never hold but pix2pixHD and SPADE count: 35 classes.
PALETTE = (
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
)  # fmt: skip


def cityscapes(source: Path, split: str) -> Parts:
    """The unpacked folders leftImg8bit and gtFine: photographs and 35 class ids."""
    ids = f"gtFine/{split}/*/*_gtFine_labelIds.png"
    return {
        "image": Part("image", f"leftImg8bit/{split}/*/*_leftImg8bit.png"),
        "label": Part("label", ids, kind="label", classes=35, palette=PALETTE),
    }
