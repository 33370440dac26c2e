"""Makes links between the documents of the repository work in HTML.

In the repository the documents link to files, and to GitHub's anchors of titles: ``spool.rst#a-full-disk``. In HTML
such a link becomes one to the page, and to Sphinx's anchor of the title. A literal that is the path of a document,
such as ``docs/spool.rst`` in double backquotes, becomes a link as well. A link without a target is a warning.
"""

import posixpath
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

log = logging.getLogger(__name__)

_DOCUMENT = re.compile(r"(?!\w+:)([\w./-]*)\.rst(?:#(.*))?")
_LITERAL = re.compile(r"(?:docs/)?[\w-]+\.rst")


def anchor_of(title: str) -> str:
    """The anchor that GitHub gives to a title."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _anchors(document: nodes.document) -> dict[str, str]:
    """Sphinx's anchors, by GitHub's."""
    sections = document.findall(nodes.section)
    return {anchor_of(section.next_node(nodes.title).astext()): section["ids"][0] for section in sections}


class Resolver:
    """Resolves the links of one page."""

    def __init__(self, app: Sphinx, page: str) -> None:
        self._app = app
        self._page = page

    def uri(self, path: str, anchor: str | None, node: nodes.Node) -> str | None:
        """The relative URI of ``path``, which is without its suffix and relative to the page; None if there is none.

        An empty path is the page itself.
        """
        env = self._app.env
        target = posixpath.normpath(posixpath.join(posixpath.dirname(self._page), path)) if path else self._page
        if target not in env.found_docs:
            log.warning("no document %s.rst", target, location=node)
            return None
        page = self._app.builder.get_relative_uri(self._page, target) if path else ""
        if not anchor:
            return page
        found = _anchors(env.get_doctree(target)).get(anchor)
        if found is None:
            log.warning("no title with the anchor #%s in %s.rst", anchor, target, location=node)
            return None
        return f"{page}#{found}"


def _resolve(app: Sphinx, document: nodes.document, page: str) -> None:
    resolver = Resolver(app, page)
    for link in document.findall(nodes.reference):
        target = link.get("refuri", "")
        match = _DOCUMENT.fullmatch(target)
        if match:
            link["refuri"] = resolver.uri(match[1], match[2], link) or target
        elif target.startswith("#"):
            link["refuri"] = resolver.uri("", target[1:], link) or target
    for literal in list(document.findall(nodes.literal)):
        if _LITERAL.fullmatch(literal.astext()) and not isinstance(literal.parent, nodes.reference):
            # Paths in literals are relative to the root of the repository.
            path = posixpath.relpath(literal.astext().removesuffix(".rst"), posixpath.dirname(page) or ".")
            uri = resolver.uri(path, None, literal)
            if uri is not None:
                literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=uri, internal=True))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("doctree-resolved", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
