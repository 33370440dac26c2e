"""Documents zope interfaces, which autodoc takes for data.

``.. zope-interfaces:: MODULE`` shows all interfaces that a module defines, in their order: attributes with their
texts, methods with their annotated signatures and docstrings.
"""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from zope.interface.interface import InterfaceClass

INDENT = "   "


def _indented(text: str | None, depth: int) -> Iterator[str]:
    for line in inspect.cleandoc(text or "").splitlines():
        yield INDENT * depth + line if line else ""
    yield ""


def _interface(definition: ast.ClassDef, interface: InterfaceClass) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in interface.__bases__ if base.__name__ != "Interface")
    yield from (f".. py:class:: {definition.name}{f'({bases})' if bases else ''}", "")
    yield from _indented(ast.get_docstring(definition), 1)
    for member in definition.body:
        match member:
            case ast.FunctionDef():
                result = f" -> {ast.unparse(member.returns)}" if member.returns else ""
                yield from (f"{INDENT}.. py:method:: {member.name}({ast.unparse(member.args)}){result}", "")
                yield from _indented(ast.get_docstring(member), 2)
            case ast.Assign(targets=[ast.Name(name)], value=ast.Call(args=[text])):
                yield from (f"{INDENT}.. py:attribute:: {name}", "")
                yield from _indented(ast.literal_eval(text), 2)


class ZopeInterfaces(SphinxDirective):
    """The directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parses the text that describes the interfaces."""
        module = import_module(self.arguments[0])
        source = inspect.getsourcefile(module) or ""
        self.env.note_dependency(source)
        lines = [f".. py:currentmodule:: {module.__name__}", ""]
        for definition in ast.parse(inspect.getsource(module)).body:
            if isinstance(definition, ast.ClassDef):
                interface = getattr(module, definition.name)
                if isinstance(interface, InterfaceClass):
                    lines += _interface(definition, interface)
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=source), self.content_offset, parent)
        return parent.children


def _skip(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    return True if isinstance(member, InterfaceClass) else None


def _by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """Docstrings name ``ISession`` as the module of the docstring imports it, from anywhere."""
    domain = env.domains.python_domain
    name = node.get("reftarget", "").rpartition(".")[2]
    found = [full for full in domain.objects if full.rpartition(".")[2] == name]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("zope-interfaces", ZopeInterfaces)
    app.connect("autodoc-skip-member", _skip)
    app.connect("missing-reference", _by_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
