"""XML as a stream of elements: no tree is built, and a document type, where XML bombs live, is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.parsers import expat

from gezhi.data.errors import DataError, fault
from gezhi.data.formats.files import check_file

MAX_DEPTH = 1000  # of elements inside elements; real files stay below 20


class Elements:
    """Calls `open_<tag>(attributes)` and `close_<tag>(text)` of a subclass, namespaces left out.

    The text of an element is that of itself alone, without what stands inside its children. `path` holds the tags
    that are open, the root first; `seen` all there have been.
    """

    FORM, ROOT = "", ""

    def __init__(self, path: Path) -> None:
        self.file = path
        self.path: list[str] = []
        self.texts: list[list[str]] = []
        self.seen: set[str] = set()
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.StartElementHandler = self.start
        self.parser.CharacterDataHandler = self.text
        self.parser.EndElementHandler = self.end

    def parse(self) -> None:
        """Read the file from its first element to its last.

        Errors: DataError with the line for broken XML, an unknown encoding, a document type, another root element.
        """
        check_file(self.file)
        try:
            with self.file.open("rb") as file:
                self.parser.ParseFile(file)
        except expat.ExpatError as error:
            at = f"line {error.lineno}, column {error.offset + 1}"
            found = expat.ErrorString(error.code)
            raise fault(self.file, found, self.FORM, "Export it again.", at=at) from None
        except (LookupError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise self.fault(f"an encoding that cannot be read ({error})", "UTF-8", "Convert it.") from None
        if "graph" not in self.seen:
            raise fault(self.file, "no graph", f"{self.FORM} with a <graph> element", "Export it again.")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if not self.path and tag != self.ROOT:
            raise self.fault(f"<{tag}>", f"<{self.ROOT}>", "Give the file the ending of its form.")
        self.path.append(tag)
        self.seen.add(tag)
        self.texts.append([])
        if len(self.path) > MAX_DEPTH:
            raise self.fault(f"elements {MAX_DEPTH} deep", "fewer", "Export it again.")
        opened = getattr(self, f"open_{tag}", None)
        if opened:
            opened(attributes)

    def text(self, text: str) -> None:
        self.texts[-1].append(text)

    def end(self, _: str) -> None:
        closed = getattr(self, f"close_{self.path[-1]}", None)
        if closed:
            closed("".join(self.texts[-1]).strip())
        self.path.pop()
        self.texts.pop()

    def doctype(self, *_: Any) -> None:
        raise self.fault("a document type (<!DOCTYPE>)", "none", "Delete it; it may hide entities.")

    def required(self, attributes: dict[str, str], name: str) -> str:
        """An attribute that must be there and not empty."""
        if not attributes.get(name):
            raise self.fault(f"no {name!r}", f"an element with {name!r}", "Export it again.")
        return attributes[name]

    def chosen(self, attributes: dict[str, str], name: str, options: dict[str, Any], default: Any) -> Any:
        """What an attribute stands for; absent: the default, unknown: refused."""
        value = attributes.get(name)
        if value is not None and value not in options:
            raise self.fault(f"{name}={value!r}", " or ".join(map(repr, options)), "Export it again.")
        return default if value is None else options[value]

    @property
    def at(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def fault(self, found: str, expected: str, fix: str) -> DataError:
        return fault(self.file, found, expected, fix, at=self.at)
