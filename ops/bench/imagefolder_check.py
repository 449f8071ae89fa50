"""Labels beside labels: what torchvision's ImageFolder gives the photos of class folders, and what webdataset reads in tars.

Takes {dir, tars} as JSON on stdin; `dir` holds train/CLASS/* and val/CLASS/*. Prints one JSON line
{"classToIdx": {split: {class: index}}, "imageFolder": {file: label}, "packed": {file: label}}.
"""

import json
import os
import sys

import webdataset
from torchvision.datasets import ImageFolder

job = json.load(sys.stdin)
class_to_idx = {}
labels = {}
for split in ("train", "val"):
    photos = ImageFolder(os.path.join(job["dir"], split))
    class_to_idx[split] = photos.class_to_idx
    labels.update({os.path.relpath(path, job["dir"]): label for path, label in photos.samples})
packed = {}
for tar in job["tars"]:
    for sample in webdataset.WebDataset(tar, shardshuffle=False):
        packed[json.loads(sample["json"])["source"]] = int(sample["cls"])
print(json.dumps({"classToIdx": class_to_idx, "imageFolder": labels, "packed": packed}))
