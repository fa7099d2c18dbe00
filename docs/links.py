"""
Check the internal links of the built documentation: `python docs/links.py FOLDER`.

Each link must lead to a page or file of the folder, and each fragment to an element of that page.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit


class Page(HTMLParser):
    """The links of a page, and the ids that links may lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def dead_links(folder: Path) -> list[str]:
    """Return a line for each internal link that leads nowhere."""
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            address, fragment = urldefrag(link)
            if urlsplit(link).scheme or link.startswith("//"):
                continue  # another site
            target = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                found.append(f"{path.relative_to(folder.resolve())}: no such page: {link}")
            elif fragment and target in pages and unquote(fragment) not in pages[target].ids:
                found.append(f"{path.relative_to(folder.resolve())}: no such heading: {link}")
    return sorted(found)


if __name__ == "__main__":
    dead = dead_links(Path(sys.argv[1]))
    print("\n".join(dead) or "All internal links lead somewhere.")
    sys.exit(bool(dead))
