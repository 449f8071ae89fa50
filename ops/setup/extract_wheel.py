# extract_wheel.py WHEEL OUT: libtensorflow's libraries, the headers the addon needs and the licences, out of a wheel.
import os
import shutil
import sys
import zipfile

PREFIX = "tensorflow/include/"
HEADERS = ("tensorflow/c/", "tensorflow/core/platform/", "tsl/platform/", "xla/tsl/")
FILES = {
    "tensorflow/libtensorflow_cc.so.2": "lib/libtensorflow_cc.so.2",
    "tensorflow/libtensorflow_framework.so.2": "lib/libtensorflow_framework.so.2",
    "tensorflow/libtensorflow_cc.2.dylib": "lib/libtensorflow_cc.2.dylib",
    "tensorflow/libtensorflow_framework.2.dylib": "lib/libtensorflow_framework.2.dylib",
    "tensorflow/include/LICENSE": "LICENSE",
    "tensorflow/THIRD_PARTY_NOTICES.txt": "THIRD_PARTY_NOTICES.txt",
}


def target(name):
    if name in FILES:
        return FILES[name]
    inner = name[len(PREFIX) :]
    wanted = name.startswith(PREFIX) and inner.startswith(HEADERS) and name.endswith(".h")
    return os.path.join("include", inner) if wanted else None


wheel, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        inside = target(name)
        if inside is None:
            continue
        path = os.path.join(out, inside)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Streamed: the library is 850 MB unpacked. zipfile checks the CRC at the end of each member.
        with archive.open(name) as source, open(path, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
