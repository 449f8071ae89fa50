"""Writes class folders as WebDataset shards with Python's own ShardWriter: write_shards.py SOURCE OUT SAMPLES_A_SHARD."""

import os
import sys

import webdataset

source, out, maxcount = sys.argv[1:]
wnids = sorted(os.listdir(os.path.join(source, "train")))
for split in ("train", "val"):
    pattern = os.path.join(out, f"{split}-%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=int(maxcount), verbose=0) as writer:
        for label, wnid in enumerate(wnids):
            folder = os.path.join(source, split, wnid)
            for name in sorted(os.listdir(folder)):
                with open(os.path.join(folder, name), "rb") as file:
                    jpg = file.read()
                writer.write({"__key__": name.removesuffix(".JPEG"), "jpg": jpg, "cls": label, "json": {"wnid": wnid}})
