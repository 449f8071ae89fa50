"""A loader of Python's as a contender: RandomResizedCrop and flip from stored JPEGs to batches of uint8 RGB on the CPU.

`peer_loaders.py NAME`, with NAME one of torchvision, webdataset, dali, ffcv. Each line on stdin is a job
{set, samples, files, tars, output, images, workers, scale, ratio, flip, scratch, check}, answered by a line {images, seconds,
mean}: mean of all bytes with `check`, null without. Workers live on between jobs of one kind, so no start is timed.
"""

import json
import math
import os
import sys
import time

BATCH = 64


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
    """PIL from tars, as webdataset's own `decode("pil")` does, in the processes of its WebLoader."""
    import torch
    import webdataset as wds
    from torchvision.transforms.functional import pil_to_tensor

    augment = augmentation(job)
    dataset = (
        wds.WebDataset(paths(job, job["tars"]), shardshuffle=False, empty_check=False)
        .decode("pil")
        .to_tuple("jpg")
        .map(lambda sample: pil_to_tensor(augment(sample[0])))
        .batched(BATCH, collation_fn=torch.stack)
    )
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=job["workers"], persistent_workers=True)
    return lambda: (batch.numpy() for batch in loader)


def dali(job):
    """DALI without a GPU: its decoder knows the crop; threads instead of processes, two batches ahead."""
    import numpy
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=BATCH, num_threads=job["workers"], device_id=None, prefetch_queue_depth=2)
    def augmented():
        tars = [os.path.join(job["set"], tar) for tar in job["tars"]]
        indexes = [tar.removesuffix(".tar") + ".idx" for tar in tars]
        (jpg,) = [fn.readers.webdataset(paths=tars, index_paths=indexes, ext=["jpg"], random_shuffle=True)]
        scale, ratio = job["scale"], job["ratio"]
        image = fn.decoders.image_random_crop(
            jpg, device="cpu", random_area=scale, random_aspect_ratio=ratio, num_attempts=10, output_type=types.RGB
        )
        side = job["output"]
        image = fn.resize(image, size=[side, side], interp_type=types.INTERP_LINEAR, antialias=True)
        return fn.flip(image, horizontal=fn.random.coin_flip(probability=job["flip"]))

    pipeline = augmented()
    pipeline.build()

    def batches():
        for _ in range(math.ceil(job["images"] / BATCH)):
            (images,) = pipeline.run()
            yield numpy.asarray(images.as_tensor())

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
    open_kind = epoch = None
    for line in sys.stdin:
        job = json.loads(line)
        check = job.pop("check")
        if job != open_kind:
            epoch = None  # its workers end before the next begin
            open_kind, epoch = job, opener(job)
        print(json.dumps(measure(epoch, check)), file=answers, flush=True)


if __name__ == "__main__":
    main()
