"""What setup.cfg cannot say: a compiled module that is left out where it cannot be compiled."""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FRAMES = Extension(
    "audiohookd.websocket.fastpath._frames",
    ["audiohookd/websocket/fastpath/_frames.c"],
    extra_compile_args=["-O3"],
    py_limited_api=True,
    optional=True,
)


class BuildOptional(build_ext):
    """Forgets the extensions that could not be compiled.

    A strict editable install links each file that this command says it has built, and fails where one is missing: so
    it did on machines without a compiler.
    """

    def run(self) -> None:
        """Compiles what can be compiled."""
        super().run()
        self.extensions = [each for each in self.extensions if Path(self.get_ext_fullpath(each.name)).exists()]


if os.environ.get("AUDIOHOOKD_PURE"):  # a wheel for any machine
    setup()
else:
    setup(
        ext_modules=[FRAMES],
        cmdclass={"build_ext": BuildOptional},
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
