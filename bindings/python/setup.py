"""Builds the wheel: the library by cargo, the cffi declarations and the error classes from its header.

`include/fanfare.h` is the only place where a constant, a structure, a function or an error is written down: what Python needs of it is
made here. The wheel fits every Python 3 of a platform, because cffi loads the library at run time (`py3-none-PLATFORM`).

FANFARE_LIBRARY names a libfanfare that is built already; otherwise cargo builds it, with the features in FANFARE_FEATURES (`wasm-jit` for event
handlers).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.dist import Distribution

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
HEADER = PROJECT / "include" / "fanfare.h"
# Codes that begin with one of these words share a base class of that name.
FAMILIES = ("invalid", "forbidden", "handler", "limit")


def build_library() -> Path:
    given = os.environ.get("FANFARE_LIBRARY")
    if given:
        return Path(given)
    if not (PROJECT / "ffi" / "Cargo.toml").is_file():
        raise SystemExit(f"fanfare is built from a checkout of the project: there is no {PROJECT / 'ffi'}")
    cargo = ["cargo", "build", "--release", "--locked", "-p", "fanfare-ffi", "--message-format=json-render-diagnostics"]
    features = os.environ.get("FANFARE_FEATURES")
    if features:
        cargo += ["--features", features]
    try:
        done = subprocess.run(cargo, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    except FileNotFoundError:
        raise SystemExit("fanfare needs Rust to be built: https://rustup.rs") from None
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "fanfare":
            for name in message["filenames"]:
                if name.endswith((".so", ".dylib", ".dll")):
                    return Path(name)
    raise SystemExit("cargo built no shared library named fanfare")


def read_header() -> tuple[str, dict[str, int], list[tuple[str, int, str]]]:
    """Declarations for cffi, constants, and errors as (name, number, text)."""
    text = HEADER.read_text(encoding="utf-8")
    found = re.findall(r"/\* ([^\n]*) \*/\n#define FANFARE_ERR_(\w+) \((-\d+)\)", text)
    errors = [(name.lower(), int(number), doc) for doc, name, number in found]
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    # What is made for people who write C by hand: initialisers and a function with a body.
    text = re.sub(r"static inline.*?\n}\n", "", text, flags=re.S)
    lines, constants = [], {}
    for line in text.splitlines():
        line = line.split("//")[0].rstrip()
        number = re.fullmatch(r"#define (FANFARE_\w+) \(?(-?\d+|UINT64_MAX)\)?", line)
        if number:
            value = number[2]
            constants[number[1]] = 2**64 - 1 if value == "UINT64_MAX" else int(value)
        elif line and not line.startswith("#") and "extern" not in line and line.strip() != "}":
            lines.append(line)
    declarations = "\n".join(lines)
    for name, value in constants.items():
        declarations = re.sub(rf"\b{name}\b", str(value), declarations)
    if not errors or "fanfare_publish(" not in declarations:
        raise SystemExit(f"{HEADER} does not look as expected")
    return declarations, constants, errors


def error_classes(errors: list[tuple[str, int, str]]) -> str:
    camel = lambda name: "".join(word.capitalize() for word in name.split("_")) + "Error"  # noqa: E731
    out = ['"""Every error of libfanfare as a class. Made from include/fanfare.h: do not edit."""', ""]
    out += ["from __future__ import annotations", "", "from fanfare._error import FanfareError", ""]
    names = ["FanfareError"]
    for family in FAMILIES:
        base = "FanfareError, ValueError" if family == "invalid" else "FanfareError"
        out += ["", f"class {camel(family)}({base}):", f'    """Base of the errors whose code begins with `{family}_`."""', ""]
        names.append(camel(family))
    for name, number, doc in errors:
        family = name.split("_")[0]
        base = camel(family) if family in FAMILIES else "FanfareError"
        out += ["", f"class {camel(name)}({base}):", f'    """{doc}"""', ""]
        out += [f'    code = "{name}"', f"    status = {number}", ""]
        names.append(camel(name))
    if len(set(names)) != len(names):
        raise SystemExit("two errors of the header give one class name")
    by_status = ", ".join(f"{number}: {camel(name)}" for name, number, _ in errors)
    out += ["", f"BY_STATUS: dict[int, type[FanfareError]] = {{{by_status}}}", "", f"__all__ = {names!r}", ""]
    return "\n".join(out)


def constants_module(constants: dict[str, int]) -> str:
    out = ['"""Constants of libfanfare. Made from include/fanfare.h: do not edit."""', "", "from typing import Final", ""]
    for name, value in constants.items():
        if not name.startswith("FANFARE_ERR_"):
            out.append(f"{name.removeprefix('FANFARE_')}: Final = {value}")
    return "\n".join([*out, ""])


class BuildPy(build_py):
    """Adds what is made: the library, `_native.py`, `errors.py`, `_constants.py`."""

    def run(self) -> None:
        super().run()
        package = (HERE / "src" if self.editable_mode else Path(self.build_lib)) / "fanfare"
        package.mkdir(parents=True, exist_ok=True)
        declarations, constants, errors = read_header()
        (package / "errors.py").write_text(error_classes(errors), encoding="utf-8")
        (package / "_constants.py").write_text(constants_module(constants), encoding="utf-8")

        from cffi import FFI

        ffi = FFI()
        ffi.cdef(declarations)
        ffi.set_source("fanfare._native", None)
        ffi.emit_python_code(str(package / "_native.py"))

        library = build_library()
        copy = package / ("libfanfare" + library.suffix)
        copy.unlink(missing_ok=True)
        shutil.copyfile(library, copy)
        strip = shutil.which("strip")
        if strip and copy.suffix == ".so":
            subprocess.run([strip, "--strip-debug", str(copy)], check=True)


class Wheel(bdist_wheel):
    """One wheel for every Python 3 of this platform."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


class NoSdist(sdist):
    def run(self) -> None:
        raise SystemExit("there is no source package of its own: install from a checkout of the project")


class Native(Distribution):
    def has_ext_modules(self) -> bool:
        return True


def version() -> str:
    manifest = tomllib.loads((PROJECT / "Cargo.toml").read_text(encoding="utf-8"))
    return str(manifest["workspace"]["package"]["version"])


def scratch() -> str:
    """Where build files go: not beside the sources."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")) / "python-build"
    target.mkdir(parents=True, exist_ok=True)
    return str(target)


setup(
    version=version(),
    distclass=Native,
    cmdclass={"build_py": BuildPy, "bdist_wheel": Wheel, "sdist": NoSdist},
    options={"build": {"build_base": scratch()}, "egg_info": {"egg_base": scratch()}},
)
