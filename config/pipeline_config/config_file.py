"""What a configuration file gives: two levels of mappings, sections and their keys."""

from collections.abc import Iterator
from pathlib import Path

from pipeline_config.keys import KEYS, SECTIONS, near_miss
from pipeline_config.layers import Given
from pipeline_config.problems import Layer, Place, Problem, printable, quoted, shortened
from pipeline_config.values import got, is_null, is_text
from pipeline_config.yaml_text import Block, Node, Refused, Scalar, read_yaml

_LARGEST = 1 << 20


def from_file(path: str) -> list[Given | Problem]:
    """What the file at *path* gives. A file that cannot be read is one problem."""
    try:
        text = _read(path)
    except (OSError, ValueError) as error:
        return [Problem(Layer.FILE, _reason(error), None, path)]
    return from_text(text, path, Layer.FILE)


def from_text(text: str, file: str, layer: Layer) -> list[Given | Problem]:
    """What the YAML in *text* gives; *file* is its name in messages."""
    root, problems = read_yaml(text, file, layer)
    walk = _Walk(file, layer)
    if root is not None:
        walk.through(root)
    return [*problems, *walk.found]


def _read(path: str) -> str:
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("is larger than 1 MiB, and so no configuration")
    return content.decode("utf-8-sig")


def _reason(error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case IsADirectoryError():
            return "is a directory, not a file"
        case UnicodeDecodeError():
            line = error.object.count(b"\n", 0, error.start) + 1
            return f"is not UTF-8: byte 0x{error.object[error.start]:02x} in line {line}"
        case OSError():
            return f"cannot be read: {error.strerror or error}"
    return str(error)


class _Walk:
    """One pass over a document; *found* grows in the order of the file."""

    found: list[Given | Problem]

    def __init__(self, file: str, layer: Layer) -> None:
        self.found = []
        self._file = file
        self._layer = layer

    def through(self, root: Node) -> None:
        for section, place, block in self._items(root, ""):
            if section not in SECTIONS:
                self._unknown("section", section, place, [*SECTIONS, *KEYS])
                continue
            names = [key.name for key in KEYS.values() if key.section == section]
            for name, name_place, node in self._items(block, f"{section}."):
                if name not in names:
                    self._unknown("key", name, name_place, [*names, *KEYS], f"{section}.")
                elif not isinstance(node, Refused):
                    self.found.append(Given(KEYS[f"{section}.{name}"], node, self._layer, self._file))

    def _items(self, node: Node, path: str) -> Iterator[tuple[str, Place, Node]]:
        """The items of a mapping whose keys are in order; nothing at all is an empty mapping."""
        if isinstance(node, Refused) or is_null(node):
            return
        if not isinstance(node, Block):
            what = f"section {path.rstrip('.')}" if path else "a configuration"
            self._problem(
                f"{what} must be a mapping, got {got(node)}", node.place, "write key: value, a line each"
            )
            return
        lines: dict[str, int] = {}
        for key, value in node.items:
            if not isinstance(key, Scalar) or key.place is None:
                if not isinstance(key, Refused):
                    self._problem(f"a key must be text, got {got(key)}", key.place)
            elif key.text == "<<" and key.is_plain:
                self._problem("merge keys are not supported", key.place, "write the settings again")
            elif key.is_plain and not is_text(key.text):
                hint = f"quote it if it is meant as text: {quoted(shortened(key.text))}"
                self._problem(f"a key must be text, got {got(key)}", key.place, hint)
            else:
                if key.text in lines:
                    hint = f"line {lines[key.text]} has it too"
                    self._problem(f"duplicate key {path}{_shown(key.text)}", key.place, hint)
                lines.setdefault(key.text, key.place.line)
                yield key.text, key.place, value

    def _unknown(self, what: str, name: str, place: Place, known: list[str], path: str = "") -> None:
        # A key that stands in the wrong section is named in full.
        elsewhere = [key.dotted for key in KEYS.values() if key.name == name]
        close = elsewhere[0] if elsewhere else near_miss(name, known)
        hint = f"did you mean {close}?" if close else None
        self._problem(f"unknown {what} {path}{_shown(name)}", place, hint)

    def _problem(self, text: str, place: Place | None, hint: str | None = None) -> None:
        self.found.append(Problem(self._layer, text, hint, self._file, place))


def _shown(name: str) -> str:
    return printable(shortened(name))
