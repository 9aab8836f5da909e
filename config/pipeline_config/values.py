"""From a text to a value, and back: what `8`, `"8"`, `1s`, `on` or `010` mean for a setting."""

import re
from typing import Any

from pydantic import ValidationError

from pipeline_config.durations import NOT_A_DURATION, DurationError, format_duration, parse_duration
from pipeline_config.keys import Key, Kind, near_miss
from pipeline_config.models import Settings
from pipeline_config.problems import printable, quoted, shortened
from pipeline_config.yaml_text import Block, Node, Scalar

_NULL = re.compile(r"~|null|Null|NULL|")
_WHOLE = re.compile("[-+]?(0|[1-9][0-9]{0,17})")
# What some YAML reader or other takes for something else than text; the words are YAML 1.1.
_NOT_TEXT = re.compile(
    r"""(?ix) true|false | y|yes|n|no|on|off | [-+]?\.(inf|nan) | <<|=
    | [-+]? (0x[0-9a-f_]+ | 0o[0-7_]+ | 0b[01_]+ | ([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?)
    | [-+]? [0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?
    | [0-9]{4}-[0-9][0-9]?-[0-9][0-9]?([t\ ].*)?"""
)
_HARMLESS = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_./~+-]*")


class BadValueError(Exception):
    """A value that its key does not take.

    *rule* has the key as its subject ("must be a whole number"). *verdict*, where there is one, has the value
    ("is not a duration"), and reads better beside it.
    """

    def __init__(self, rule: str, hint: str | None = None, verdict: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.hint = hint
        self.verdict = verdict


def is_text(text: str) -> bool:
    """Whether every YAML reader takes *text*, written without quotes, for a text."""
    return not (_NULL.fullmatch(text) or _NOT_TEXT.fullmatch(text))


def is_null(node: Node) -> bool:
    """Whether *node* stands for nothing: left empty, `null` or `~`."""
    return isinstance(node, Scalar) and node.is_plain and bool(_NULL.fullmatch(node.text))


def read_value(key: Key, node: Node) -> Any:
    """What *node* sets *key* to. Raises BadValueError."""
    value = _typed(key, node)
    model: Any = Settings.model_fields[key.section].annotation
    try:
        model.model_validate({key.name: value})
    except ValidationError as error:
        # The other fields are missing, which is no concern of this one.
        for detail in error.errors(include_url=False):
            if detail["loc"][0] == key.name:
                raise _out_of_range(detail, value) from None
    return value


def got(node: Node) -> str:
    """How a message shows the value of *node*."""
    match node:
        case Scalar(text=""):
            return '""' if not node.is_plain else "nothing"
        case Scalar(text=text):
            short = shortened(text)
            return printable(short) if node.is_plain and not is_text(text) else quoted(short)
        case Block():
            return "a mapping"
        case _:
            return "a list"


def spell(value: object) -> str:
    """*value* as config.yml would have it: durations in Go's notation, text in quotes where it needs them."""
    match value:
        case None:
            return "null"
        case float():
            return format_duration(value)
        case str() if not (_HARMLESS.fullmatch(value) and is_text(value)):
            return quoted(value)
    return str(value)


def _typed(key: Key, node: Node) -> Any:
    if key.kind is Kind.CHOICE:
        return node.text if isinstance(node, Scalar) else node
    if not isinstance(node, Scalar):
        raise BadValueError(_RULES[key.kind])
    if key.is_optional and is_null(node):
        return None
    return {Kind.WHOLE: _whole, Kind.DURATION: _duration, Kind.TEXT: _text}[key.kind](node)


_RULES = {
    Kind.WHOLE: "must be a whole number",
    Kind.DURATION: "must be a duration",
    Kind.TEXT: "must be text",
}


def _whole(scalar: Scalar) -> int:
    if scalar.is_plain and _WHOLE.fullmatch(scalar.text):
        return int(scalar.text)
    raise BadValueError(_RULES[Kind.WHOLE], _plain_form(scalar.text))


def _plain_form(text: str) -> str | None:
    if _WHOLE.fullmatch(text):
        return f"write {text} without quotes"
    if re.fullmatch("[1-9][0-9]*", text):
        return "it has too many digits"
    decimal = re.fullmatch("0*([0-9][0-9_]*)", text)
    digits = decimal[1].replace("_", "") if decimal else ""
    return f"write {digits}: YAML readers do not agree on {text}" if _WHOLE.fullmatch(digits) else None


def _duration(scalar: Scalar) -> float:
    try:
        return parse_duration(scalar.text)
    except DurationError as error:
        rule = _RULES[Kind.DURATION] if error.verdict == NOT_A_DURATION else error.verdict
        raise BadValueError(rule, error.hint, error.verdict) from None


def _text(scalar: Scalar) -> str:
    if scalar.is_plain and not is_text(scalar.text):
        raise BadValueError("must be text", f"quote it: {quoted(shortened(scalar.text))}")
    return scalar.text


def _out_of_range(detail: Any, value: object) -> BadValueError:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than_equal" | "less_than_equal":
            bound = f"least {context['ge']}" if "ge" in context else f"most {context['le']}"
            return BadValueError(f"must be at {bound}")
        case "greater_than":
            return BadValueError(f"must be more than {spell(context['gt'])}")
        case "literal_error":
            choices = context["expected"].replace("'", "")
            close = near_miss(str(value), re.findall(r"\w+", choices.replace(" or ", " ")))
            return BadValueError(f"must be {choices}", f"did you mean {close}?" if close else None)
        case "string_pattern_mismatch":
            return BadValueError("must be a path, neither empty nor with a NUL")
        case "string_unicode":
            return BadValueError("must be valid UTF-8")
        case _:
            return BadValueError(f"is not valid: {detail['msg']}")
