"""The page as one HTML file: its content as JSON, its style and its script, and nothing that is loaded."""

import base64
import hashlib
import html
import json
import re
from pathlib import Path

from goodnet.errors import InputError

HERE = Path(__file__).parent
# As \u escapes no letter can end the script element that holds the JSON, or begin another.
ESCAPED = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def page(title, content):
    """Return the page. Equal content gives equal bytes.

    Parameters
    ----------
    title : str
    content : dict
        Words, numbers and pictures, as JSON can hold them: one run, or {"experiments": several}.
    """
    style, script = read("page.css"), read("charts.js") + read("page.js")
    # What the browser may use: the style and the script below, and pictures in the page. It loads nothing.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": html.escape(policy),
        "title": html.escape(title),
        "style": style,
        "content": json.dumps(content, allow_nan=False, separators=(",", ":")).translate(ESCAPED),
        "script": script,
    }
    return filled(read("page.html"), parts)


def filled(template, parts):
    """Return a template with each {{name}} replaced by the part of that name, which is not looked into."""
    text, *rest = template.split("{{")
    for piece in rest:
        name, after = piece.split("}}", 1)
        text += parts[name] + after
    return text


def read(name):
    """Return a file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def content(text, called):
    """Return the content of a page that `page` made."""
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.S)
    if found is None:
        raise InputError(f"{called}: is no page of a run")
    return json.loads(found[1])
