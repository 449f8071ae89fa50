"""FFCV's writer: one pass a bucket, since its DatasetWriter makes one file of one size at a time.

Takes {dir, files, out, workers, shortSides} as JSON on stdin; prints one JSON line with the passes' time together. It bounds
the longer side: 4/3 of the short side, which stores a 4:3 photo as the others do. Its resize is OpenCV's INTER_AREA.
"""

import json
import multiprocessing
import os
import sys
import time

from ffcv.fields import IntField, RGBImageField
from ffcv.reader import Reader
from ffcv.writer import DatasetWriter
from PIL import Image
from torchvision.transforms.functional import center_crop


class Photos:
    """What torchvision's ImageFolder gives, PIL image and label; val as its central square."""

    def __init__(self, folder, files):
        wnids = sorted({file.split("/")[1] for file in files})
        labels = {wnid: i for i, wnid in enumerate(wnids)}
        self.samples = [(os.path.join(folder, file), file.split("/")[0], labels[file.split("/")[1]]) for file in files]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, split, label = self.samples[index]
        image = Image.open(path).convert("RGB")
        return (center_crop(image, min(image.size)) if split == "val" else image), label


def main():
    job = json.load(sys.stdin)
    photos = Photos(job["dir"], job["files"])
    # Its default of 100 images a turn would leave workers idle at the end of a small set.
    chunk = max(1, min(100, len(photos) // (8 * job["workers"])))
    work = {}
    seconds = cpu_seconds = 0.0
    for short_side in job["shortSides"]:
        path = os.path.join(job["out"], f"{short_side}.beton")
        started, cpu = time.perf_counter(), sum(os.times()[:4])
        image = RGBImageField(write_mode="jpg", jpeg_quality=90, max_resolution=round(short_side * 4 / 3))
        writer = DatasetWriter(path, {"image": image, "label": IntField()}, num_workers=job["workers"])
        writer.from_indexed_dataset(photos, chunksize=chunk)
        seconds += time.perf_counter() - started
        for child in multiprocessing.active_children():
            child.join()  # their CPU time counts from then on
        cpu_seconds += sum(os.times()[:4]) - cpu
        reader = Reader(path)
        stored = reader.metadata["f0"]
        pixels = stored["width"].astype("int64") * stored["height"].astype("int64")
        work[str(short_side)] = {
            "images": len(stored),
            "pixels": int(pixels.sum()),
            "bytes": int(reader.alloc_table["size"].sum()),
        }
    print(json.dumps({"seconds": seconds, "cpuSeconds": cpu_seconds, "work": work}))


if __name__ == "__main__":
    main()
