"""What never stands in a log, an answer or a support bundle: credentials, and where a red panda lives.

Rather too much is masked than too little: whatever comes here has been written for people who do not need either.
"""

import re
from typing import Final

HIDDEN: Final = "***"

_TO_HIDE: Final = (
    r"sig|sas|sas[_-]?token|accountkey|sharedaccesskey|sharedaccesssignature|shared[_-]?access[_-]?(?:key|signature)"
    r"|(?:primary|secondary|account|private|secret|signing|symmetric|access|api)[_-]?keys?|authorization|password|passwd|pwd"
    r"|pin|secret|credentials?|token"
)
_PLACE_NAMES: Final = (
    r"(?:gps|site|exif)?[_ -]?(?:latitude|longitude|lat|lon|lng|coordinates?|position|location)(?:ref)?(?:[_-]?deg)?"
)
_DEGREES: Final = r"[-+]?\d{1,3}[.,]\d{2,}"
_BETWEEN: Final = r"[\"']?\s{0,3}(?:[NSEW]|°)?\s{0,3}[,;/ ]\s{0,3}[\"']?"

_RULES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # Connection strings and tokens of Azure's, whole: `SharedAccessSignature sr=...&sig=...`, `...Key=...;`.
        (r"SharedAccessSignature\s+\S+", HIDDEN),
        (r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", rf"\1 {HIDDEN}"),
        (rf"(?<![a-z])({_TO_HIDE})([\"']?\s*(?:[=:]|=>|%3D)\s*)(?:(b?\")[^\"]*(\")|(b?')[^']*(')|[^\s&;,\"'<>)}}\]]+)",
         rf"\1\2\3\5{HIDDEN}\4\6"),  # within its quotes: what was JSON stays JSON
        # Keys by their form: 32 or 64 bytes in base64, plain or for addresses, and PEM.
        (r"(?<![\w+/-])[A-Za-z0-9+/_-]{43}(?:=|%3D)", HIDDEN),
        (r"(?<![\w+/-])[A-Za-z0-9+/_-]{86}(?:==|%3D%3D)", HIDDEN),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", HIDDEN),
        # Places: by name with one or more numbers behind it, as degrees with a direction, and as pairs of degrees.
        (rf"(?<![a-z])({_PLACE_NAMES})([\"']?\s*[=:(]\s*)[\[({{\"']*[-+]?\d[\d.,;:/°'\"\sNSEW+-]*", rf"\1\2{HIDDEN}"),
        (r"[-+]?\d{1,3}(?:[.,]\d+)?\s*°\s*(?:\d{1,2}(?:[.,]\d+)?\s*['\u2032]\s*)?(?:\d{1,2}(?:[.,]\d+)?\s*(?:\"|\u2033|'')\s*)?[NSEW]?",
         HIDDEN),
        (r"\b(POINT|geo)\b\s*[:(]\s*[-+\d., ]+", rf"\1 {HIDDEN}"),
        (rf"(?<![\d.]){_DEGREES}{_BETWEEN}{_DEGREES}(?![\d.])", HIDDEN),
        (rf"(?<![\d.]){_DEGREES}\s?[NSEW]\b", HIDDEN),
    )
)  # fmt: skip


def redact(text: str) -> str:
    """The text without credentials and coordinates."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
