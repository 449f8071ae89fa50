"""A loader of Python's as a contender: RandomResizedCrop and flip from stored JPEGs to batches of uint8 RGB on the CPU.

`peer_loaders.py NAME`, with NAME one of torchvision, webdataset, dali, ffcv. Each line on stdin is a job
{set, samples, files, tars, output, images, workers, scale, ratio, flip, scratch, check}, answered by a line {images, seconds,
mean, version}: mean of all bytes with `check`, null without. Workers live on between jobs of one kind, so no start is timed.
"""

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time

BATCH = 64
# DALI gains 3 % by larger batches; the others gain nothing.
DALI_BATCH = 256
DALI_AHEAD = 2


def augmentation(job):
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(job["output"], tuple(job["scale"]), tuple(job["ratio"]), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(job["flip"])])


def paths(job, names):
    """`names` of the set as full paths, again and again until they hold `images`, from `samples` a round of them."""
    rounds = max(1, math.ceil(job["images"] / job["samples"]))
    return [os.path.join(job["set"], name) for name in names] * rounds


def torchvision(job):
    """decode_jpeg (libjpeg-turbo) and v2 on uint8 tensors, in the processes of a DataLoader."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    class Photos(torch.utils.data.Dataset):
        def __init__(self):
            self.files = paths(job, job["files"])[: job["images"]]
            self.augment = augmentation(job)

        def __len__(self):
            return len(self.files)

        def __getitem__(self, at):
            return self.augment(decode_jpeg(read_file(self.files[at]), mode=ImageReadMode.RGB))

    loader = torch.utils.data.DataLoader(
        Photos(), BATCH, shuffle=True, num_workers=job["workers"], persistent_workers=True
    )
    return lambda: (batch.numpy() for batch in loader)


def webdataset(job):
    """Tars through webdataset, decoded and augmented as torchvision's above: half as fast again as its own `decode("pil")`."""
    import torch
    import webdataset as wds
    from torchvision.io import ImageReadMode, decode_jpeg

    augment = augmentation(job)

    def image(sample):
        jpg = torch.frombuffer(bytearray(sample[0]), dtype=torch.uint8)
        return augment(decode_jpeg(jpg, mode=ImageReadMode.RGB))

    dataset = (
        wds.WebDataset(paths(job, job["tars"]), shardshuffle=False, empty_check=False)
        .to_tuple("jpg")
        .map(image)
        .batched(BATCH, collation_fn=torch.stack)
    )
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=job["workers"], persistent_workers=True)
    return lambda: (batch.numpy() for batch in loader)


def dali(job):
    """DALI without a GPU: its decoder knows the crop; threads instead of processes, two batches ahead."""
    import numpy
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=DALI_BATCH, num_threads=job["workers"], device_id=None, prefetch_queue_depth=DALI_AHEAD)
    def augmented():
        tars = [os.path.join(job["set"], tar) for tar in job["tars"]]
        indexes = [tar.removesuffix(".tar") + ".idx" for tar in tars]
        (jpg,) = [fn.readers.webdataset(paths=tars, index_paths=indexes, ext=["jpg"], random_shuffle=True)]
        scale, ratio = job["scale"], job["ratio"]
        image = fn.decoders.image_random_crop(
            jpg,
            device="cpu",
            random_area=scale,
            random_aspect_ratio=ratio,
            num_attempts=10,
            output_type=types.RGB,
            use_fast_idct=True,
        )
        side = job["output"]
        image = fn.resize(image, size=[side, side], interp_type=types.INTERP_LINEAR, antialias=True)
        return fn.flip(image, horizontal=fn.random.coin_flip(probability=job["flip"]))

    pipeline = augmented()
    pipeline.build()

    def taken():
        (images,) = pipeline.share_outputs()
        yield numpy.asarray(images.as_tensor())
        pipeline.release_outputs()

    def batches():
        # pipeline.run() would have batches ready before the clock starts, and go on making as many after it stops.
        wanted = math.ceil(job["images"] / DALI_BATCH)
        for scheduled in range(wanted):
            if scheduled >= DALI_AHEAD:
                yield from taken()
            pipeline.schedule_run()
        while not pipeline.empty():
            yield from taken()

    pipeline.schedule_run()  # the first schedules all that go ahead
    while not pipeline.empty():
        list(taken())
    return batches


def ffcv(job):
    """FFCV's loader over a .beton with the very bytes of the JPEGs; made here, since its writer would encode anew."""
    import numpy
    from ffcv.fields import RGBImageField
    from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder
    from ffcv.fields.rgb_image import IMAGE_MODES
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor
    from ffcv.writer import DatasetWriter
    from PIL import Image

    class Photos:
        def __len__(self):
            return len(job["files"])

        def __getitem__(self, at):
            return (os.path.join(job["set"], job["files"][at]),)

    def stored(self, destination, path, malloc):
        with open(path, "rb") as file:
            data = numpy.frombuffer(file.read(), dtype="uint8")
        destination["mode"] = IMAGE_MODES["jpg"]
        destination["width"], destination["height"] = Image.open(path).size
        destination["data_ptr"], storage = malloc(data.nbytes)
        storage[:] = data

    beton = os.path.join(job["scratch"], os.path.basename(job["set"]) + ".beton")
    if not os.path.exists(beton):
        RGBImageField.encode = stored
        DatasetWriter(beton, {"image": RGBImageField(write_mode="jpg")}, num_workers=1).from_indexed_dataset(Photos())
    side = job["output"]
    decoder = RandomResizedCropRGBImageDecoder((side, side), scale=tuple(job["scale"]), ratio=tuple(job["ratio"]))
    photos = numpy.arange(len(job["files"]), dtype="uint64")
    loader = Loader(
        beton,
        batch_size=BATCH,
        num_workers=job["workers"],
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        indices=numpy.resize(photos, job["images"]),
        pipelines={"image": [decoder, RandomHorizontalFlip(job["flip"]), ToTensor()]},
    )
    return lambda: (images.numpy() for (images,) in loader)


def version(name):
    """What does the work, as installed; FFCV is compiled against the system's libraries."""
    packages = {
        "torchvision": ["torchvision", "torch"],
        "webdataset": ["webdataset", "torchvision", "torch"],
        "dali": ["nvidia-dali-cuda120"],
        "ffcv": ["ffcv", "numba", "torch"],
    }[name]
    found = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    if name == "ffcv":
        for library in ["opencv4", "libturbojpeg"]:
            asked = subprocess.run(["pkg-config", "--modversion", library], capture_output=True, text=True)
            found.append(f"{library} {asked.stdout.strip() or 'unknown'}")
    return ", ".join([*found, f"Python {platform.python_version()}"])


def measure(epoch, check):
    started = time.perf_counter()
    images, total, size = 0, 0, 0
    for batch in epoch():
        images += len(batch)
        if check:
            total += int(batch.sum(dtype="uint64"))
            size += batch.size
    seconds = time.perf_counter() - started
    return {"images": images, "seconds": seconds, "mean": total / size if check else None}


def main():
    # stdout is for answers: what a library prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    opener = {"torchvision": torchvision, "webdataset": webdataset, "dali": dali, "ffcv": ffcv}[sys.argv[1]]
    about = version(sys.argv[1])
    open_kind = epoch = None
    for line in sys.stdin:
        job = json.loads(line)
        check = job.pop("check")
        if job != open_kind:
            epoch = None  # its workers end before the next begin
            open_kind, epoch = job, opener(job)
        print(json.dumps({**measure(epoch, check), "version": about}), file=answers, flush=True)


if __name__ == "__main__":
    main()
