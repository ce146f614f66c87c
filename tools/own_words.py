"""The user's own words in a message. What they quote, paste or act out is said by somebody else: data, no opinion."""

from __future__ import annotations

import re

from ..catalog.items import Catalogue
from ..catalog.text import fold
from . import wording
from .titles import said, titles_of

#: A quotation of more words than this is no name ("slow burn", "Dr. Strangelove").
LONGEST_NAME = 3

_QUOTED = re.compile(
    r'"([^"]*)"|“([^”"]*)[”"]|„([^“”"]*)[“”"]|«([^»]*)»|»([^«]*)«|`+([^`]*)`+'
    r"|(?<!\w)['‘](\S(?:[^'’\n]|(?<=\w)['’](?=\w))*)['’](?!\w)"
)
#: Lines of a quoted mail, turns of a written-out conversation, tokens of chat templates, and calls as they are coded.
_PASTED = re.compile(
    r"^[ \t]*>[^\n]*"
    r"|(?:^|(?<=[.!?>\])]))[ \t]*(?:system|assistant|user|human|tool(?: result)?|observation|last try failed)"
    r"[ \t]*:[^\n]*"
    r"|(?:<\|[^\n|>]{1,40}\|>|</?s>|\[/?INST\]).*\Z"
    r"|\b[a-z]+_[a-z_]+[ \t]*(?:\{[^}]*\}?|\([^)]*\)?)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_QUESTION = re.compile(r"[^,.;:!?\n]*\?")
#: How a sentence begins, and no name that a catalogue lacks.
_SENTENCE = re.compile(
    r"(?:i|we|you|please|like|dislike|love|hate|rate|record|note|remember|delete|forget|remove|add|show)\b"
)


def own_words(catalogue: Catalogue, message: str) -> str:
    """The message without what others say in it; the very message where nobody else does.

    A quotation stays if it is a title of the catalogue, or so short and plain that it can be a name.
    """

    def kept(quotation: re.Match[str]) -> str:
        inner = next(filter(None, quotation.groups()), "")
        return quotation.group() if _is_name(inner) or titles_of(catalogue).of(said(inner).tight) else " "

    return _PASTED.sub(" ", _QUOTED.sub(kept, message))


def _is_name(text: str) -> bool:
    folded = fold(text)
    sentence = _SENTENCE.match(folded) or wording.opinion_said(text) is not None
    return len(folded.split()) <= LONGEST_NAME and not sentence


def is_own_opinion(catalogue: Catalogue, message: str, *, verdict: str, subject: str | None) -> bool:
    """Whether feedback can rest on what the user says themselves; always, where nobody else speaks in the message.

    Else their own words, questions apart, must hold an opinion or a grade, none that is the verdict's opposite, and a
    word of the subject where the message names it.

    Args:
        verdict: of the feedback.
        subject: a title or a taste; None where the feedback is on a place of the list.
    """
    own = own_words(catalogue, message)
    if own == message:
        return True
    told = _QUESTION.sub(" ", own)
    words = set(fold(subject or "").split()) & set(fold(message).split())
    if words and words.isdisjoint(fold(own).split()):
        return False
    opinion = wording.opinion_said(told)
    if {opinion, verdict} == {"like", "dislike"}:
        return False
    return opinion is not None or wording.grade_said(told) is not None
