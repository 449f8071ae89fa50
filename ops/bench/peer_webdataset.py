"""The packer's work with Python's own means: PIL decodes once, torchvision resizes, webdataset's ShardWriter writes.

Takes {dir, files, out, workers, shortSides, filter, draft} as JSON on stdin; prints one JSON line. The time runs from the
end of the imports to the last closed shard; the processes take the next file from a shared counter.
"""

import io
import json
import multiprocessing
import os
import sys
import time

import webdataset
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, resize


def decode(path, draft, short_side):
    image = Image.open(path)
    if draft:
        # libjpeg scales while it decodes, as far as both sides stay at least as long as the largest bucket wants.
        scale = short_side / min(image.size)
        image.draft("RGB", tuple(-int(-side * scale // 1) for side in image.size))
    return image.convert("RGB")


def store(image, short_side, split, interpolation):
    """Size and bytes of the JPEG of one bucket: never enlarged, and the central square for val, as the packer does."""
    short = min(short_side, *image.size)
    image = resize(image, short, interpolation)
    if split == "val":
        image = center_crop(image, short)
    jpg = io.BytesIO()
    image.save(jpg, "JPEG", quality=90, subsampling="4:2:0")
    return image.size, jpg.getvalue()


def pack(job, rank, counter, results):
    interpolation = InterpolationMode(job["filter"])
    writers = {}
    work = {str(short): {"images": 0, "pixels": 0, "bytes": 0} for short in job["shortSides"]}
    while True:
        with counter.get_lock():
            at = counter.value
            counter.value += 1
        if at >= len(job["files"]):
            break
        file = job["files"][at]
        split, wnid, name = file.split("/")
        image = decode(os.path.join(job["dir"], file), job["draft"], max(job["shortSides"]))
        for short_side in job["shortSides"]:
            size, jpg = store(image, short_side, split, interpolation)
            if (split, short_side) not in writers:
                pattern = os.path.join(job["out"], str(short_side), f"{split}-{rank:03d}-%06d.tar")
                writers[split, short_side] = webdataset.ShardWriter(pattern, maxcount=1024, verbose=0)
            key = f"{at:08d}_{name.rsplit('.', 1)[0]}"
            info = {"key": key, "label": job["labels"][wnid], "wnid": wnid, "source": file, "width": size[0], "height": size[1]}
            writers[split, short_side].write({"__key__": key, "jpg": jpg, "cls": job["labels"][wnid], "json": info})
            done = work[str(short_side)]
            done["images"] += 1
            done["pixels"] += size[0] * size[1]
            done["bytes"] += len(jpg)
    for writer in writers.values():
        writer.close()
    results.put(work)


def main():
    job = json.load(sys.stdin)
    started, cpu = time.perf_counter(), sum(os.times()[:4])
    job["labels"] = {wnid: i for i, wnid in enumerate(sorted({file.split("/")[1] for file in job["files"]}))}
    for short_side in job["shortSides"]:
        os.makedirs(os.path.join(job["out"], str(short_side)))
    fork = multiprocessing.get_context("fork")
    counter = fork.Value("q", 0)
    results = fork.SimpleQueue()
    workers = [fork.Process(target=pack, args=(job, rank, counter, results)) for rank in range(job["workers"])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    failed = [worker.exitcode for worker in workers if worker.exitcode != 0]
    if failed:
        sys.exit(f"{len(failed)} of {len(workers)} processes failed")
    shares = [results.get() for _ in workers]
    work = {
        short: {name: sum(share[short][name] for share in shares) for name in shares[0][short]} for short in shares[0]
    }
    print(json.dumps({"seconds": seconds, "cpuSeconds": sum(os.times()[:4]) - cpu, "work": work}))


if __name__ == "__main__":
    main()
