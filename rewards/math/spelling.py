r"""One spelling for what LaTeX, Unicode and plain text spell in many ways. Standard library only.

:func:`normalise` changes how an answer is written and never what it means: ``\dfrac12``, ``½`` and
``\frac{1}{2}`` become the same text. Letter case stays, since R and r are two variables.
"""

from __future__ import annotations

import re
import unicodedata

CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–‐‑‒﹣", "-"),
        **dict.fromkeys("⋅·∙•", r"\cdot "),
        **dict.fromkeys("∗＊", "*"),
        **dict.fromkeys("°º˚", r"^\circ "),
        **dict.fromkeys("\u2009\u202f\u2006\u2005\u2008\u200a", r"\,"),
        **dict.fromkeys("、，", ","),
        **dict.fromkeys("’′ʹ", "'"),
        **dict.fromkeys("∣❘｜", "|"),
        **dict.fromkeys("“”\"", ""),
        **{letter: rf"\mathbb{{{name}}}" for letter, name in zip("ℝℤℕℚℂ", "RZNQC", strict=True)},
        "×": r"\times ", "÷": "/", "∕": "/", "⁄": "/", "∞": r"\infty ", "√": r"\sqrt ", "∛": r"\sqrt[3] ",
        "∜": r"\sqrt[4] ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\neq ",
        "∅": r"\emptyset ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∖": r"\setminus ", "±": r"\pm ",
        "∓": r"\mp ", "≡": r"\equiv ", "∶": ":", "…": r"\dots ", "⋯": r"\dots ", "⌊": r"\lfloor ",
        "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": "(", "⟩": ")", "〈": "(", "〉": ")", "∠": r"\angle ", "△": r"\triangle ", "∂": r"\partial ",
        "ℏ": r"\hbar ", "ℓ": r"\ell ", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ", "ϕ": r"\phi ",
        "⇒": r"\Rightarrow ", "″": "''", "\u2062": "", "\u00a0": " ", "\n": " ", "\t": " ",
    }
)  # fmt: skip
LATIN_CAPITALS = dict(
    zip(
        (
            "ALPHA",
            "BETA",
            "EPSILON",
            "ZETA",
            "ETA",
            "IOTA",
            "KAPPA",
            "MU",
            "NU",
            "OMICRON",
            "RHO",
            "TAU",
            "CHI",
        ),
        "ABEZHIKMNOPTX",
        strict=True,
    )
)
"""Greek capitals that LaTeX writes as Latin letters."""
SCRIPTS = {"<super>": "^", "<sub>": "_"}
PLAIN = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
ROW = "\ue000"
"""Stands for the row break of a matrix while single backslashes are looked at."""
MONEY = "\ue002"
"""Stands for the dollar sign of an amount while those of mathematics are dropped."""
BOX = re.compile(r"\\f?boxed\s*\{([^{}]*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}[^{}]*)*)\}|\\boxed(?![A-Za-z])")
MARKDOWN = re.compile(r"(\*\*|__|\*|`)\s*(.+?)\s*\1\.?")
SENTENCE = re.compile(
    r"[A-Z].*\b(?:is|are|equals|if and only if|iff)\s+(?:\\\(|\$)((?:(?!\\[()]|\$).)+)(?:\\\)|\$)\s*\.?",
    re.DOTALL,
)
"""A sentence that ends in its answer."""
SPACING = re.compile(r"\\[,!;:>]|\\ |~|\\q?quad\b|\\(?:left|right|middle|[bB]igg?[lr]?)(?![A-Za-z])\.?")
FUNCTIONS = [
    "arcsinh", "arccosh", "arctanh", "arsinh", "arcosh", "artanh", "arcsin", "arccos", "arctan",
    "arccot", "arcsec", "arccsc", "asin", "acos", "atan", "sinh", "cosh", "tanh", "coth", "sech",
    "csch", "sin", "cos", "tan", "cot", "sec", "csc", "sqrt", "log", "ln", "lg", "exp", "gcd", "lcm",
    "max", "min", "det", "deg", "sgn", "arg", "floor", "ceil", "abs", "binom"
]  # fmt: skip
"""Names that also mean a function where no backslash stands before them."""
UNIT_LIKE = frozenset(("min", "sec", "max", "deg"))
"""Functions whose names also are units or words: they are functions before a parenthesis only."""
UPRIGHT = r"\\(?:mathrm|textrm|textnormal|text|operatorname\*?|mathop|mathbf|textbf|mathsf)\s*"
SPELLINGS = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:displaystyle|textstyle|limits|nolimits|strut|phantom\{[^{}]*\})(?![A-Za-z])"), ""),
    (re.compile(rf"{UPRIGHT}\{{\s*({'|'.join(set(FUNCTIONS) - UNIT_LIKE)})\s*\}}"), r"\\\1 "),
    (re.compile(rf"{UPRIGHT}\{{\s*({'|'.join(UNIT_LIKE)})\s*\}}(?=\s*\()"), r"\\\1 "),
    (re.compile(r"\\(?:text|mathrm|mathbf)\s*\{\s*(\\[A-Za-z]+)\s*\}"), r"\1 "),
    (re.compile(r"\\up(?=(?:pi|mu|alpha|beta|gamma|delta|theta|lambda|omega|phi)(?![A-Za-z]))"), r"\\"),
    (
        re.compile(
            r"\\(?:underline|boldsymbol|bm|pmb|math(?:rm|bf|it|sf)|text(?:bf|it|sf|rm)?|emph)\s*\{\s*([^{}A-Za-z\\]*[0-9][^{}A-Za-z\\]*)\}"
        ),
        r"\1",
    ),
    (re.compile(r"^\s*<\s*([^<>]+,[^<>]+)>\s*$"), r"(\1)"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(rf"{UPRIGHT}\{{\s*([ei])\s*\}}(?!\.)"), r" \1 "),
    (
        re.compile(
            r"\\(?:mathbf|boldsymbol|bm|pmb|vec|mathit|mathcal|mathscr|mathfrak)\s*(?:\{\s*([A-Za-z])\s*\}|([A-Za-z])(?![A-Za-z]))"
        ),
        r" \1\2 ",
    ),
    (re.compile(r"\\hat\s*\{?\s*\\?([ijk])(?:math)?\s*\}?(?![A-Za-z])"), r" \1 "),
    (re.compile(r"\\mathbb\s*\{?\s*([A-Z])(?![A-Za-z])\s*\}?"), r"\\mathbb{\1}"),
    (
        re.compile(
            r"\\(?:mathrm|textbf|textit|textsf|mathbf|mathit|mathsf|mbox|textrm|textnormal|text|operatorname\*?)\s*\{"
        ),
        r"\\text{",
    ),
    (re.compile(r"\\(?:bf|rm|it|mathrm|mathbf)(?![A-Za-z])\s*"), ""),
    (re.compile(r"\\var(epsilon|phi|theta|rho|sigma|kappa|pi)(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"\\leq?(?:slant|q)?(?![A-Za-z])|=<|<="), r"\\le "),
    (re.compile(r"\\geq?(?:slant|q)?(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:ne|not\s*=)(?![A-Za-z])|!="), r"\\neq "),
    (re.compile(r"\\lbrace(?![A-Za-z])|\\{\s*"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])|\s*\\}"), r"\\}"),
    (re.compile(r"\\lbrack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\[lr]?vert(?![A-Za-z])"), "|"),
    (re.compile(r"\\var(nothing)(?![A-Za-z])|\\\{\\\}"), r"\\emptyset"),
    (re.compile(r"\\[lc]?dots[cbmio]?(?![A-Za-z])|\.\.\."), r"\\dots "),
    (re.compile(r"\\(?:degrees?|deg)(?![A-Za-z])(?=\W*$)|\\degree(?![A-Za-z])"), r"^\\circ"),
    (re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ"), r"^\\circ"),
    (re.compile(r"\^\s*\{\s*((?:\\prime\s*)+)\}|\^\s*(\\prime)"), lambda m: "'" * m.group().count("prime")),
    (re.compile(r"\\frac\s*([0-9])\s*([0-9])(?![0-9])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*([0-9])\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])"), r"\1{\2}"),
    (re.compile(r"\\frac\s+([A-Za-z])\s*([0-9A-Za-z])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*\{\s*([^{}]*?)\s*\}\s*\{\s*([^{}]*?)\s*\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\cdot(?![A-Za-z])"), r"\\cdot"),
    (re.compile(r"(?<=[0-9.])\s*[xX]\s*(?=10\s*(?:\^|\*\*))"), r"\\times "),
    (re.compile(r"\b(?:np|numpy|math|sympy)\.(?=[a-z])"), ""),
    (re.compile(r"\{([,:])\}"), r"\1"),
    (re.compile(r"\s*\\?%"), "%"),
    (re.compile(r"\\[()\[\]]|\$"), ""),
)  # fmt: skip
OPENERS, CLOSERS = "([{", ")]}"


def normalise(text: str) -> str:
    """One spelling of an answer; the meaning does not change."""
    text = re.sub(r"(?<!\\)\\$", "", text.strip())
    if PLAIN.fullmatch(text):
        return text
    text = " ".join(standard_characters(text).split())
    marked = MARKDOWN.fullmatch(text)
    text = marked.group(2) if marked else text
    for _ in range(2):  # \boxed{\boxed{7}}, \boxed{x = \boxed{7}}
        text = BOX.sub(lambda match: match.group(1) or "", text)
    sentence = SENTENCE.fullmatch(text)
    text = sentence.group(1) if sentence else text
    if r"\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # a backslash escaped once too often
    text = text.replace("\\\\", ROW)
    text = (
        text.replace(r"\$", MONEY) if text.count("$") - text.count(r"\$") != 1 else text.replace("$", MONEY)
    )
    text = re.sub(r"(?<=[0-9])(?:\\[,!]|\{,\})+(?=[0-9]{3}(?![0-9]))", "", text)  # 1\,000
    text = re.sub(r"(?<=[0-9]),\\!\s*(?=[0-9]{3})", ",", text)  # 1,\!000
    text = SPACING.sub(" ", text)
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    text = (
        re.sub(r"\s+", " ", text)
        .strip()
        .replace(ROW, "\\\\")
        .replace("\\" + MONEY, MONEY)
        .replace(MONEY, r"\$")
    )
    text = re.sub(r"(?<=[0-9]), (?=[0-9]{3}(?![0-9]))", ";", text)  # 1, 000 is a list, 1,000 is a thousand
    text = re.sub(r"\s*([,;=<>])\s*", r"\1", text).rstrip(".;:, ").lstrip("= ")
    while len(text) > 1 and text[0] == "{" and matching(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def standard_characters(text: str) -> str:
    r"""ASCII and LaTeX for characters that mean the same: ``x²`` is ``x^{2}``, ``α`` is ``\\alpha``."""
    if text.isascii():
        return text.translate(CHARACTERS)
    text = re.sub(r"((?:[0-9]\u0305)+)", lambda m: rf"\overline{{{m.group().replace(chr(0x305), '')}}}", text)
    pieces: list[str] = []
    script = ""
    for character in text:
        kind, _, code = unicodedata.decomposition(character).partition(" ")
        plain = CHARACTERS.get(ord(character))
        now = SCRIPTS.get(kind, "") if plain is None else ""
        if now != script:
            pieces.append(("}" if script else "") + (now + "{" if now else ""))
            script = now
        if plain is not None:
            pieces.append(str(plain))
        elif kind == "<fraction>":
            over, _, under = "".join(chr(int(point, 16)) for point in code.split()).partition("\u2044")
            pieces.append(rf"\frac{{{over}}}{{{under or 1}}}")
        elif unicodedata.category(character) != "Cf":
            pieces.append(letter(character))
    return unicodedata.normalize("NFKC", "".join(pieces) + ("}" if script else "")).translate(CHARACTERS)


def letter(character: str) -> str:
    """The LaTeX name of a Greek letter; any other character as it is."""
    name = unicodedata.name(unicodedata.normalize("NFKC", character)[:1] or " ", "")
    found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?([A-Z]+)", name)
    if found is None:
        return character
    size, word = found.groups()
    word = {"LAMDA": "LAMBDA"}.get(word, word)
    if size == "CAPITAL":
        return LATIN_CAPITALS.get(word, rf"\{word.capitalize()} ")
    return "o" if word == "OMICRON" else rf"\{word.lower()} "


def matching(text: str, start: int) -> int:
    """Index of the bracket that closes the one at ``start``, of any of the three kinds; −1 without one."""
    depth = 0
    for index in range(start, len(text)):
        if text[index] in OPENERS:
            depth += 1
        elif text[index] in CLOSERS:
            depth -= 1
            if depth == 0:
                return index
    return -1
