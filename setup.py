"""The one thing that setup.cfg cannot say: a compiled module, which is left out where there is no compiler."""

import os

from setuptools import Extension, setup

FRAMES = Extension(
    "audiohookd.server._frames",
    ["audiohookd/server/_frames.c"],
    extra_compile_args=["-O3"],
    py_limited_api=True,
    optional=True,
)

if os.environ.get("AUDIOHOOKD_PURE"):  # a wheel for any machine
    setup()
else:
    setup(ext_modules=[FRAMES], options={"bdist_wheel": {"py_limited_api": "cp311"}})
