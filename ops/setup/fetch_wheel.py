# fetch_wheel.py PARTIAL BYTES NAME==VERSION OPTION...: appends to PARTIAL what it lacks of the wheel of `pip download`.
# No pip resumes a killed download, and before 25.1 none a broken one. So pip's download command only finds the wheel
# and lends its session: index, proxies, certificates and credentials are pip's. Its inner names may change: exit 2, as
# of its option parser, says that they, the index or the server are not as expected.
import fcntl
import logging
import os
import sys
import time

PARENT = os.getppid()
logging.basicConfig()  # pip's warnings, to stderr


def leave_to_pip(reason):
    print(reason, file=sys.stderr)
    sys.exit(2)


try:
    from pip._internal.cli.cmdoptions import make_target_python
    from pip._internal.commands import create_command
    from pip._internal.exceptions import PipError
    from pip._vendor.packaging.specifiers import SpecifierSet
    from pip._vendor.requests.exceptions import ChunkedEncodingError, RequestException
except ImportError as error:
    leave_to_pip(error)


def find(arguments):
    command = create_command("download")
    options, (requirement,) = command.parse_args(arguments)
    name, version = requirement.split("==")
    session = command._build_session(options)
    finder = command._build_package_finder(options, session, target_python=make_target_python(options))
    best = finder.find_best_candidate(name, SpecifierSet("==" + version)).best_candidate
    return (session, best.link.url_without_fragment) if best else leave_to_pip("its index offers no such wheel")


def fetch(session, url, file, size, attempt):
    """Appends from where file stands; yields how many bytes came, for each chunk."""
    start = file.tell()
    with session.get(url, headers={"Range": "bytes=%d-" % start, "Accept-Encoding": "identity"}, stream=True) as response:
        if response.status_code == 200 and start > 0:
            if attempt > 0:
                sys.exit("the connection broke at byte %d, and the server sends no byte ranges" % start)
            print("the server sends no byte ranges: starting again from zero")
            start = file.truncate(0)  # to the new size
        status, length = response.status_code, int(response.headers.get("Content-Length", -1))
        if status not in (200, 206) or length != size - start:
            leave_to_pip("status %d, %d bytes instead of %d" % (status, length, size - start))
        for chunk in response.iter_content(1 << 16):
            yield file.write(chunk)
            if os.getppid() != PARENT:
                sys.exit("setup was killed")
        if file.tell() < size:  # some versions raise this themselves
            raise ChunkedEncodingError


with open(sys.argv[1], "ab", buffering=0) as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # the child of a setup that was killed may still be at its last chunk
        size, attempt, fetched = int(sys.argv[2]), 0, 0
        session, url = find(sys.argv[3:])
        while file.seek(0, os.SEEK_END) < size:
            if attempt == 10 or os.getppid() != PARENT:
                sys.exit("the connection broke %d times" % attempt)
            time.sleep(attempt)  # seconds
            try:
                for count in fetch(session, url, file, size, attempt):
                    fetched += count
                    if sys.stdout.isatty():
                        print("\r%d of %d MB" % (file.tell() // 10**6, size // 10**6), end="", flush=True)
            except (RequestException, PipError) as error:
                print("\rthe connection broke at byte %d (%s)" % (file.tell(), type(error).__name__), flush=True)
            attempt += 1
        print("\rfetched %d bytes" % fetched)
    except Exception as error:  # another pip may do anything
        leave_to_pip("%s: %s" % (type(error).__name__, error))
