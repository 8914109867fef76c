#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What a container of the demo runs: a small numeric service with a real start.

It imports numpy and scipy, solves something with them, reads through the packages it depends on (sources are compiled, every file
is checked against the digests that the distribution ships), keeps a few files of its own as any container does, says what it did,
and then stays up until its standard input ends.

Everything it writes is a function of the image, so that two containers of one image end up with the same files.
"""

import ast
import hashlib
import json
import os
import sys
import zlib

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.optimize
import scipy.sparse
import scipy.sparse.linalg
import scipy.stats

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = ["python3-scipy", "python3-numpy", f"lib{PYTHON}-stdlib:amd64", f"lib{PYTHON}-minimal:amd64"]
INFO = "/var/lib/dpkg/info"
STATE = "/var/lib/demo"


def say(word):
    """One line to whoever started the container."""
    print(word, flush=True)


def compute():
    """A little of everything that was imported; results are rounded so that they do not depend on the order of additions."""
    rng = np.random.default_rng(7)
    a = rng.standard_normal((120, 120))
    spd = a @ a.T + 120 * np.eye(120)
    x = scipy.linalg.cho_solve(scipy.linalg.cho_factor(spd), np.ones(120))
    laplace = scipy.sparse.diags([-1, 2, -1], [-1, 0, 1], shape=(4000, 4000), format="csc")
    y = scipy.sparse.linalg.spsolve(laplace, np.ones(4000))
    spectrum = np.abs(scipy.fft.rfft(np.sin(np.arange(4096) * 0.1)))
    root = scipy.optimize.brentq(lambda t: np.cos(t) - t, 0, 1)
    return {
        "cholesky": round(float(x.sum()), 6),
        "poisson": round(float(y.max()), 3),
        "peak": int(spectrum.argmax()),
        "root": round(root, 9),
        "normal": round(float(scipy.stats.norm.cdf(1.0)), 9),
    }


def manifest(package):
    """The (path, digest) pairs that the distribution recorded for a package; files left out of the image are skipped."""
    for name in (package, package.split(":")[0]):
        path = f"{INFO}/{name}.md5sums"
        if os.path.exists(path):
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    digest, file = line.rstrip("\n").split("  ", 1)
                    if os.path.exists("/" + file):
                        yield "/" + file, digest
            return
    raise FileNotFoundError(f"no manifest of {package}")


def read_packages():
    """Reads every file of the packages: checks its digest, and takes every fortieth Python source apart."""
    files = size = functions = crc = 0
    for package in PACKAGES:
        for path, digest in manifest(package):
            with open(path, "rb") as stream:
                data = stream.read()
            if hashlib.md5(data, usedforsecurity=False).hexdigest() != digest:
                sys.exit(f"{path} is not what {package} installed")
            crc = zlib.crc32(data, crc)
            files += 1
            size += len(data)
            if path.endswith(".py") and files % 40 == 0:
                tree = ast.parse(data)
                functions += sum(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))
    return {"files": files, "bytes": size, "functions": functions, "crc32": crc}


def keep(results):
    """The container's own files: a configuration, a log, a small result in a binary format."""
    os.makedirs(STATE, exist_ok=True)
    with open(f"{STATE}/results.json", "w", encoding="utf-8") as out:
        json.dump(results, out, indent=1, sort_keys=True)
        out.write("\n")
    np.save(f"{STATE}/table.npy", np.outer(np.arange(64), np.arange(64)))
    with open("/var/log/demo.log", "a", encoding="utf-8") as log:
        for key, value in sorted(results.items()):
            log.write(f"{key}: {value}\n")
        log.flush()
        os.fsync(log.fileno())


def main():
    say("ready")
    results = {"modules": len(sys.modules), **compute()}
    results.update(read_packages())
    keep(results)
    say(f"done {results['bytes']} {results['files']}")
    sys.stdin.read()


if __name__ == "__main__":
    main()
