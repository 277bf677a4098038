"""Text from outside made safe for a terminal, a log and a report."""

import unicodedata

# Characters that reorder their neighbours on a screen, or that nobody sees: marks, embeddings,
# overrides and isolates of bidirectional text, the separators of lines and paragraphs, and spaces
# without width. Joiners stay, since scripts and emoji need them.
_BIDIRECTIONAL = {
    *"\u061c\u200e\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}
_DECEPTIVE = {*_BIDIRECTIONAL, *"\u2028\u2029\u200b\u2060\ufeff"}


def printable(text: str, allowed: str = "") -> str:
    """Return the text with control characters, bidirectional marks and lone surrogates escaped.

    An escape is a text such as `\\x1b`. A control character could move the cursor, change colours
    or forge a line of output. allowed: control characters that stay as they are, such as a newline
    in a text of several lines that gantrain wrote itself."""
    if text.isascii() and text.isprintable():
        return text
    characters = []
    for character in text:
        is_shown = character in allowed or _is_safe(character)
        characters.append(character if is_shown else _escape(character))
    return "".join(characters)


def _is_safe(character: str) -> bool:
    return character not in _DECEPTIVE and unicodedata.category(character) not in ("Cc", "Cs")


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def has_controls(text: str) -> bool:
    """Return whether the text holds a control character."""
    return any(unicodedata.category(character) == "Cc" for character in text)
