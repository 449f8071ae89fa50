"""Reads a packed dataset with Python's webdataset and prints one JSON line a sample; tarfile gives the true offsets."""

import hashlib
import io
import json
import sys
import tarfile

import webdataset
from PIL import Image

for shard in sys.argv[1:]:
    with tarfile.open(shard) as archive:
        members = [(m.name.split(".", 1), m.offset_data, m.size) for m in archive]
    # DALI's index, made as its wds2idx does: the members of a sample in the order of the tar.
    lines = {}
    for (key, extension), offset, size in members:
        lines.setdefault(key, []).append(f"{extension} {offset} {size} {key}.{extension}")
    idx = f"v1.2 {len(lines)}\n" + "".join(" ".join(line) + "\n" for line in lines.values())
    with open(shard.removesuffix(".tar") + ".idx", encoding="ascii") as file:
        assert file.read() == idx, f"{shard}: the index of DALI differs"
    offsets = {key: (offset, size) for (key, extension), offset, size in members if extension == "jpg"}
    for sample in webdataset.WebDataset(shard, shardshuffle=False):
        image = Image.open(io.BytesIO(sample["jpg"]))
        image.load()
        offset, size = offsets[sample["__key__"]]
        print(
            json.dumps(
                {
                    "key": sample["__key__"],
                    "fields": sorted(name for name in sample if not name.startswith("__")),
                    "cls": int(sample["cls"]),
                    "json": json.loads(sample["json"]),
                    "sha256": hashlib.sha256(sample["jpg"]).hexdigest(),
                    "offset": offset,
                    "bytes": size,
                    "mode": image.mode,
                    "size": image.size,
                }
            )
        )
