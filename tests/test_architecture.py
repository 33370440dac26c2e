"""The invariants in ARCHITECTURE.rst that the source can be checked for."""

import ast
import configparser
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Modules that a pure module may import: none of them has a clock, file, socket, thread or random source.
PURE = {"base64", "binascii", "collections", "dataclasses", "enum", "functools", "hashlib", "hmac", "itertools"}
PURE |= {"json", "math", "re", "types", "typing", "http_sf", "msgspec"}
PURE_AUTH = [
    f"audiohookd.auth.{name}" for name in ("rejection", "request", "signature.fields", "signature.message_signature")
]
#: Modules of the daemon that plugins may import.
PUBLIC: tuple[str, ...] = (
    "audiohookd.interfaces",
    "audiohookd.observer",
    "audiohookd.protocol",
    "audiohookd.testing",
)
PUBLIC += ("audiohookd.escaping", "audiohookd.secret_file", "audiohookd.text_encoding", "audiohookd.units")
#: Calls that read the wall clock or sleep.
CLOCK = re.compile(
    r"(?:.+\.)?(?:time\.(?:time|monotonic|perf_counter)(?:_ns)?|time\.(?:sleep|gmtime|localtime)"
    r"|datetime\.(?:now|utcnow|today)|date\.today)"
)


#: Calls that make a mutable container, and methods that change one.
CONTAINERS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict"}
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTATORS = {"append", "appendleft", "add", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem"}
MUTATORS |= {"popleft", "remove", "reverse", "setdefault", "sort", "subtract", "update"}
#: Names of operands that hold a MAC.
MAC = re.compile(r"(?:\w+\.)*_?macs?|.*signature\.value|.*(?:\b_?mac|digest)\(.*")
#: The name of a constant, or of one of Python's own such as __all__.
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*|_[a-z0-9_]+|__[a-z]+__")

FUNCTION_LINES = 60
PACKAGE_MODULES = 15


class Module:
    """A source file, and the facts that the tests check."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        parts = path.relative_to(root).with_suffix("").parts
        self.name = ".".join(parts).removesuffix(".__init__")
        self.text = path.read_text()
        self.tree = ast.parse(self.text)

    def __repr__(self) -> str:
        return self.name

    def is_in(self, *packages: str) -> bool:
        return is_in(self.name, *packages)

    def imports(self) -> Iterator[str]:
        """The dotted names that the file imports. `from a import b` may import both `a` and `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self}: imports are absolute here"
                assert node.module is not None
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def calls(self) -> Iterator[tuple[int, str]]:
        """The line and dotted name of each call."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node.lineno, ast.unparse(node.func)

    def containers(self) -> Iterator[tuple[str, bool]]:
        """The mutable containers that are made at import, and whether each is annotated as Final."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and is_container(node.value):
                yield from ((ast.unparse(target), False) for target in node.targets)
            elif isinstance(node, ast.AnnAssign) and node.value is not None and is_container(node.value):
                yield ast.unparse(node.target), "Final" in ast.unparse(node.annotation)

    def changed(self) -> set[str]:
        """The names that functions and classes assign to or change. `a[1]["b"] = 2` changes `a`."""
        inner = [node for node in self.tree.body if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign))]
        return {name for top in inner for node in ast.walk(top) for name in changes(node)}

    def state(self) -> list[str]:
        """The containers of this module that are not constants."""
        changed = self.changed()
        return [
            name for name, final in self.containers() if name in changed or not (final or CONSTANT.fullmatch(name))
        ]

    def mac_comparisons(self) -> Iterator[int]:
        """The lines on which an operator compares MACs."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Compare):
                operands = [ast.unparse(operand) for operand in (node.left, *node.comparators)]
                if any(map(MAC.fullmatch, operands)):
                    yield node.lineno


def is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp):
        return is_container(value.left) or is_container(value.right)
    called = ast.unparse(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    return isinstance(value, DISPLAYS) or called in CONTAINERS


def changes(node: ast.AST) -> Iterator[str]:
    """The names of the objects that this node changes in place."""
    if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
        yield owner(node)
    elif isinstance(node, ast.AugAssign):
        yield owner(node.target)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        yield owner(node.func)


def owner(node: ast.expr) -> str:
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return ast.unparse(node)


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def modules(root: Path, package: str) -> list[Module]:
    return [Module(path, root) for path in sorted((root / package).rglob("*.py"))]


CORE = modules(ROOT, "audiohookd")
PLUGINS = modules(ROOT / "plugins", "audiohookd_plugins")
ALL = CORE + PLUGINS
PURE_MODULES = [module for module in CORE if module.is_in("audiohookd.protocol", *PURE_AUTH)]


def test_the_source_was_found() -> None:
    names = {module.name for module in ALL}
    assert {"audiohookd.tap", "audiohookd.protocol.session", "audiohookd", "audiohookd_plugins.recorder"} <= names
    assert len(PURE_MODULES) > len(PURE_AUTH) + 5
    assert {module.name for module in PURE_MODULES} >= {*PURE_AUTH, "audiohookd.protocol.session"}


@pytest.mark.parametrize("module", PURE_MODULES, ids=repr)
def test_the_protocol_does_no_io(module: Module) -> None:
    """This covers signatures too. The test lists allowed modules, because a list of all I/O cannot be complete."""
    own = ["audiohookd.protocol", "audiohookd.units"] if module.is_in("audiohookd.protocol") else PURE_AUTH
    assert [name for name in module.imports() if not is_in(name, *PURE, *own)] == []


def test_autobahn_is_imported_by_one_module() -> None:
    knowing = {module.name for module in ALL for name in module.imports() if is_in(name, "autobahn", "txaio")}
    assert knowing == {"audiohookd.websocket.protocol"}


def test_the_core_does_not_know_its_plugins() -> None:
    assert [module for module in CORE for name in module.imports() if is_in(name, "audiohookd_plugins")] == []


@pytest.mark.parametrize("module", PLUGINS, ids=repr)
def test_plugins_use_only_the_public_contract(module: Module) -> None:
    used = [name for name in module.imports() if is_in(name, "audiohookd")]
    assert [name for name in used if not is_in(name, *PUBLIC)] == []


def test_nothing_points_at_the_tap() -> None:
    assert [module for module in ALL for name in module.imports() if is_in(name, "audiohookd.tap")] == []


def test_tests_and_fakes_are_not_part_of_the_daemon() -> None:
    daemon = [module for module in CORE if not module.is_in("audiohookd.testing")]
    assert [module for module in daemon for name in module.imports() if is_in(name, "audiohookd.testing")] == []


def test_no_reactor_is_imported_but_by_mains() -> None:
    importing = {module.name for module in ALL for name in module.imports() if name == "twisted.internet.reactor"}
    assert {name for name in importing if not is_in(name, "audiohookd.cli")} == {"audiohookd.tap"}


def test_no_reactor_is_imported_before_it_is_needed() -> None:
    """At the top of a module, the import would install the reactor."""
    heads = [
        module
        for module in ALL
        for node in module.tree.body
        if isinstance(node, ast.ImportFrom) and "reactor" in [alias.name for alias in node.names]
    ]
    assert heads == []


def test_no_wall_clock_and_no_sleep_but_on_the_command_line() -> None:
    found = [
        f"{module}:{line}: {name}"
        for module in ALL
        if not module.is_in("audiohookd.cli")
        for line, name in module.calls()
        if CLOCK.fullmatch(name)
    ]
    assert found == []


def test_no_clock_is_imported_by_name() -> None:
    """The test above would not see `from time import monotonic`."""
    taken = {f"time.{name}" for name in ("time", "monotonic", "perf_counter", "sleep")}
    found = [module for module in ALL if not module.is_in("audiohookd.cli") and taken & set(module.imports())]
    assert found == []


def test_no_module_level_state() -> None:
    """A module may have constants, but no name that is assigned again, and no `global`."""
    assert [module for module in ALL for node in ast.walk(module.tree) if isinstance(node, ast.Global)] == []


@pytest.mark.parametrize("module", ALL, ids=repr)
def test_no_container_at_module_level_is_ever_changed(module: Module) -> None:
    """A table is allowed; a cache or a registry is not."""
    assert module.state() == []


def test_macs_are_compared_in_constant_time() -> None:
    """`==` stops at the first different byte, so its time reveals the position."""
    (signature,) = [module for module in CORE if module.name == "audiohookd.auth.signature.message_signature"]
    assert "hmac.compare_digest" in {name for _, name in signature.calls()}
    auth = [module for module in CORE if module.is_in("audiohookd.auth")]
    assert [f"{module}:{line}" for module in auth for line in module.mac_comparisons()] == []


def test_no_failure_is_swallowed() -> None:
    found = [
        f"{module}:{node.lineno}"
        for module in ALL
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and [type(statement) for statement in node.body] == [ast.Pass]
    ]
    assert found == []


def test_no_text_becomes_part_of_a_log_format() -> None:
    """In a log format, ``{}`` in a client's text looks up fields and calls them. A constant format is safe."""
    levels = "debug|info|warn|error|critical|failure"
    found = [
        f"{module}:{node.lineno}"
        for module in ALL
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and re.fullmatch(rf"(?:.*\.)?_?log\.(?:{levels})", ast.unparse(node.func))
        if not (node.args and isinstance(node.args[0], ast.Constant | ast.Name))
    ]
    assert found == []


def test_functions_have_at_most_60_lines() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    lengths = {
        f"{module}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module in ALL
        for node in ast.walk(module.tree)
        if isinstance(node, functions)
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


def test_packages_have_at_most_15_modules() -> None:
    """``__init__`` and subpackages are not counted."""
    files = [module for module in ALL if module.path.name != "__init__.py"]
    sizes = Counter(module.name.rpartition(".")[0] for module in files)
    assert {package: size for package, size in sizes.items() if size > PACKAGE_MODULES} == {}


def test_a_contract_forbids_import_cycles_in_all_packages() -> None:
    """`lint-imports` finds the cycles. This test checks that its contract has no exceptions."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    contract = config["importlinter:contract:no-cycles"]
    assert contract["type"] == "acyclic_siblings"
    assert contract["ancestors"].split() == config["importlinter"]["root_packages"].split()
    assert set(contract) == {"name", "type", "ancestors"}


class TestTheChecks:
    """These tests detect what they look for."""

    SOURCE = """
import os.path
from time import sleep
from audiohookd import tap

def late():
    from twisted.internet import reactor
    return datetime.datetime.now(), clock.seconds()
"""

    @pytest.fixture
    def module(self, tmp_path: Path) -> Module:
        (tmp_path / "guilty.py").write_text(self.SOURCE)
        return Module(tmp_path / "guilty.py", tmp_path)

    def test_imports_are_found(self, module: Module) -> None:
        found = set(module.imports())
        assert {"os.path", "time.sleep", "audiohookd.tap", "twisted.internet.reactor"} <= found

    def test_calls_are_found(self, module: Module) -> None:
        assert list(module.calls()) == [(8, "datetime.datetime.now"), (8, "clock.seconds")]
        assert [name for _, name in module.calls() if CLOCK.fullmatch(name)] == ["datetime.datetime.now"]

    def test_dotted_names_are_matched(self) -> None:
        assert is_in("audiohookd.tap", "audiohookd")
        assert is_in("audiohookd.tap", "audiohookd.tap")
        assert not is_in("audiohookd_plugins.recorder", "audiohookd")
        assert not is_in("audiohookd.tape", "audiohookd.tap")

    @pytest.mark.parametrize(
        ("source", "state"),
        [
            ("_seen = {}\ndef look(key):\n    _seen[key] = 1", ["_seen"]),
            ("_SEEN: Final = collections.deque()\ndef look(key):\n    _SEEN.append(key)", ["_SEEN"]),
            ("SEEN = [[] for _ in range(9)]\ndef look(key):\n    SEEN[3] += key", ["SEEN"]),
            ("SEEN = set() | {1}\nclass Cache:\n    def forget(self, key):\n        SEEN.discard(key)", ["SEEN"]),
            ("SEEN = {1: []}\ndef forget(key):\n    del SEEN[key][0]", ["SEEN"]),
            ("SEEN = {1: []}\ndef look(key):\n    SEEN[1].append(key)", ["SEEN"]),
            ("for key in 'ab':\n    _seen[key] = 1\n_seen = {}", ["_seen"]),
            ("seen = {}", ["seen"]),
            ("seen: Final = {}", []),
            ("NAMES = {'a': 1}\nNAMES |= {'b': 2}\n_by_name = dict(NAMES)\nnames = (1, 2)", []),
            ("def count(words):\n    seen = {}\n    seen[1] = 2\n    return seen", []),
        ],
    )
    def test_mutable_state_is_found(self, source: str, state: list[str], tmp_path: Path) -> None:
        (tmp_path / "sample.py").write_text(source)
        assert Module(tmp_path / "sample.py", tmp_path).state() == state

    @pytest.mark.parametrize(
        ("condition", "compares"),
        [
            ("mac == signature.value", True),
            ("signature.value in macs", True),
            ("_mac(secret, lines, text) != given", True),
            ("given == hmac.digest(secret, base, 'sha256')", True),
            ("hmac.compare_digest(mac, signature.value)", False),
            ("signature.alg == 'hmac-sha256'", False),
            ("name.value == other", False),
        ],
    )
    def test_comparisons_of_macs_are_found(self, condition: str, compares: bool, tmp_path: Path) -> None:
        (tmp_path / "sample.py").write_text(f"genuine = {condition}")
        assert list(Module(tmp_path / "sample.py", tmp_path).mac_comparisons()) == [1] * compares
