"""The template with which DVC draws plots without a network."""

from goodnet.report import html


def template():
    """Return it, with the page's style and charts: DVC fills in the plots, and what they call is in it."""
    script = html.read("charts.js") + html.read("plots.js")
    return html.filled(html.read("plots.html"), {"style": html.read("page.css"), "script": script})
