"""setup.cfg lists every package: an installation has no other."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_setup_cfg_lists_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split()) - {"twisted.plugins"}
    files = [*ROOT.glob("audiohookd/**/__init__.py"), *ROOT.glob("plugins/audiohookd_plugins/**/__init__.py")]
    packages = {".".join(file.parent.relative_to(ROOT).parts).removeprefix("plugins.") for file in files}
    assert listed == packages
