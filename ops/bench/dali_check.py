"""What DALI reads on the CPU from tars through their .idx files: one JSON line with a list of samples a tar.

Takes {tars} as JSON on stdin. A sample is {"cls", "sha256" of its JPEG's bytes, "size": [width, height] after DALI's decoder}.
"""

import hashlib
import json
import sys

from nvidia.dali import fn, pipeline_def


@pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
def members(tar, index):
    jpg, cls = fn.readers.webdataset(
        paths=[tar], index_paths=[index], ext=["jpg", "cls"], missing_component_behavior="error", name="reader"
    )
    return jpg, cls, fn.decoders.image(jpg, device="cpu")


def read(tar):
    pipeline = members(tar, tar.removesuffix(".tar") + ".idx")
    pipeline.build()
    samples = []
    for _ in range(pipeline.epoch_size("reader")):
        jpg, cls, image = (output.at(0) for output in pipeline.run())
        height, width, channels = image.shape
        assert channels == 3
        digest = hashlib.sha256(jpg.tobytes()).hexdigest()
        samples.append({"cls": int(cls.tobytes().decode("ascii")), "sha256": digest, "size": [width, height]})
    return samples


print(json.dumps([read(tar) for tar in json.load(sys.stdin)["tars"]]))
